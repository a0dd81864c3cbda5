package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
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
			p := pair.NewProxied(t, nil)
			p.ToEast.ResetOneIn(50, when, faultproxy.Named("PING"))
			l := load.Start(20, load.SetGet(p.RDB))
			incr := load.Start(4, func(ctx context.Context, _, _ int) error { return p.RDB.Incr(ctx, "n").Err() })
			time.Sleep(long) // this is how long it is hit
			l.End()
			incr.End()
			p.ToEast.ResetOneIn(0, when, nil)
			require.Empty(t, l.Errs)
			require.Zero(t, incr.Other.Load(), "%v", incr.Errs)
			require.Positive(t, incr.Unknown.Load(), "the side load must have been hit")
			require.Positive(t, p.Hook.Stats().Databases[0].Replayed, "the load must have been hit")
			require.Empty(t, p.Switched())
			p.RequireExact(t, "n", incr)
			load.Report(t, "1 request in 50 reset "+name, "20 × SET/GET", "no switch, longest "+
				time.Duration(l.Longest.Load()).Round(time.Millisecond).String(),
				fmt.Sprintf("0; INCR beside it: %d of %d, each \"sent, not answered\"", incr.Unknown.Load(), incr.Ops.Load()))
		})
	}
}

func TestSlowServer(t *testing.T) {
	long := 10 * time.Second
	if testing.Short() {
		long = 3 * time.Second
	}
	p := pair.NewProxied(t, nil)
	l := load.Start(20, load.SetGet(p.RDB))
	redistest.Eventually(t, 10*time.Second, "load to run", func() bool { return l.Ops.Load() > 1000 })
	p.ToEast.Delay(100 * time.Millisecond)
	before := l.Ops.Load()
	time.Sleep(long) // this is how long it is slow
	during := l.Ops.Load() - before
	l.End()
	require.Empty(t, l.Errs)
	require.Empty(t, p.Switched())
	require.Positive(t, during)
	require.Greater(t, time.Duration(l.Longest.Load()), 100*time.Millisecond, "it must have been slow")
	load.Report(t, "slow by 100 ms", "20 × SET/GET", "no switch, longest "+
		time.Duration(l.Longest.Load()).Round(time.Millisecond).String(), "0")
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
			p := pair.NewProxied(t, func(_ *multidb.Options, o *redis.Options) { o.ContextTimeoutEnabled = contextTimeout })
			p.ToEast.Delay(500 * time.Microsecond) // so that a good part of them comes too late
			var failed atomic.Int64
			wrong := load.NewTally()
			var wg sync.WaitGroup
			for g := range goroutines {
				wg.Go(func() {
					for i := range calls / goroutines * 4 / 3 {
						err, own := callAndGiveUp(t.Context(), p.RDB, g, i)
						if own && err != nil {
							failed.Add(1)
						}
						if err != nil && !(own && isCallers(err)) {
							wrong.Add("", 0, err)
						}
					}
				})
			}
			wg.Wait()
			require.Equal(t, errorFree, wrong.Errs)
			require.Greater(t, failed.Load(), int64(calls/4), "the contexts must have ended calls")
			require.Empty(t, p.Switched())
			for _, db := range p.Hook.Stats().Databases {
				require.Zero(t, db.Failures, db.Name)
				require.Equal(t, multidb.BreakerClosed, db.Breaker, db.Name)
			}
			load.Report(t, "caller cancels or has a 1 ms deadline", fmt.Sprintf("%d × SET/GET, ContextTimeoutEnabled %v", goroutines, contextTimeout),
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
		return load.SetGet(rdb)(ctx, g, i/4), false
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
	return load.SetGet(rdb)(ctx, g, i/4), true
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
