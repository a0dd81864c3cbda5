package multidb

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The faults that a process of its own can show, each under the load of an all-default client: the database is killed,
// it hangs, it comes back. Time bounds here are generous, because a test machine may be busy; the README's table is
// what was measured (make table).

func TestCrashUnderSetGet(t *testing.T) {
	for _, goroutines := range []int{1, 100} {
		t.Run(fmt.Sprint(goroutines), func(t *testing.T) {
			p := newPair(t, nil)
			l := start(goroutines, setGet(p.rdb))
			eventually(t, 10*time.Second, "load to run", func() bool { return l.ops.Load() > int64(10*goroutines) })
			l.strike(p.east.Kill)
			first, last := awaitRecovery(t, l, 30*time.Second)
			l.end()
			require.Empty(t, l.errs)
			requireOneSwitch(t, p, ReasonHealthCheck)
			report(t, "SIGKILL", fmt.Sprintf("%d × SET/GET", goroutines), between(first, last), "0")
		})
	}
}

// TestCrashUnderIncr: what was sent and not answered is the caller's to know; everything else goes on.
func TestCrashUnderIncr(t *testing.T) {
	p := newPair(t, nil, persist)
	l := start(100, func(ctx context.Context, _, _ int) error { return p.rdb.Incr(ctx, "n").Err() })
	eventually(t, 10*time.Second, "load to run", func() bool { return l.ops.Load() > 1000 })
	l.strike(p.east.Kill)
	first, last := awaitRecovery(t, l, 30*time.Second)
	l.end()
	require.Zero(t, l.other.Load(), "%v", l.errs)
	require.LessOrEqual(t, l.unknown.Load(), int64(100), "at most one command per goroutine was on its way")
	p.east.Restart()
	requireExact(t, p, "n", l)
	report(t, "SIGKILL", "100 × INCR", between(first, last), fmt.Sprintf("%d, each \"sent, not answered\"", l.unknown.Load()))
}

func TestHangUnderSetGet(t *testing.T) {
	for _, goroutines := range []int{1, 100} {
		t.Run(fmt.Sprint(goroutines), func(t *testing.T) {
			p := newPair(t, nil)
			l := start(goroutines, setGet(p.rdb))
			eventually(t, 10*time.Second, "load to run", func() bool { return l.ops.Load() > int64(10*goroutines) })
			l.strike(p.east.Stop)
			first, last := awaitRecovery(t, l, 10*time.Second)
			l.end()
			require.Empty(t, l.errs)
			requireOneSwitch(t, p, ReasonHealthCheck)
			report(t, "SIGSTOP (hang)", fmt.Sprintf("%d × SET/GET", goroutines), between(first, last), "0")
		})
	}
}

// TestHangUnderIncrThenContinue: the stopped server executes what it has in its buffers when it goes on. Each of those
// must have been reported as unknown, and none of them may have been run again.
func TestHangUnderIncrThenContinue(t *testing.T) {
	p := newPair(t, nil)
	l := start(100, func(ctx context.Context, _, _ int) error { return p.rdb.Incr(ctx, "n").Err() })
	eventually(t, 10*time.Second, "load to run", func() bool { return l.ops.Load() > 1000 })
	l.strike(p.east.Stop)
	first, last := awaitRecovery(t, l, 10*time.Second)
	p.east.Cont()
	l.end()
	require.Zero(t, l.other.Load(), "%v", l.errs)
	require.NoError(t, p.east.Client().Ping(t.Context()).Err(), "everything before it has been executed")
	requireExact(t, p, "n", l)
	report(t, "SIGSTOP, then SIGCONT", "100 × INCR", between(first, last),
		fmt.Sprintf("%d, each \"sent, not answered\"", l.unknown.Load()))
}

// TestBothDownThenOneReturns: callers learn it at once, and nothing but the return of a database ends it.
func TestBothDownThenOneReturns(t *testing.T) {
	p := newPair(t, nil)
	op := setGet(p.rdb)
	l := start(20, func(ctx context.Context, g, i int) error {
		err := op(ctx, g, i)
		if err != nil {
			time.Sleep(time.Millisecond) // 20 callers that ask without a pause would leave no processor for the probes
		}
		return err
	})
	eventually(t, 10*time.Second, "load to run", func() bool { return l.ops.Load() > 1000 })
	p.east.Kill()
	p.west.Kill()
	eventually(t, 5*time.Second, "the hook to notice", func() bool { return p.hook.Stats().Down })
	began := time.Now()
	for time.Since(began) < 3*time.Second {
		asked := time.Now()
		err := p.rdb.Set(t.Context(), "k", 1, 0).Err()
		require.ErrorIs(t, err, ErrNoDatabase)
		require.True(t, SafeToRetry(err), "nothing was sent: %v", err)
		require.Less(t, time.Since(asked), time.Second)
		time.Sleep(10 * time.Millisecond)
	}
	p.west.Restart()
	l.strike(func() {})
	first, last := awaitRecovery(t, l, 30*time.Second)
	l.end()
	require.Equal(t, "west", p.hook.Active())
	require.EqualValues(t, 1, p.downs.Load())
	report(t, "both down 3 s, one returns", "20 × SET/GET", between(first, last)+" after its first PONG", "`ErrNoDatabase` meanwhile")
}

// TestManyCrashesUnderIncr is the exact sum over crashes at random moments.
func TestManyCrashesUnderIncr(t *testing.T) {
	p := newPair(t, nil, persist)
	l := start(20, func(ctx context.Context, _, _ int) error {
		err := p.rdb.Incr(ctx, "n").Err()
		if err != nil {
			time.Sleep(time.Millisecond) // both may be down for a moment
		}
		return err
	})
	for range 10 {
		active, _ := p.servers()
		before := l.ops.Load()
		eventually(t, 10*time.Second, "load to run", func() bool { return l.ops.Load() > before+200 })
		active.Kill()
		eventually(t, 10*time.Second, "a switch", func() bool { now, _ := p.servers(); return now != active })
		active.Restart()
		eventually(t, 20*time.Second, "the old one to be usable again", func() bool {
			for _, db := range p.hook.Stats().Databases {
				if db.Breaker != BreakerClosed {
					return false
				}
			}
			return true
		})
	}
	l.end()
	requireExact(t, p, "n", l)
	require.Zero(t, l.other.Load(), "%v", l.errs)
	require.Len(t, p.switched(), 10)
}

// requireExact asserts what may be asserted of a counter: every success is there, and nothing is there that was neither
// a success nor reported as unknown.
func requireExact(t *testing.T, p *pair, key string, l *load) {
	t.Helper()
	sum := p.sum(t, key)
	t.Logf("successes %d, unknown %d, sum over both databases %d", l.ops.Load(), l.unknown.Load(), sum)
	require.GreaterOrEqual(t, sum, l.ops.Load(), "a reported success is lost")
	require.LessOrEqual(t, sum, l.ops.Load()+l.unknown.Load(), "something was executed twice")
}

func awaitRecovery(t *testing.T, l *load, within time.Duration) (first, last time.Duration) {
	t.Helper()
	eventually(t, within, "every goroutine to succeed after the fault", func() bool {
		var ok bool
		first, last, ok = l.recovered()
		return ok
	})
	return first, last
}

func requireOneSwitch(t *testing.T, p *pair, reason Reason) {
	t.Helper()
	eventually(t, time.Second, "the event", func() bool { return len(p.switched()) > 0 })
	switches := p.switched()
	require.Len(t, switches, 1)
	require.Equal(t, reason, switches[0].Reason)
	require.Error(t, switches[0].Cause)
	require.Equal(t, []string{"east", "west"}, []string{switches[0].From, switches[0].To})
}

func between(first, last time.Duration) string {
	f, l := first.Round(time.Millisecond), last.Round(time.Millisecond)
	if f == l {
		return f.String()
	}
	return fmt.Sprintf("%v … %v", f, l)
}
