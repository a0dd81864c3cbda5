package e2e_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/internal/testkit/virtual"
	"github.com/redishook/multidb/probes"
)

// slowly is a check of a user's that is given 10 s.
func slowly(check func(context.Context, probes.Target) error) probes.Check {
	return probes.Check{Probes: 1, Timeout: 10 * time.Second, Probe: probes.Func("api", check)}
}

func nineSeconds(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(9 * time.Second):
		return nil
	}
}

// withinASecond runs a command on a database that has just begun to hang.
func withinASecond(t *testing.T, rdb *redis.Client) {
	t.Helper()
	began := time.Now()
	require.NoError(t, rdb.Set(context.Background(), "k", 1, 0).Err())
	require.Less(t, time.Since(began), time.Second, "the suspicion waited for a check")
}

// ping is the default check.
func ping() probes.Check { return probes.Check{Probe: probes.Ping(), Probes: 1} }

// Events: a regular check of the active database fails, is run once more, and takes its time (a management API that does
// not answer); meanwhile the server hangs. The second check ran in the health loop, which confirmed nothing until then.
func TestSecondCheckDoesNotHoldUpConfirmation(t *testing.T) {
	var bad atomic.Bool
	var calls atomic.Int64
	opt := multidb.Options{Health: multidb.Health{Checks: []probes.Check{ping(), slowly(func(ctx context.Context, db probes.Target) error {
		switch {
		case !bad.Load() || db.Name != "a":
			return nil
		case calls.Add(1) == 1:
			return errors.New("503")
		}
		return nineSeconds(ctx)
	})}}}
	hangingBubble(t, 2, opt, func(_ *multidb.Hook, dbs []*virtual.DB, rdb *redis.Client) {
		bad.Store(true)
		for calls.Load() < 2 {
			require.NoError(t, rdb.Set(context.Background(), "k", 1, 0).Err())
			time.Sleep(50 * time.Millisecond)
		}
		dbs[0].Up.Store(false)
		withinASecond(t, rdb)
	})
}

// Events: a half-open check of a takes its time; an operator forces a meanwhile; a hangs. The check ran in the health
// loop of a.
func TestHalfOpenCheckDoesNotHoldUpConfirmation(t *testing.T) {
	var bad, trying atomic.Bool
	opt := multidb.Options{Health: multidb.Health{Checks: []probes.Check{ping(), slowly(func(ctx context.Context, db probes.Target) error {
		if !bad.Load() || db.Name != "a" {
			return nil
		}
		trying.Store(true)
		return nineSeconds(ctx)
	})}}}
	hangingBubble(t, 2, opt, func(h *multidb.Hook, dbs []*virtual.DB, rdb *redis.Client) {
		dbs[0].Up.Store(false)
		for h.Active() != "b" {
			time.Sleep(10 * time.Millisecond)
		}
		bad.Store(true)
		dbs[0].Up.Store(true)
		for !trying.Load() {
			time.Sleep(10 * time.Millisecond)
		}
		require.NoError(t, h.ForceActive("a", 0))
		require.NoError(t, rdb.Set(context.Background(), "k", 1, 0).Err())
		dbs[0].Up.Store(false)
		withinASecond(t, rdb)
	})
}

type slowProbe struct{ block, waits *atomic.Bool }

func (p slowProbe) Name() string { return "slow" }

func (p slowProbe) Check(ctx context.Context, _ probes.Target) error {
	if p.block.Load() {
		p.waits.Store(true)
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

// Events: the active database has a check of its own with a long timeout (a management API). The site goes down: the
// API stops answering, a regular check is waiting for it, then Redis dies. Evidence wakes nobody, because the same
// goroutine that would confirm the suspicion is waiting for the check: the outage lasts as long as the user's timeout.
func TestSlowCheckDoesNotDelayFailover(t *testing.T) {
	east, west := pair.Servers(t)
	var block, waits atomic.Bool
	dbs := pair.Databases(east.Addr(), west.Addr())
	dbs[0].Checks = []probes.Check{{Probe: slowProbe{&block, &waits}, Probes: 1, Timeout: time.Minute}}
	h := pair.Hook(t, multidb.Options{Databases: dbs, Health: multidb.Health{Interval: 200 * time.Millisecond, ActiveInterval: 100 * time.Millisecond}})
	rdb := redis.NewClient(&redis.Options{Addr: east.Addr()})
	defer rdb.Close()
	rdb.AddHook(h)
	require.NoError(t, rdb.Ping(t.Context()).Err())
	block.Store(true)
	redistest.Eventually(t, 20*time.Second, "a regular check to wait", waits.Load)
	east.Kill()
	began := time.Now()
	var worst time.Duration
	for h.Active() == "east" && time.Since(began) < 20*time.Second {
		at := time.Now()
		rdb.Ping(t.Context())
		worst = max(worst, time.Since(at))
	}
	require.Less(t, time.Since(began), 10*time.Second, "crash of the active database; worst command %v", worst)
}

// TestReportIsNoVerdict: a database that answers stays, one that does not is left before the next health check.
func TestReportIsNoVerdict(t *testing.T) {
	p := pair.New(t, func(o *multidb.Options, _ *redis.Options) {
		o.Health.Interval, o.Health.ActiveInterval = time.Hour, time.Hour
	})
	mine := errors.New("my connection is gone")
	p.Hook.Report("east", mine)
	p.Hook.Report("nowhere", mine)
	redistest.Eventually(t, 10*time.Second, "the acquittal", func() bool { return p.Hook.Stats().Databases[0].Cleared == 1 })
	require.Equal(t, "east", p.Hook.Active())
	p.East.Kill()
	p.Hook.Report("east", mine)
	redistest.Eventually(t, 10*time.Second, "a switch", func() bool { return p.Hook.Active() == "west" })
	opt, err := p.Hook.DatabaseOptions("west")
	require.NoError(t, err)
	require.Equal(t, p.West.Addr(), opt.Addr)
}

// Events: a round of checks of b is under way in the background; SetActive of b. The same probe ran twice at a time.
func TestChecksOfOneDatabaseDoNotOverlap(t *testing.T) {
	var mu sync.Mutex
	running := make(map[string]int)
	overlaps := 0
	check := slowly(func(ctx context.Context, db probes.Target) error {
		mu.Lock()
		running[db.Name]++
		if running[db.Name] > 1 {
			overlaps++
		}
		mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(700 * time.Millisecond):
		}
		mu.Lock()
		defer mu.Unlock()
		running[db.Name]--
		return ctx.Err()
	})
	opt := multidb.Options{Health: multidb.Health{Interval: time.Second, Checks: []probes.Check{check}}}
	bubble(t, 2, opt, func(h *multidb.Hook, _ []*virtual.DB) {
		for range 20 {
			for _, name := range []string{"b", "a"} {
				require.NoError(t, h.SetActive(context.Background(), name))
				time.Sleep(130 * time.Millisecond)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, h.SetActive(ctx, "b"), context.DeadlineExceeded, "the wait for a round ends with the context")
	})
	require.Zero(t, overlaps)
}

// Events: callers subscribe with a deadline that is shorter than a dial takes. The socket's deadline fires before the
// context's own timer, so the failure looks like the database's.
func TestCallersDeadlineIsNoEvidence(t *testing.T) {
	server := redistest.Start(t)
	h := pair.Hook(t, multidb.Options{Health: pair.Patient, Databases: []multidb.Database{{Name: "only", Options: &redis.Options{
		Addr: server.Addr(),
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < time.Second {
				time.Sleep(time.Until(deadline))
				return nil, &net.OpError{Op: "dial", Net: network, Err: context.DeadlineExceeded}
			}
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		},
	}}}})
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()
	rdb.AddHook(h)
	for range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		sub := rdb.Subscribe(ctx, "news")
		_ = sub.Close()
		cancel()
	}
	require.Zero(t, h.Stats().Databases[0].Suspicions, "no suspicion was raised")
}

// Events: a connection of a healthy database breaks; a quick probe clears it. Neither the log nor the statistics said so.
func TestSuspicionsAreToldInLogAndStats(t *testing.T) {
	var mu sync.Mutex
	var lines []string
	east, west := pair.Servers(t)
	h := pair.Hook(t, multidb.Options{
		Databases: pair.Databases(east.Addr(), west.Addr()),
		Logger: slog.New(handlerFunc(func(r slog.Record) {
			text := r.Level.String() + " " + r.Message
			r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
			mu.Lock()
			defer mu.Unlock()
			lines = append(lines, text)
		})),
	})
	h.Report("east", errors.New("reset by a middlebox"))
	redistest.Eventually(t, 20*time.Second, "the suspicion to be cleared", func() bool { return h.Stats().Databases[0].Cleared == 1 })
	require.EqualValues(t, 1, h.Stats().Databases[0].Suspicions)
	require.Equal(t, map[string]uint64{"request": 1}, h.Stats().Databases[0].Evidence)
	require.NoError(t, h.Close())
	var told []string
	for _, line := range lines {
		if strings.Contains(line, "suspect") || strings.Contains(line, "suspicion") {
			told = append(told, line)
		}
	}
	require.Len(t, told, 2)
	require.Regexp(t, `DEBUG multidb: suspected database=east cause=.*middlebox`, told[0])
	require.Regexp(t, `DEBUG multidb: suspicion cleared database=east after=\S+ cause=.*middlebox`, told[1])
}
