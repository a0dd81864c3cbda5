package multidb

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/redistest"
)

// cuttingConn runs a function after a request with the given name has been written.
type cuttingConn struct {
	net.Conn
	name  string
	after func()
}

func (c *cuttingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if strings.Contains(strings.ToLower(string(p)), c.name) {
		c.after()
	}
	return n, err
}

// Events: INCR is written and executed; before go-redis arms the read deadline, an unplanned switch cuts the connection
// (here: by the same function, at exactly that moment). SetReadDeadline of the closed socket fails with a raw net error
// ("set tcp ...: use of closed network connection") that the wrapper does not turn into a lost reply, so go-redis' own
// loop sends the INCR again.
func TestCutBeforeTheReadDeadlineIsRunOnce(t *testing.T) {
	east := redistest.Start(t)
	var h *Hook
	var incrs atomic.Int64
	opt := east.Options()
	opt.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &cuttingConn{nc, "incr", func() {
			if incrs.Add(1) == 1 {
				time.Sleep(20 * time.Millisecond)
				h.selector.Find("east").Conns.CutAll() // what sweep does
			}
		}}, nil
	}
	h = newHook(t, Options{Databases: []Database{{Name: "east", Options: opt}}})
	rdb := redis.NewClient(&redis.Options{Addr: "elsewhere:6379"})
	defer rdb.Close()
	rdb.AddHook(h)
	err := rdb.Incr(t.Context(), "n").Err()
	n, _ := east.Client().Get(t.Context(), "n").Int()
	require.Equalf(t, 1, n, "one INCR was executed twice; its caller got %v", err)
}
