package e2e_test

import (
	"context"
	"errors"
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

// The full-duplex autopipeliner holds one connection and writes to it while it reads: what follows a planned switch
// exactly, and what does not.

func fullDuplex(t *testing.T, p *pair.Pair, hold time.Duration) *redis.AutoPipeliner {
	t.Helper()
	ap, err := p.RDB.AutoPipelineWithOptions(&redis.AutoPipelineOptions{FullDuplex: true, FullDuplexMaxHold: hold})
	require.NoError(t, err)
	require.True(t, ap.Config().FullDuplex)
	t.Cleanup(func() { _ = ap.Close() })
	return ap
}

// TestPlannedSwitchesLoseNothingFullDuplex: no error and exact sums also where the held connection is left and returned to
// many times, and where it changes with the pool.
func TestPlannedSwitchesLoseNothingFullDuplex(t *testing.T) {
	p := pair.New(t, pair.Calm)
	ap := fullDuplex(t, p, 5*time.Millisecond)
	l := load.NewTally()
	p.SwitchWhile(t, pair.Switches(), 32,
		func(ctx context.Context, _ int) { l.Add("incr", 1, ap.Incr(ctx, "incr").Err()) },
		func(ctx context.Context, _ int) { l.Add("by", 3, ap.IncrBy(ctx, "by", 3).Err()) },
	)
	require.Equal(t, errorFree, l.Errs)
	for _, key := range []string{"incr", "by"} {
		require.Positive(t, l.Count[key])
		require.Equal(t, l.Count[key], p.Sum(t, key), key)
		require.Positive(t, pair.Counter(t, p.East, key), "%s: nothing went to east", key)
		require.Positive(t, pair.Counter(t, p.West, key), "%s: nothing went to west", key)
	}
	t.Logf("%d switches, %v, exact", pair.Switches(), l.Count)
}

// TestFullDuplexLimit is the limit, which DESIGN.md explains: after a planned switch new requests go to the old database
// until FullDuplexMaxHold returns the held connection, and no longer; none is lost, doubled or refused. If the first
// assertion fails one day, the limit is gone, and so should be what docs/limits.md and DESIGN.md say about it.
func TestFullDuplexLimit(t *testing.T) {
	const hold = 3 * time.Second // longer than it may take a busy machine to note that the switch has been made
	p := pair.New(t, pair.Calm)
	setNames(t, p)
	ap := fullDuplex(t, p, hold)
	var stop atomic.Bool
	var wg sync.WaitGroup
	l := load.NewTally()
	var late, longest atomic.Int64 // requests begun after the switch and executed on the old database; the age of the last
	var left atomic.Pointer[time.Time]
	for range 20 {
		wg.Go(func() {
			for !stop.Load() {
				began := time.Now()
				// The databases answer with their names.
				id, err := ap.Get(context.Background(), "name").Result()
				if at := left.Load(); err == nil && at != nil && began.After(*at) && id == "east" {
					late.Add(1)
					longest.Store(max(longest.Load(), int64(began.Sub(*at))))
				}
				l.Add("n", 1, errors.Join(err, ap.Incr(context.Background(), "n").Err()))
			}
		})
	}
	redistest.Eventually(t, 20*time.Second, "load to run", func() bool { return p.Sum(t, "n") > 200 })
	require.NoError(t, p.Hook.SetActive(t.Context(), "west"))
	now := time.Now()
	left.Store(&now)
	redistest.Eventually(t, 20*time.Second, "the held connection to be returned", func() bool { return pair.Counter(t, p.West, "n") > 200 })
	stop.Store(true)
	wg.Wait()
	t.Logf("%d requests begun after the switch went to the old database, the last of them %v after it", late.Load(), time.Duration(longest.Load()))
	require.Positive(t, late.Load(), "the limit is gone")
	require.Less(t, time.Duration(longest.Load()), hold+5*time.Second)
	require.Equal(t, errorFree, l.Errs)
	require.Equal(t, l.Count["n"], p.Sum(t, "n"))
}

// setNames lets each database tell its name.
func setNames(t *testing.T, p *pair.Pair) {
	t.Helper()
	require.NoError(t, p.East.Client().Set(t.Context(), "name", "east", 0).Err())
	require.NoError(t, p.West.Client().Set(t.Context(), "name", "west", 0).Err())
}

// TestWithReplayDoesNotPassTheAutopipeliner: a batch of many callers has no context of any of them, so what one of them
// allows for his call is not known where it is decided.
func TestWithReplayDoesNotPassTheAutopipeliner(t *testing.T) {
	for _, full := range []bool{false, true} {
		p := pair.NewProxied(t, nil)
		opt := redis.DefaultBlockingAutoPipelineOptions()
		opt.FullDuplex = full
		ap, err := p.RDB.AutoPipelineWithOptions(opt)
		require.NoError(t, err)
		t.Cleanup(func() { _ = ap.Close() })
		for _, proxy := range []*faultproxy.Proxy{p.ToEast, p.ToWest} {
			proxy.DropReplies(faultproxy.First(1, faultproxy.Named("INCR")))
		}
		ctx := multidb.WithReplay(t.Context(), multidb.ReplayAccumulating)
		err = ap.Incr(ctx, "n").Err()
		var failed *multidb.CommandError
		require.ErrorAs(t, err, &failed, "full duplex %v", full)
		require.True(t, failed.Sent)
		require.EqualValues(t, 1, p.Sum(t, "n"))
		// The same call without an autopipeliner is run again: the context is the reason.
		p.ToEast.DropReplies(faultproxy.First(1, faultproxy.Named("INCR")))
		require.NoError(t, p.RDB.Incr(ctx, "m").Err())
		require.EqualValues(t, 2, p.Sum(t, "m"))
	}
}
