package conn

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/redishook/multidb/internal/goredis"
)

// Client is what the connections of one client have in common.
type Client struct {
	// contradicted: the log says already that the client names another index than a database does.
	contradicted atomic.Bool

	// pooled is how many routed connections the client has, those of subscriptions left out.
	pooled atomic.Int64

	// WaitedInVain says that full duplex has just waited for a database and there was none.
	WaitedInVain atomic.Bool

	missLost   memory // of a coalesced cache miss that was sent and not answered
	duplexLost memory // of requests of full duplex that were sent and not answered, and go on
}

// NewClient makes one.
func NewClient() *Client { return &Client{} }

// Pooled returns how many routed connections the client has, those of subscriptions left out.
func (c *Client) Pooled() int { return int(c.pooled.Load()) }

// memory is when something last happened, in ns since 1970; 0: never.
type memory struct{ at atomic.Int64 }

// memorySpan is longer than one attempt of go-redis takes to fail, with the wait before it.
const memorySpan = time.Minute

func (m *memory) note() { m.at.Store(time.Now().UnixNano()) }

// fresh reports that it has happened a while ago, at the most.
func (m *memory) fresh() bool {
	at := m.at.Load()
	return at != 0 && time.Since(time.Unix(0, at)) <= memorySpan
}

// before looks whether a request that waits for a connection, and of which nothing was sent there, may have been sent by an attempt
// before. There are two attempts that go-redis repeats and whose connections share nothing but their client:
//
//   - It sends the cache misses of several callers over one connection. If that ends with replies owed, it runs each of them
//     again in the goroutine of its caller.
//   - Full duplex sends again what is owed when its connection ends, if all of that is harmless.
//
// The error of the second attempt is all that callers get, and nothing shows which of them it concerns. So for a while it concerns
// each read through the cache, and whatever full duplex sends. It returns the cause as it belongs into the error. It must be called
// by the goroutine that go-redis waits in.
//
// beyond says that the connection has answered requests: full duplex sends first on it what was lost before.
func (c *Client) before(cause error, beyond bool) (sent bool, err error) {
	switch {
	case c.missLost.fresh() && goredis.ReadsCached():
		c.missLost.note() // a call that fails once more is remembered for as long again
		return true, cause
	case !beyond && c.duplexLost.fresh() && goredis.InFullDuplex():
		c.duplexLost.note()
		return true, &goredis.SentBefore{Err: cause}
	}
	return false, cause
}

// Unreached is what a client gets in place of a connection that could not be dialed. fail makes the error.
func (c *Client) Unreached(cause error, fail func(sent bool, cause error) error) net.Conn {
	return goredis.UnreachedConn{
		DeadConn: goredis.DeadConn{Err: fail(false, cause)}, Late: func() error { return fail(c.before(cause, false)) },
	}
}
