package e2e_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/load"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// deafDialer dials without a context, as ssh.Client.Dial does. While there is a hole it does not return before the end of the test.
type deafDialer struct {
	hole    atomic.Bool
	hanging atomic.Int64 // calls that have not returned
	most    atomic.Int64
	calls   atomic.Int64
	release chan struct{}

	mu    sync.Mutex
	conns []net.Conn
}

func (d *deafDialer) dial(addr string) func(context.Context, string, string) (net.Conn, error) {
	return func(_ context.Context, network, _ string) (net.Conn, error) {
		d.calls.Add(1)
		if d.hole.Load() {
			n := d.hanging.Add(1)
			defer d.hanging.Add(-1)
			for most := d.most.Load(); n > most && !d.most.CompareAndSwap(most, n); most = d.most.Load() {
			}
			<-d.release
			return nil, errors.New("no route")
		}
		nc, err := net.Dial(network, addr)
		if err == nil {
			d.mu.Lock()
			d.conns = append(d.conns, nc)
			d.mu.Unlock()
		}
		return nc, err
	}
}

// lose resets all connections, and lets every dial from now on hang.
func (d *deafDialer) lose() {
	d.hole.Store(true)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, nc := range d.conns {
		_ = nc.(*net.TCPConn).SetLinger(0)
		_ = nc.Close()
	}
}

// TestADialerWithoutContextHoldsNobody: events: 1. east is reached through a dialer that takes no context. The way there is lost:
// connections break, and dials never return. 2. The hook switches. 3. The callers waited for the dials, which have the places in the
// client's pool.
func TestADialerWithoutContextHoldsNobody(t *testing.T) {
	d := &deafDialer{release: make(chan struct{})}
	p := pair.New(t, func(o *multidb.Options, r *redis.Options) {
		east := o.Databases[0].Options
		east.Dialer = d.dial(east.Addr)
		r.PoolSize = 10
	})
	defer redistest.Eventually(t, 10*time.Second, "all dials to return", func() bool { return d.hanging.Load() == 0 })
	defer close(d.release)
	var confirmed [20]int // by goroutine: the last value that was set
	l := load.Start(len(confirmed), func(ctx context.Context, g, i int) error {
		err := p.RDB.Set(ctx, "k"+strconv.Itoa(g), i, 0).Err()
		if err == nil {
			confirmed[g] = i
		}
		return err
	})
	redistest.Eventually(t, 10*time.Second, "load to run", func() bool { return l.Ops.Load() > 100 })
	l.Strike(d.lose)
	_, last := l.AwaitRecovery(t, 20*time.Second)
	l.End()
	t.Logf("last %v, %d dials hang", last, d.hanging.Load())
	require.Less(t, last, 4*time.Second, "west was active and healthy")
	require.Zero(t, l.Other.Load(), "%v", l.Errs)
	for g, want := range confirmed {
		got, err := p.West.Client().Get(t.Context(), "k"+strconv.Itoa(g)).Int()
		require.NoError(t, err)
		require.Equal(t, want, got, "goroutine %d", g)
	}
}
