package e2e_test

import (
	"bytes"
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/load"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// Clients that are told to be more patient than the hook: many retries, long backoffs.

func manyRetries(r *redis.Options) {
	r.MaxRetries, r.MinRetryBackoff, r.MaxRetryBackoff = 3000, 2*time.Second, 2*time.Second
}

// Events: both databases are down for a while, and one returns. A handshake on a connection that was dead already was repeated there,
// MaxRetries times with backoff. A caller was stuck for minutes.
func TestNobodyIsStuckAfterAnOutageWhateverMaxRetriesSays(t *testing.T) {
	outage := 12 * time.Second
	if testing.Short() {
		outage = 2500 * time.Millisecond
	}
	for name, maxWait := range map[string]time.Duration{"default": 0, "MaxWait": time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pair.New(t, func(o *multidb.Options, r *redis.Options) {
				manyRetries(r)
				o.MaxWait = maxWait
			})
			op := load.SetGet(p.RDB)
			l := load.Start(100, func(ctx context.Context, g, i int) error {
				err := op(ctx, g, i)
				time.Sleep(time.Millisecond)
				return err
			})
			defer l.End()
			redistest.Eventually(t, 20*time.Second, "load to run", func() bool { return l.Ops.Load() > 1000 })
			p.East.Kill()
			p.West.Kill()
			redistest.Eventually(t, 20*time.Second, "the hook to notice", func() bool { return p.Hook.Stats().Down })
			time.Sleep(outage)
			p.West.Restart()
			l.Strike(func() {})
			first, last := l.AwaitRecovery(t, 30*time.Second)
			t.Logf("all go on %v … %v after the return", first.Round(time.Millisecond), last.Round(time.Millisecond))
		})
	}
}

// TestAHandshakeThatCannotSucceedEndsAtOnce: HELLO is written once to each connection, whatever MaxRetries says, and whoever waits for
// the connection goes on elsewhere.
func TestAHandshakeThatCannotSucceedEndsAtOnce(t *testing.T) {
	east, west := pair.Servers(t)
	toEast := faultproxy.Start(t, east.Addr())
	var again atomic.Int64
	dbs := pair.Databases(toEast.Addr(), west.Addr())
	dbs[0] = multidb.Database{Name: "east", Options: &redis.Options{
		Addr: toEast.Addr(),
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			return &helloConn{Conn: nc, again: &again}, err
		},
	}}
	h := pair.Hook(t, multidb.Options{Databases: dbs})
	opt := &redis.Options{Addr: toEast.Addr()}
	manyRetries(opt)
	rdb := redis.NewClient(opt)
	defer rdb.Close()
	rdb.AddHook(h)
	toEast.DropReplies(faultproxy.Named("HELLO"))
	require.NoError(t, rdb.Set(t.Context(), "k", "v", 0).Err())
	require.Equal(t, "west", h.Active())
	require.Zero(t, again.Load(), "HELLO was written again to a connection that had ended")
}

// helloConn counts each HELLO after the first one.
type helloConn struct {
	net.Conn
	before bool
	again  *atomic.Int64
}

func (c *helloConn) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("\r\nhello\r\n")) {
		if c.before {
			c.again.Add(1)
		}
		c.before = true
	}
	return c.Conn.Write(p)
}
