package txwrap

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/internal/testkit/testmain"
)

func TestMain(m *testing.M) {
	logging.Disable() // go-redis logs every failed dial
	testmain.Run(m)
}

const waitFor = 20 * time.Second

var eventually = redistest.Eventually

// pair is two servers, east (heavier) and west, with a hooked client.
type pair struct {
	east, west *redistest.Redis
	drop       dropper // of what goes to east
	unplanned  atomic.Int64
	hook       *multidb.Hook
	rdb        *redis.Client
}

func newPair(t testing.TB, servers ...redistest.Option) *pair {
	t.Helper()
	p := &pair{east: redistest.Start(t, servers...), west: redistest.Start(t, servers...)}
	p.attach(t)
	return p
}

func (p *pair) attach(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var err error
	p.hook, err = multidb.New(ctx, multidb.Options{
		Databases: []multidb.Database{
			{Name: "east", Options: &redis.Options{Addr: p.east.Addr(), Dialer: p.drop.dial}},
			{Name: "west", Weight: 0.5, Options: p.west.Options()},
		},
		Events: multidb.Events{OnSwitch: func(s multidb.Switch) {
			if !s.Planned {
				p.unplanned.Add(1)
			}
		}},
		Initial:  multidb.InitialAll,
		Failback: multidb.Failback{GracePeriod: -1},
		Breaker:  multidb.Breaker{Delay: 20 * time.Millisecond},
		// Databases end by a refusal or a reply here; one that a busy machine keeps silent for a while must not be left.
		Health: multidb.Health{Timeout: 10 * time.Second, StallTimeout: -1},
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.hook.Close()) })
	p.rdb = redis.NewClient(&redis.Options{Addr: p.east.Addr()})
	t.Cleanup(func() { _ = p.rdb.Close() })
	p.rdb.AddHook(p.hook)
}

// dropper loses the reply to the next request with a given command in it, after the server has executed that, and the
// connection with it.
type dropper struct{ next atomic.Pointer[string] }

func (d *dropper) replyTo(command string) { d.next.Store(&command) }

func (d *dropper) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &droppingConn{Conn: nc, from: d}, nil
}

type droppingConn struct {
	net.Conn
	from *dropper
	lost atomic.Bool
}

func (c *droppingConn) Write(b []byte) (int, error) {
	name := c.from.next.Load()
	if name != nil && bytes.Contains(b, []byte("\r\n"+*name+"\r\n")) && c.from.next.CompareAndSwap(name, nil) {
		c.lost.Store(true)
	}
	return c.Conn.Write(b)
}

func (c *droppingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.lost.Load() {
		return 0, io.EOF
	}
	return n, err
}
