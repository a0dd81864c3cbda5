package multidb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// The faults that take somebody between client and server: replies of a server that cannot serve, connections that
// break, a way that is long or leads nowhere.

// proxied is a pair with a proxy before each server.
type proxied struct {
	pair
	toEast, toWest *faultproxy.Proxy
}

func newProxied(t testing.TB, change func(*Options, *redis.Options)) *proxied {
	t.Helper()
	p := startProxied(t)
	p.attachProxies(t, change)
	return p
}

// startProxied starts servers and proxies; attachProxies puts a hook over them.
func startProxied(t testing.TB) *proxied {
	t.Helper()
	p := &proxied{pair: pair{east: redistest.Start(t), west: redistest.Start(t)}}
	p.toEast = faultproxy.Start(t, p.east.Addr())
	p.toWest = faultproxy.Start(t, p.west.Addr())
	return p
}

func (p *proxied) attachProxies(t testing.TB, change func(*Options, *redis.Options)) {
	t.Helper()
	p.attach(t, through(p.east, p.toEast), through(p.west, p.toWest), change)
}

func through(server *redistest.Redis, proxy *faultproxy.Proxy) *redis.Options {
	opt := server.Options()
	opt.Addr = proxy.Addr()
	return opt
}

// setAndGet is an operation that succeeds only where the database takes writes, too.
func setAndGet(rdb redis.Cmdable) func(context.Context, int, int) error {
	one := setGet(rdb)
	return func(ctx context.Context, g, i int) error { return errors.Join(one(ctx, g, 2*i), one(ctx, g, 2*i+1)) }
}

// TestUnavailableReplies: a database that answers that it cannot serve is left, and no caller hears of it. While it is
// loading or without its master a real server gives the same answer to PING; a replica answers PING and reads as usual.
func TestUnavailableReplies(t *testing.T) {
	const (
		loading    = "-LOADING Redis is loading the dataset in memory\r\n"
		masterdown = "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n"
		readonly   = "-READONLY You can't write against a read only replica.\r\n"
		misconf    = "-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.\r\n"
	)
	for _, c := range []struct {
		name, reply string
		to          []string // the commands that get it
		goroutines  int
		reason      Reason
	}{
		{"LOADING", loading, []string{"SET", "GET", "PING"}, 20, ReasonHealthCheck},
		{"MASTERDOWN", masterdown, []string{"SET", "GET", "PING"}, 20, ReasonHealthCheck},
		{"READONLY", readonly, []string{"SET"}, 20, ReasonFailureDetector},
		{"READONLY", readonly, []string{"SET"}, 1, ReasonFailureDetector},
		{"ERR READONLY", "-ERR " + readonly[1:], []string{"SET"}, 20, ReasonFailureDetector},
		{"MISCONF", misconf, []string{"SET"}, 20, ReasonFailureDetector},
		{"MISCONF", misconf, []string{"SET"}, 1, ReasonFailureDetector},
		{"NOREPLICAS", "-NOREPLICAS Not enough good replicas to write.\r\n", []string{"SET"}, 20, ReasonFailureDetector},
		{"TRYAGAIN", "-TRYAGAIN Multiple keys request during rehashing of slot\r\n", []string{"SET"}, 20, ReasonFailureDetector},
		{"CLUSTERDOWN", "-CLUSTERDOWN The cluster is down\r\n", []string{"SET", "GET"}, 20, ReasonFailureDetector},
	} {
		t.Run(fmt.Sprint(c.name, " ", c.goroutines), func(t *testing.T) {
			p := newProxied(t, nil)
			l := start(c.goroutines, setAndGet(p.rdb))
			defer l.end()
			eventually(t, 10*time.Second, "load to run", func() bool { return l.ops.Load() > 1000 })
			hit := faultproxy.Named(c.to...)
			l.strike(func() {
				p.toEast.Answer(func(args []string) (string, bool) { return c.reply, hit(args) })
			})
			first, last := awaitRecovery(t, l, 3*time.Second)
			l.end()
			require.Empty(t, l.errs)
			requireOneSwitch(t, &p.pair, c.reason)
			report(t, c.name, fmt.Sprintf("%d × SET/GET", c.goroutines), between(first, last), "0")
		})
	}
}

// TestConnectionResets: one request in 50 loses its connection, before or after the server has executed it, those of the
// handshake as well. Nothing is wrong with the database, so it keeps its place.
func TestConnectionResets(t *testing.T) {
	long := 15 * time.Second
	if testing.Short() {
		long = 2500 * time.Millisecond
	}
	for when, name := range map[faultproxy.When]string{
		faultproxy.BeforeExecution: "before execution", faultproxy.AfterExecution: "after execution",
	} {
		t.Run(name, func(t *testing.T) {
			p := newProxied(t, nil)
			p.toEast.ResetOneIn(50, when, faultproxy.Named("PING"))
			l := start(20, setGet(p.rdb))
			incr := start(4, func(ctx context.Context, _, _ int) error { return p.rdb.Incr(ctx, "n").Err() })
			time.Sleep(long) // this is how long it is hit
			l.end()
			incr.end()
			p.toEast.ResetOneIn(0, when, nil)
			require.Empty(t, l.errs)
			require.Zero(t, incr.other.Load(), "%v", incr.errs)
			require.Positive(t, incr.unknown.Load(), "the side load must have been hit")
			require.Positive(t, p.hook.Stats().Databases[0].Replayed, "the load must have been hit")
			require.Empty(t, p.switched())
			requireExact(t, &p.pair, "n", incr)
			report(t, "1 request in 50 reset "+name, "20 × SET/GET", "no switch, longest "+
				time.Duration(l.longest.Load()).Round(time.Millisecond).String(),
				fmt.Sprintf("0; INCR beside it: %d of %d, each \"sent, not answered\"", incr.unknown.Load(), incr.ops.Load()))
		})
	}
}

func TestSlowServer(t *testing.T) {
	long := 10 * time.Second
	if testing.Short() {
		long = 3 * time.Second
	}
	p := newProxied(t, nil)
	l := start(20, setGet(p.rdb))
	eventually(t, 10*time.Second, "load to run", func() bool { return l.ops.Load() > 1000 })
	p.toEast.Delay(100 * time.Millisecond)
	before := l.ops.Load()
	time.Sleep(long) // this is how long it is slow
	during := l.ops.Load() - before
	l.end()
	require.Empty(t, l.errs)
	require.Empty(t, p.switched())
	require.Positive(t, during)
	require.Greater(t, time.Duration(l.longest.Load()), 100*time.Millisecond, "it must have been slow")
	report(t, "slow by 100 ms", "20 × SET/GET", "no switch, longest "+
		time.Duration(l.longest.Load()).Round(time.Millisecond).String(), "0")
}

// TestCallersOwnDoing: contexts that are cancelled before and during the call, and deadlines of 1 ms, are the caller's.
// Every fourth call is an ordinary one, so that there are connections to break, and none of those may fail.
func TestCallersOwnDoing(t *testing.T) {
	const goroutines = 20
	calls := 10_000
	if testing.Short() {
		calls = 2_000
	}
	for _, contextTimeout := range []bool{false, true} {
		t.Run(fmt.Sprint("ContextTimeoutEnabled ", contextTimeout), func(t *testing.T) {
			p := newProxied(t, func(_ *Options, o *redis.Options) { o.ContextTimeoutEnabled = contextTimeout })
			p.toEast.Delay(500 * time.Microsecond) // so that a good part of them comes too late
			var failed atomic.Int64
			wrong := newLedger()
			var wg sync.WaitGroup
			for g := range goroutines {
				wg.Go(func() {
					for i := range calls / goroutines * 4 / 3 {
						err, own := callAndGiveUp(t.Context(), p.rdb, g, i)
						if own && err != nil {
							failed.Add(1)
						}
						if err != nil && !(own && isCallers(err)) {
							wrong.add("", 0, err)
						}
					}
				})
			}
			wg.Wait()
			require.Equal(t, errorFree, wrong.errs)
			require.Greater(t, failed.Load(), int64(calls/4), "the contexts must have ended calls")
			require.Empty(t, p.switched())
			for _, db := range p.hook.Stats().Databases {
				require.Zero(t, db.Failures, db.Name)
				require.Equal(t, BreakerClosed, db.Breaker, db.Name)
			}
			report(t, "caller cancels or has a 1 ms deadline", fmt.Sprintf("%d × SET/GET, ContextTimeoutEnabled %v", goroutines, contextTimeout),
				"no switch", fmt.Sprintf("%d of %d, the caller's own", failed.Load(), calls))
		})
	}
}

// callAndGiveUp makes one call; own says that its context may have ended it.
func callAndGiveUp(ctx context.Context, rdb *redis.Client, g, i int) (err error, own bool) {
	cancel := context.CancelFunc(func() {})
	switch i % 4 {
	case 0:
		if i%40 == 0 {
			return subscribeAndGiveUp(rdb, i/40), true
		}
		return setGet(rdb)(ctx, g, i/4), false
	case 1:
		ctx, cancel = context.WithCancel(ctx)
		cancel()
	case 2:
		ctx, cancel = context.WithCancel(ctx)
		defer time.AfterFunc(700*time.Microsecond, cancel).Stop()
	case 3:
		ctx, cancel = context.WithTimeout(ctx, time.Millisecond)
	}
	defer cancel()
	return setGet(rdb)(ctx, g, i/4), true
}

// subscribeAndGiveUp subscribes for a moment, with a context that has ended or that ends soon.
func subscribeAndGiveUp(rdb *redis.Client, i int) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i%3)*time.Millisecond)
	defer cancel()
	sub := rdb.Subscribe(ctx, "news")
	defer sub.Close()
	for {
		if _, err := sub.Receive(ctx); err != nil {
			return err
		}
	}
}

// isCallers reports an error that go-redis gives without a hook to a caller whose context ends: that of the context, or
// the timeout of a socket whose deadline was the context's.
func isCallers(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

// TestBlackhole: the way to the active database swallows everything, on connections that exist and on new ones, which
// may be accepted and never answered, or not even that.
func TestBlackhole(t *testing.T) {
	for _, c := range []struct {
		name        string
		established bool
		dialsHang   bool
	}{
		{"established connections", true, false},
		{"established connections and dials", true, true},
		{"accepted dials", false, false},
		{"dials", false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := startProxied(t)
			var hole atomic.Bool
			east := through(p.east, p.toEast)
			east.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if hole.Load() {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return (&net.Dialer{}).DialContext(ctx, network, addr)
			}
			p.attach(t, east, through(p.west, p.toWest), nil)
			fall := func() {
				hole.Store(c.dialsHang)
				p.toEast.Hang()
			}
			var l *load
			if c.established {
				l = start(20, setGet(p.rdb))
				eventually(t, 10*time.Second, "load to run", func() bool { return l.ops.Load() > 1000 })
				l.strike(fall)
			} else {
				fall()
				l = start(20, setGet(p.rdb))
				l.strike(func() {}) // close enough
			}
			defer l.end()
			first, last := awaitRecovery(t, l, 30*time.Second)
			l.end()
			require.Empty(t, l.errs)
			requireOneSwitch(t, &p.pair, ReasonHealthCheck)
			report(t, "blackhole: "+c.name, "20 × SET/GET", between(first, last), "0")
		})
	}
}

// TestAllDown: once nothing is usable, callers learn it at once, however the databases fail.
func TestAllDown(t *testing.T) {
	for mode, name := range map[faultproxy.Mode]string{faultproxy.Refuse: "refused", faultproxy.Hang: "hung"} {
		t.Run(name, func(t *testing.T) {
			p := newProxied(t, nil)
			op := setGet(p.rdb)
			l := start(20, func(ctx context.Context, g, i int) error {
				err := op(ctx, g, i)
				if err != nil {
					time.Sleep(5 * time.Millisecond) // a machine that is busy with nothing says nothing about latency
				}
				return err
			})
			defer l.end()
			eventually(t, 10*time.Second, "load to run", func() bool { return l.ops.Load() > 1000 })
			began := time.Now()
			require.NoError(t, p.toEast.SetMode(mode))
			require.NoError(t, p.toWest.SetMode(mode))
			eventually(t, 10*time.Second, "the hook to notice", func() bool { return p.hook.Stats().Down })
			noticed := time.Since(began)
			var longest time.Duration
			for began := time.Now(); time.Since(began) < time.Second; time.Sleep(10 * time.Millisecond) {
				asked := time.Now()
				err := p.rdb.Incr(t.Context(), "n").Err()
				longest = max(longest, time.Since(asked))
				require.ErrorIs(t, err, ErrNoDatabase)
				require.True(t, SafeToRetry(err), "nothing was sent: %v", err)
			}
			require.Less(t, longest, time.Second)
			p.toWest.Pass()
			l.strike(func() {})
			first, last := awaitRecovery(t, l, 30*time.Second)
			l.end()
			require.Equal(t, "west", p.hook.Active())
			report(t, "both "+name+", one returns", "20 × SET/GET", between(first, last)+" after its return",
				fmt.Sprintf("`ErrNoDatabase` after %v, then each within %v", noticed.Round(time.Millisecond), longest.Round(time.Millisecond)))
		})
	}
}
