package e2e_test

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/pair"
)

// Events: 1. a client reads through its cache and coalesces what it misses: go-redis sends the GET of several callers over one
// connection. 2. The GET is executed and its reply is lost. 3. go-redis runs it again on a connection of the pool, whatever
// the error of the first attempt was. 4. Nothing of the second attempt is sent. Its error is all that a caller gets, and must not
// say that the GET was not sent.
func TestACoalescedReadThatWasLostIsNotCalledUnsent(t *testing.T) {
	for _, c := range []struct {
		name  string
		of    func(*redis.Client) *redis.Client
		conns int // in the pool, and used before
	}{
		{"client, new connection", func(rdb *redis.Client) *redis.Client { return rdb }, 0},
		{"clone, new connection", func(rdb *redis.Client) *redis.Client { return rdb.WithTimeout(5 * time.Second) }, 0},
		{"clone, connection of the pool", func(rdb *redis.Client) *redis.Client { return rdb.WithTimeout(5 * time.Second) }, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := pair.StartProxied(t)
			var refuse atomic.Bool
			dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
				if refuse.Load() && c.conns == 0 {
					return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
				}
				nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
				return &refusing{nc, &refuse}, err
			}
			east, west := pair.Through(p.East, p.ToEast), pair.Through(p.West, p.ToWest)
			east.Dialer, west.Dialer = dial, dial
			p.Attach(t, east, west, func(o *multidb.Options, r *redis.Options) {
				o.Retry.MaxAttempts = -1
				r.MaxRetries, r.ReadTimeout = 1, 5*time.Second // a clone of another timeout does not coalesce
				r.ClientSideCacheConfig, r.ClientSideCacheCoalesceMisses = &redis.ClientSideCacheConfig{}, true
			})
			conns := make([]*redis.Conn, c.conns)
			for i := range conns {
				conns[i] = p.RDB.Conn()
				require.NoError(t, conns[i].Echo(t.Context(), "used").Err())
			}
			for _, conn := range conns {
				require.NoError(t, conn.Close())
			}
			lost := func(args []string) bool {
				get := strings.EqualFold(args[0], "GET")
				if get {
					refuse.Store(true)
				}
				return get
			}
			p.ToEast.DropReplies(lost)
			err := c.of(p.RDB).Get(t.Context(), "k").Err()
			require.EqualValues(t, 1, p.ToEast.Count("GET"), "the second attempt sends nothing")
			var failed *multidb.CommandError
			require.ErrorAs(t, err, &failed)
			require.True(t, failed.Sent, "%v", err)
			require.False(t, multidb.SafeToRetry(err), "%v", err)

			// What is not read through the cache has no such attempt behind it.
			err = c.of(p.RDB).Incr(t.Context(), "n").Err()
			if c.conns > 0 {
				require.NoError(t, err)
				return
			}
			require.True(t, multidb.SafeToRetry(err), "%v", err)
		})
	}
}

// refusing takes nothing of a GET.
type refusing struct {
	net.Conn
	on *atomic.Bool
}

func (c *refusing) Write(p []byte) (int, error) {
	if c.on.Load() && bytes.Contains(p, []byte("get")) {
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: syscall.EPIPE}
	}
	return c.Conn.Write(p)
}
