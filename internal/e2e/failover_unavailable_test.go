package e2e_test

import (
	"context"
	"errors"
	"fmt"
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

// setAndGet is an operation that succeeds only where the database takes writes, too.
func setAndGet(rdb redis.Cmdable) func(context.Context, int, int) error {
	one := load.SetGet(rdb)
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
		reason      multidb.Reason
	}{
		{"LOADING", loading, []string{"SET", "GET", "PING"}, 20, multidb.ReasonHealthCheck},
		{"MASTERDOWN", masterdown, []string{"SET", "GET", "PING"}, 20, multidb.ReasonHealthCheck},
		{"READONLY", readonly, []string{"SET"}, 20, multidb.ReasonFailureDetector},
		{"READONLY", readonly, []string{"SET"}, 1, multidb.ReasonFailureDetector},
		{"ERR READONLY", "-ERR " + readonly[1:], []string{"SET"}, 20, multidb.ReasonFailureDetector},
		{"MISCONF", misconf, []string{"SET"}, 20, multidb.ReasonFailureDetector},
		{"MISCONF", misconf, []string{"SET"}, 1, multidb.ReasonFailureDetector},
		{"NOREPLICAS", "-NOREPLICAS Not enough good replicas to write.\r\n", []string{"SET"}, 20, multidb.ReasonFailureDetector},
		{"TRYAGAIN", "-TRYAGAIN Multiple keys request during rehashing of slot\r\n", []string{"SET"}, 20, multidb.ReasonFailureDetector},
		{"CLUSTERDOWN", "-CLUSTERDOWN The cluster is down\r\n", []string{"SET", "GET"}, 20, multidb.ReasonFailureDetector},
	} {
		t.Run(fmt.Sprint(c.name, " ", c.goroutines), func(t *testing.T) {
			p := pair.NewProxied(t, nil)
			l := load.Start(c.goroutines, setAndGet(p.RDB))
			defer l.End()
			redistest.Eventually(t, 10*time.Second, "load to run", func() bool { return l.Ops.Load() > 1000 })
			hit := faultproxy.Named(c.to...)
			l.Strike(func() {
				p.ToEast.Answer(func(args []string) (string, bool) { return c.reply, hit(args) })
			})
			first, last := l.AwaitRecovery(t, 3*time.Second)
			l.End()
			require.Empty(t, l.Errs)
			p.RequireOneSwitch(t, c.reason)
			load.Report(t, c.name, fmt.Sprintf("%d × SET/GET", c.goroutines), load.Between(first, last), "0")
		})
	}
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
			p := pair.StartProxied(t)
			var hole atomic.Bool
			east := pair.Through(p.East, p.ToEast)
			east.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if hole.Load() {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return (&net.Dialer{}).DialContext(ctx, network, addr)
			}
			p.Attach(t, east, pair.Through(p.West, p.ToWest), nil)
			fall := func() {
				hole.Store(c.dialsHang)
				p.ToEast.Hang()
			}
			var l *load.Load
			if c.established {
				l = load.Start(20, load.SetGet(p.RDB))
				redistest.Eventually(t, 10*time.Second, "load to run", func() bool { return l.Ops.Load() > 1000 })
				l.Strike(fall)
			} else {
				fall()
				l = load.Start(20, load.SetGet(p.RDB))
				l.Strike(func() {}) // close enough
			}
			defer l.End()
			first, last := l.AwaitRecovery(t, 30*time.Second)
			l.End()
			require.Empty(t, l.Errs)
			p.RequireOneSwitch(t, multidb.ReasonHealthCheck)
			load.Report(t, "blackhole: "+c.name, "20 × SET/GET", load.Between(first, last), "0")
		})
	}
}

// Events: the active database was demoted to a replica; the application uses transactions only. READONLY comes as
// the answer to a queued command and EXEC answers EXECABORT, which counts as success: no failure, no switch, for ever.
func TestDemotedDatabaseIsLeftByTransactions(t *testing.T) {
	east, west := pair.Servers(t)
	h := pair.Hook(t, multidb.Options{Databases: pair.Databases(east.Addr(), west.Addr())})
	rdb := redis.NewClient(&redis.Options{Addr: east.Addr()})
	defer rdb.Close()
	rdb.AddHook(h)
	require.NoError(t, east.Client().ReplicaOf(t.Context(), "127.0.0.1", "1").Err())
	var last error
	end := time.Now().Add(20 * time.Second)
	for time.Now().Before(end) && h.Active() == "east" {
		_, last = rdb.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
			p.Incr(t.Context(), "n")
			return nil
		})
		time.Sleep(time.Millisecond)
	}
	s := h.Stats().Databases[0]
	require.Equalf(t, "west", h.Active(), "after 20 s of nothing but %v; east: %d successes, %d failures", last, s.Successes, s.Failures)
}

// Events: a script that reads for more than a second hangs the active database, which is left; the script only reads, so it
// is run again, on the next one, which hangs; and so on, until none is left.
func TestSlowReadTakesDownOneDatabaseOnly(t *testing.T) {
	var opt multidb.Options
	var servers []*redistest.Redis
	for i := range 4 {
		servers = append(servers, redistest.Start(t))
		opt.Databases = append(opt.Databases, multidb.Database{Name: fmt.Sprint(i), Weight: float64(9 - i), Options: servers[i].Options()})
	}
	var downs atomic.Int64
	opt.Events.OnAllDown = func(error) { downs.Add(1) }
	opt.Initial = multidb.InitialAll
	h := pair.Hook(t, opt)
	rdb := redis.NewClient(&redis.Options{Addr: servers[0].Addr(), ReadTimeout: 30 * time.Second})
	defer rdb.Close()
	rdb.AddHook(h)
	const script = `local t = redis.call('time'); local till = t[1] * 1000 + t[2] / 1000 + 5000
		while t[1] * 1000 + t[2] / 1000 < till do t = redis.call('time') end return 1`
	err := rdb.Do(t.Context(), "eval_ro", script, 0).Err()
	var failed *multidb.CommandError
	require.ErrorAs(t, err, &failed)
	require.True(t, failed.Sent)
	require.Equal(t, "2", h.Active(), "left twice, and then the script was no longer run")
	require.NoError(t, rdb.Set(t.Context(), "k", "v", 0).Err())
	require.Zero(t, downs.Load())
}
