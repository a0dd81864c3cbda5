package e2e_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/bsm/redislock"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/load"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// The faults that a process of its own can show, each under the load of an all-default client: the database is killed,
// it hangs, it comes back. Time bounds here are generous, because a test machine may be busy; the table of docs/measured.md is
// what was measured (make table).

func TestCrashUnderSetGet(t *testing.T) {
	for _, goroutines := range []int{1, 100} {
		t.Run(fmt.Sprint(goroutines), func(t *testing.T) {
			p := pair.New(t, nil)
			l := load.Start(goroutines, load.SetGet(p.RDB))
			redistest.Eventually(t, 10*time.Second, "load to run", func() bool { return l.Ops.Load() > int64(10*goroutines) })
			l.Strike(p.East.Kill)
			first, last := l.AwaitRecovery(t, 30*time.Second)
			l.End()
			require.Empty(t, l.Errs)
			p.RequireOneSwitch(t, multidb.ReasonHealthCheck)
			load.Report(t, "SIGKILL", fmt.Sprintf("%d × SET/GET", goroutines), load.Between(first, last), "0")
		})
	}
}

// TestCrashUnderIncr: what was sent and not answered is the caller's to know; everything else goes on.
func TestCrashUnderIncr(t *testing.T) {
	p := pair.New(t, nil, redistest.Persist())
	l := load.Start(100, func(ctx context.Context, _, _ int) error { return p.RDB.Incr(ctx, "n").Err() })
	redistest.Eventually(t, 10*time.Second, "load to run", func() bool { return l.Ops.Load() > 1000 })
	l.Strike(p.East.Kill)
	first, last := l.AwaitRecovery(t, 30*time.Second)
	l.End()
	require.Zero(t, l.Other.Load(), "%v", l.Errs)
	require.LessOrEqual(t, l.Unknown.Load(), int64(100), "at most one command per goroutine was on its way")
	p.East.Restart()
	p.RequireExact(t, "n", l)
	load.Report(t, "SIGKILL", "100 × INCR", load.Between(first, last), fmt.Sprintf("%d, each \"sent, not answered\"", l.Unknown.Load()))
}

// TestManyCrashesUnderIncr is the exact sum over crashes at random moments.
func TestManyCrashesUnderIncr(t *testing.T) {
	p := pair.New(t, nil, redistest.Persist())
	l := load.Start(20, func(ctx context.Context, _, _ int) error {
		err := p.RDB.Incr(ctx, "n").Err()
		if err != nil {
			time.Sleep(time.Millisecond) // both may be down for a moment
		}
		return err
	})
	for range 10 {
		active, _ := p.Servers()
		before := l.Ops.Load()
		redistest.Eventually(t, 10*time.Second, "load to run", func() bool { return l.Ops.Load() > before+200 })
		active.Kill()
		redistest.Eventually(t, 10*time.Second, "a switch", func() bool { now, _ := p.Servers(); return now != active })
		active.Restart()
		redistest.Eventually(t, 20*time.Second, "the old one to be usable again", func() bool {
			for _, db := range p.Hook.Stats().Databases {
				if db.Breaker != multidb.BreakerClosed {
					return false
				}
			}
			return true
		})
	}
	l.End()
	p.RequireExact(t, "n", l)
	require.Zero(t, l.Other.Load(), "%v", l.Errs)
	require.Len(t, p.Switched(), 10)
}

func TestHangUnderSetGet(t *testing.T) {
	for _, goroutines := range []int{1, 100} {
		t.Run(fmt.Sprint(goroutines), func(t *testing.T) {
			p := pair.New(t, nil)
			l := load.Start(goroutines, load.SetGet(p.RDB))
			redistest.Eventually(t, 10*time.Second, "load to run", func() bool { return l.Ops.Load() > int64(10*goroutines) })
			l.Strike(p.East.Stop)
			first, last := l.AwaitRecovery(t, 10*time.Second)
			l.End()
			require.Empty(t, l.Errs)
			p.RequireOneSwitch(t, multidb.ReasonHealthCheck)
			load.Report(t, "SIGSTOP (hang)", fmt.Sprintf("%d × SET/GET", goroutines), load.Between(first, last), "0")
		})
	}
}

// TestHangUnderIncrThenContinue: the stopped server executes what it has in its buffers when it goes on. Each of those
// must have been reported as unknown, and none of them may have been run again.
func TestHangUnderIncrThenContinue(t *testing.T) {
	p := pair.New(t, nil)
	l := load.Start(100, func(ctx context.Context, _, _ int) error { return p.RDB.Incr(ctx, "n").Err() })
	redistest.Eventually(t, 10*time.Second, "load to run", func() bool { return l.Ops.Load() > 1000 })
	l.Strike(p.East.Stop)
	first, last := l.AwaitRecovery(t, 10*time.Second)
	p.East.Cont()
	l.End()
	require.Zero(t, l.Other.Load(), "%v", l.Errs)
	require.NoError(t, p.East.Client().Ping(t.Context()).Err(), "everything before it has been executed")
	p.RequireExact(t, "n", l)
	load.Report(t, "SIGSTOP, then SIGCONT", "100 × INCR", load.Between(first, last),
		fmt.Sprintf("%d, each \"sent, not answered\"", l.Unknown.Load()))
}

// Events: the active database stops while the client dials it over TLS. The dialer of go-redis does not end with its context,
// so the dials go on for DialTimeout after the switch and hold the client's pool.
func TestHangWhileDialingOverTLS(t *testing.T) {
	const dialTimeout = 30 * time.Second // or it is within what a busy machine takes for 60 handshakes
	p := pair.New(t, func(o *multidb.Options, r *redis.Options) {
		r.DialTimeout = dialTimeout
		// As a user writes them, without a Dialer; and those of a ready client, which has go-redis' own.
		for i, db := range o.Databases {
			opt := *db.Options
			opt.Dialer, opt.DialTimeout = nil, dialTimeout
			if i == 1 {
				ready := redis.NewClient(&opt)
				t.Cleanup(func() { _ = ready.Close() })
				opt = *ready.Options()
			}
			o.Databases[i].Options = &opt
		}
	}, redistest.TLS())
	ctx := context.Background()
	hang := func(server *redistest.Redis, to string) {
		require.NoError(t, p.RDB.Set(ctx, "k", 1, 0).Err())
		server.Stop()
		defer server.Cont()
		var wg sync.WaitGroup
		for range 60 {
			wg.Go(func() {
				began := time.Now()
				if err := p.RDB.Set(ctx, "k", 1, 0).Err(); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took > dialTimeout/2 {
					t.Errorf("one SET took %v", took)
				}
			})
		}
		wg.Wait()
		require.Equal(t, to, p.Hook.Active())
	}
	hang(p.East, "west")
	redistest.Eventually(t, 20*time.Second, "the old one to be usable again", p.Usable)
	hang(p.West, "east")
}

// The same for a crash: 100 idle TLS connections, the active database dies, one caller.
func TestCrashWithIdleTLSConnections(t *testing.T) {
	p := pair.Idle(t, 100, redistest.TLS())
	p.East.Kill()
	redistest.Eventually(t, 20*time.Second, "switch", func() bool { return p.Hook.Active() == "west" })
	began := time.Now()
	err := p.RDB.Set(t.Context(), "n", 1, 0).Err()
	t.Logf("took %v", time.Since(began))
	require.NoError(t, err)
	require.Less(t, time.Since(began), 5*time.Second)
}

// TestOtherFacesFollow: everything that go-redis makes out of one client works again after a crash.
func TestOtherFacesFollow(t *testing.T) {
	faces := map[string]func(t *testing.T, rdb *redis.Client) func(context.Context) error{
		"WithTimeout clone": func(_ *testing.T, rdb *redis.Client) func(context.Context) error {
			clone := rdb.WithTimeout(2 * time.Second)
			return func(ctx context.Context) error { return clone.Set(ctx, "k", 1, 0).Err() }
		},
		"new Conn each": func(_ *testing.T, rdb *redis.Client) func(context.Context) error {
			return func(ctx context.Context) error {
				conn := rdb.Conn()
				defer conn.Close()
				return conn.Set(ctx, "k", 1, 0).Err()
			}
		},
		"pipeline": func(_ *testing.T, rdb *redis.Client) func(context.Context) error {
			return func(ctx context.Context) error {
				_, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
					for i := range 20 {
						pipe.Set(ctx, "k"+strconv.Itoa(i), i, 0)
					}
					return nil
				})
				return err
			}
		},
		"autopipeline, half duplex": func(t *testing.T, rdb *redis.Client) func(context.Context) error {
			return autopipelined(t, rdb, false)
		},
		"autopipeline, full duplex": func(t *testing.T, rdb *redis.Client) func(context.Context) error {
			return autopipelined(t, rdb, true)
		},
		"redislock": func(_ *testing.T, rdb *redis.Client) func(context.Context) error {
			locker := redislock.New(rdb)
			return func(ctx context.Context) error {
				lock, err := locker.Obtain(ctx, "lock", time.Second, nil)
				if err != nil {
					return err
				}
				return lock.Release(ctx)
			}
		},
	}
	for name, face := range faces {
		t.Run(name, func(t *testing.T) {
			p := pair.New(t, nil)
			op := face(t, p.RDB)
			l := load.Start(1, func(ctx context.Context, _, _ int) error { return op(ctx) })
			redistest.Eventually(t, 20*time.Second, "load to run", func() bool { return l.Ops.Load() > 20 })
			l.Strike(p.East.Kill)
			first, last := l.AwaitRecovery(t, 30*time.Second)
			l.End()
			t.Logf("back after %v, %d unknown, errors %v", load.Between(first, last), l.Unknown.Load(), l.Errs)
			require.Zero(t, l.Other.Load(), "%v", l.Errs)
			require.Equal(t, "west", p.Hook.Active())
		})
	}
}

func autopipelined(t *testing.T, rdb *redis.Client, fullDuplex bool) func(context.Context) error {
	opt := redis.DefaultBlockingAutoPipelineOptions()
	opt.FullDuplex = fullDuplex
	ap, err := rdb.AutoPipelineWithOptions(opt)
	require.NoError(t, err)
	t.Cleanup(func() { _ = ap.Close() })
	return func(ctx context.Context) error { return ap.Set(ctx, "k", 1, 0).Err() }
}
