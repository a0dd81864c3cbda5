package e2e_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/load"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

const misconf = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk."

// readsAndWrites begins reads, writes and waits; the reads must be answered until the end.
func readsAndWrites(rdb *redis.Client) (reads *load.Load, end func()) {
	reads = load.Start(5, func(ctx context.Context, _, _ int) error {
		time.Sleep(5 * time.Millisecond)
		if err := rdb.Get(ctx, "k").Err(); !errors.Is(err, redis.Nil) {
			return err
		}
		return nil
	})
	writes := load.Start(2, func(ctx context.Context, _, _ int) error {
		time.Sleep(20 * time.Millisecond)
		return rdb.Incr(ctx, "n").Err()
	})
	return reads, func() { reads.End(); writes.End() }
}

// Events:
//  1. Both databases refuse writes, because both have lost their disk, or their replicas. They serve reads.
//  2. The commands that are refused are reason enough to leave either.
//
// Two in the same trouble are no reason to move, and no reader notices anything. In the second case nobody can ask west for what it
// will refuse: there is one move, and none back.
func TestTwoThatRefuseWritesAreNoReasonToMove(t *testing.T) {
	for name, c := range map[string]struct {
		refused  []string
		switches int
	}{
		"every write":  {[]string{"INCR", "SET", "SETRANGE"}, 0},
		"some of them": {[]string{"INCR", "SET"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := pair.NewProxied(t, func(o *multidb.Options, _ *redis.Options) { o.Failback.GracePeriod = 20 * time.Second })
			reads, end := readsAndWrites(p.RDB)
			defer end()
			redistest.Eventually(t, 10*time.Second, "load to run", func() bool { return reads.Ops.Load() > 50 })
			p.ToEast.Answer(answering(misconf, c.refused...))
			p.ToWest.Answer(answering(misconf, c.refused...))
			time.Sleep(8 * time.Second)
			end()
			require.Len(t, p.Switched(), c.switches, "%v", p.Switched())
			require.Empty(t, reads.Errs)
			require.Zero(t, p.Downs.Load())
		})
	}
}

// Events: both servers cannot save their data any more. Each answers PING as it answers a write, with MISCONF, and serves reads. Then
// the other one than is in use takes writes again: everybody is there.
func TestTwoThatCannotSaveServeReads(t *testing.T) {
	gone := [2]string{filepath.Join(t.TempDir(), "east"), filepath.Join(t.TempDir(), "west")}
	for _, dir := range gone {
		require.NoError(t, os.Mkdir(dir, 0o755))
	}
	saves := func(dir string) redistest.Option { return redistest.Lines(`save "3600 1000000"`, `dir "`+dir+`"`) }
	p := &pair.Pair{East: redistest.Start(t, saves(gone[0])), West: redistest.Start(t, saves(gone[1]))}
	p.Attach(t, p.East.Options(), p.West.Options(), nil)
	reads, end := readsAndWrites(p.RDB)
	defer end()
	redistest.Eventually(t, 10*time.Second, "load to run", func() bool { return reads.Ops.Load() > 50 })
	for i, server := range []*redistest.Redis{p.East, p.West} {
		require.NoError(t, os.RemoveAll(gone[i]))
		_ = server.Client().BgSave(t.Context()).Err()
		redistest.Eventually(t, 5*time.Second, "writes to be refused", func() bool {
			return redis.HasErrorPrefix(server.Client().Ping(t.Context()).Err(), "MISCONF")
		})
	}
	time.Sleep(7 * time.Second) // a regular check of each
	require.LessOrEqual(t, len(p.Switched()), 1)
	require.Zero(t, p.Downs.Load())
	healed := map[string]int{"east": 1, "west": 0}[p.Hook.Active()] // the other one
	heals := []*redistest.Redis{p.East, p.West}[healed].Client()
	require.NoError(t, heals.ConfigSet(t.Context(), "stop-writes-on-bgsave-error", "no").Err())
	redistest.Eventually(t, 20*time.Second, "writes to be served", func() bool { return p.RDB.Set(t.Context(), "k", 1, 0).Err() == nil })
	end()
	require.LessOrEqual(t, len(p.Switched()), 2)
	require.Empty(t, reads.Errs)
}
