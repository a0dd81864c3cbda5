package conn

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// owner is one whose database is in use.
type owner struct{}

func (owner) Open() (here, somewhere bool) { return true, true }
func (owner) Outstanding()                 {}
func (owner) LateRequest()                 {}
func (owner) Replied(time.Duration)        {}
func (owner) Suspect(error)                {}
func (owner) IndexConflict(int, string)    {}

func (owner) Fail(sent bool, cause error) error { return failure{sent, cause} }

// failure is what owner.Fail makes.
type failure struct {
	sent bool
	error
}

func sent(err error) bool {
	var f failure
	return errors.As(err, &f) && f.sent
}

// Events: OnConnect runs CLIENT NO-EVICT on a fresh connection, which looks like the beginning of a session; the full-duplex
// autopipeliner gets it, has INCR in flight, and its next write fails with nothing sent. All in flight is told "not sent".
func TestCommandOfOnConnectBeginsNoSession(t *testing.T) {
	set := NewSet(Config{}, owner{})
	fresh := &Conn{set: set, hello: handshake{client: NewClient(false)}}
	fresh.ready.Store(true)
	fresh.begin([]byte("client"))
	require.True(t, sent(fresh.writeError(errors.New("cut"), false, true)), "what is in flight may be anybody's")
	lent := &Conn{set: set, hello: handshake{client: NewClient(false)}}
	lent.ready.Store(true)
	lent.lent.Store(true)
	lent.begin([]byte("client"))
	require.False(t, sent(lent.writeError(errors.New("cut"), false, true)), "a session, where requests alternate")
}
