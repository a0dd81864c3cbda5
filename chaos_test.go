package multidb

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/history"
	"github.com/redishook/multidb/internal/redistest"
)

// TestChaos: crashes, hangs and restarts at random under the load of everything that must not be run twice. For every
// counter: what was reported as done is there, and nothing is there that was neither done nor of unknown fate.
func TestChaos(t *testing.T) {
	faults := 200
	if testing.Short() {
		faults = 12
	}
	p := newPair(t, func(o *Options, _ *redis.Options) {
		o.Breaker = Breaker{Delay: 20 * time.Millisecond, Successes: 1}
		o.Health.Timeout, o.Health.StallTimeout = 200*time.Millisecond, 100*time.Millisecond
	}, persist)
	var log history.Log
	script := redis.NewScript(`return redis.call("INCRBY", KEYS[1], ARGV[1])`)
	ops := []func(ctx context.Context){
		func(ctx context.Context) { note(&log, "incr", 1, p.rdb.Incr(ctx, "incr").Err()) },
		func(ctx context.Context) { note(&log, "list", 1, p.rdb.LPush(ctx, "list", "x").Err()) },
		func(ctx context.Context) { note(&log, "eval", 3, script.Run(ctx, p.rdb, []string{"eval"}, 3).Err()) },
		func(ctx context.Context) {
			cmds, _ := p.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
				for range 50 {
					pipe.Incr(ctx, "pipe")
				}
				return nil
			})
			for _, cmd := range cmds {
				note(&log, "pipe", 1, cmd.Err()) // answered commands keep their results
			}
		},
		func(ctx context.Context) {
			_, err := p.rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
				pipe.Incr(ctx, "tx")
				pipe.Incr(ctx, "tx")
				return nil
			})
			note(&log, "tx", 2, err)
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
	random := rand.New(rand.NewPCG(1, 2))
	for range faults {
		before := done.Load()
		eventually(t, 30*time.Second, "load to run", func() bool { return done.Load() > before+50 })
		active, _ := p.servers()
		if random.IntN(2) == 0 {
			active.Kill()
			eventually(t, 10*time.Second, "a switch", func() bool { now, _ := p.servers(); return now != active })
			active.Restart()
		} else {
			active.Stop()
			if random.IntN(3) > 0 { // or go on before anybody has noticed
				eventually(t, 10*time.Second, "a switch", func() bool { now, _ := p.servers(); return now != active })
			}
			active.Cont()
		}
		eventually(t, 30*time.Second, "both to be usable", p.hook.usableAgain)
	}
	stop.Store(true)
	wg.Wait()
	final := map[string]int64{}
	for key := range log.Totals() {
		if key != "list" {
			final[key] = p.sum(t, key)
			continue
		}
		for _, server := range []*redistest.Redis{p.east, p.west} {
			final[key] += server.Client().LLen(context.Background(), key).Val()
		}
	}
	t.Logf("%d faults, %d switches: %+v, at the servers %v", faults, len(p.switched()), log.Totals(), final)
	require.NoError(t, log.Check(final))
}

// note writes down what a caller was told.
func note(log *history.Log, key string, n int64, err error) {
	outcome := history.Done
	var failed *CommandError
	switch {
	case err == nil:
	case errors.As(err, &failed) && failed.Sent:
		outcome = history.Unknown
	case SafeToRetry(err):
		outcome = history.NotDone
	default:
		outcome = history.Unknown
	}
	log.Add(history.Op{Key: key, Amount: n, Outcome: outcome})
}
