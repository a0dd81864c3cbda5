package e2e_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/history"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// chaosSeed is that of the faults. MULTIDB_SEED=n repeats those of an earlier run: the same faults in the same order, which
// meet other commands.
func chaosSeed(t *testing.T) uint64 {
	seed := rand.Uint64()
	if text := os.Getenv("MULTIDB_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err, "MULTIDB_SEED")
	}
	t.Logf("MULTIDB_SEED=%d", seed)
	return seed
}

// TestChaos: crashes, hangs and restarts at random under the load of everything that must not be run twice. For every
// counter: what was reported as done is there, and nothing is there that was neither done nor of unknown fate. That the
// checker finds a planted loss and a planted double is tested beside it (internal/testkit/history).
func TestChaos(t *testing.T) {
	faults := 200
	if testing.Short() {
		faults = 12
	}
	p := pair.New(t, func(o *multidb.Options, _ *redis.Options) {
		o.Breaker = multidb.Breaker{Delay: 20 * time.Millisecond, Successes: 1}
		o.Health.Timeout, o.Health.StallTimeout = 200*time.Millisecond, 100*time.Millisecond
	}, redistest.Persist())
	var log history.Log
	script := redis.NewScript(`return redis.call("INCRBY", KEYS[1], ARGV[1])`)
	ops := []func(ctx context.Context){
		func(ctx context.Context) { note(t, &log, "incr", 1, p.RDB.Incr(ctx, "incr").Err()) },
		func(ctx context.Context) { note(t, &log, "list", 1, p.RDB.LPush(ctx, "list", "x").Err()) },
		func(ctx context.Context) { note(t, &log, "eval", 3, script.Run(ctx, p.RDB, []string{"eval"}, 3).Err()) },
		func(ctx context.Context) {
			cmds, _ := p.RDB.Pipelined(ctx, func(pipe redis.Pipeliner) error {
				for range 50 {
					pipe.Incr(ctx, "pipe")
				}
				return nil
			})
			for _, cmd := range cmds {
				note(t, &log, "pipe", 1, cmd.Err()) // answered commands keep their results
			}
		},
		func(ctx context.Context) {
			_, err := p.RDB.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
				pipe.Incr(ctx, "tx")
				pipe.Incr(ctx, "tx")
				return nil
			})
			note(t, &log, "tx", 2, err)
		},
	}
	var stop atomic.Bool
	var done atomic.Int64
	var wg sync.WaitGroup
	for g := range 32 {
		wg.Go(func() {
			for !stop.Load() {
				ops[g%len(ops)](context.Background())
				done.Add(1)
			}
		})
	}
	random := rand.New(rand.NewPCG(chaosSeed(t), 0))
	kinds := make(map[string]int)
	for range faults {
		before := done.Load()
		redistest.Eventually(t, 30*time.Second, "load to run", func() bool { return done.Load() > before+50 })
		active, _ := p.Servers()
		left := func() bool { now, _ := p.Servers(); return now != active }
		switch fault := random.IntN(4); fault {
		case 0:
			kinds["crash"]++
			active.Kill()
			redistest.Eventually(t, 20*time.Second, "a switch", left)
			active.Restart()
		case 1: // it may be back before anybody is sure that it is gone: what is in flight is lost all the same
			kinds["restart"]++
			active.Kill()
			active.Restart()
		case 2:
			kinds["hang"]++
			active.Stop()
			redistest.Eventually(t, 20*time.Second, "a switch", left)
			active.Cont()
		case 3: // it goes on before anybody has noticed
			kinds["pause"]++
			active.Stop()
			active.Cont()
		}
		redistest.Eventually(t, 30*time.Second, "both to be usable", p.Usable)
	}
	stop.Store(true)
	wg.Wait()
	final := map[string]int64{}
	for key := range log.Totals() {
		if key != "list" {
			final[key] = p.Sum(t, key)
			continue
		}
		for _, server := range []*redistest.Redis{p.East, p.West} {
			final[key] += server.Client().LLen(context.Background(), key).Val()
		}
	}
	t.Logf("%v, %d switches: %+v, at the servers %v", kinds, len(p.Switched()), log.Totals(), final)
	require.NoError(t, log.Check(final))
	var unknown int64
	for key, totals := range log.Totals() {
		require.Positive(t, totals.Done, "%s: nothing was done, which proves nothing", key)
		unknown += totals.Unknown
	}
	require.Positive(t, unknown, "no fault has met a command in flight, which proves nothing")
}

// note writes down what a caller was told. An error that says neither that the command was sent nor that it was not is a
// broken promise (P5) and no outcome.
func note(t *testing.T, log *history.Log, key string, n int64, err error) {
	outcome := history.Done
	var failed *multidb.CommandError
	switch {
	case err == nil:
	case errors.As(err, &failed) && failed.Sent:
		outcome = history.Unknown
	case multidb.SafeToRetry(err), redis.IsExecAbortError(err): // the latter of a restarted server that is loading: EXEC has done nothing
		outcome = history.NotDone
	default:
		t.Errorf("%s: nobody can tell what became of it: %T: %v", key, err, err)
		outcome = history.Unknown
	}
	log.Add(history.Op{Key: key, Amount: n, Outcome: outcome})
}
