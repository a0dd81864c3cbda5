package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/load"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

var errorFree = map[string]int{}

func TestPlannedSwitchesLoseNothing(t *testing.T) {
	for _, c := range []struct {
		name    string
		servers []redistest.Option
		n       int
	}{
		{"tcp", nil, pair.Switches()},
		{"tls", []redistest.Option{redistest.TLS()}, pair.AtLength(25)},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := pair.New(t, pair.Calm, c.servers...)
			l := load.NewTally()
			script := redis.NewScript(`return redis.call("INCRBY", KEYS[1], ARGV[1])`)
			p.SwitchWhile(t, c.n, 32,
				func(ctx context.Context, _ int) { l.Add("incr", 1, p.RDB.Incr(ctx, "incr").Err()) },
				func(ctx context.Context, _ int) { l.Add("list", 1, p.RDB.LPush(ctx, "list", "x").Err()) },
				func(ctx context.Context, _ int) {
					_, err := p.RDB.Pipelined(ctx, func(pipe redis.Pipeliner) error {
						for range 50 {
							pipe.Incr(ctx, "pipe")
						}
						return nil
					})
					l.Add("pipe", 50, err)
				},
				func(ctx context.Context, _ int) {
					_, err := p.RDB.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
						pipe.Incr(ctx, "tx")
						pipe.Incr(ctx, "tx")
						return nil
					})
					l.Add("tx", 2, err)
				},
				func(ctx context.Context, _ int) { l.Add("eval", 3, script.Run(ctx, p.RDB, []string{"eval"}, 3).Err()) },
			)
			require.Equal(t, errorFree, l.Errs)
			for _, key := range []string{"incr", "pipe", "tx", "eval"} {
				require.Equal(t, l.Count[key], p.Sum(t, key), key)
			}
			list := p.East.Client().LLen(t.Context(), "list").Val() + p.West.Client().LLen(t.Context(), "list").Val()
			require.Equal(t, l.Count["list"], list)
			t.Logf("%d switches, %v, exact", c.n, l.Count)
		})
	}
}

// TestPlannedSwitchesKeepSessions: a transaction with WATCH and a Conn with a SELECT on it finish where they began. The
// only error of a transaction is a race that it lost.
func TestPlannedSwitchesKeepSessions(t *testing.T) {
	for _, c := range []struct {
		name    string
		servers []redistest.Option
	}{{"tcp", nil}, {"tls", []redistest.Option{redistest.TLS()}}} {
		t.Run(c.name, func(t *testing.T) {
			p := pair.New(t, func(opt *multidb.Options, o *redis.Options) {
				pair.Calm(opt, o)
				// go-redis 9.23 itself has a data race between Conn and Watch while it finds out that a server has none.
				o.MaintNotificationsConfig = testkit.MaintenanceOff()
			}, c.servers...)
			l := load.NewTally()
			lost := errors.New("lost race")
			p.SwitchWhile(t, pair.AtLength(25), 16,
				func(context.Context, int) {
					err := increment(p.RDB, "watched")
					if errors.Is(err, redis.TxFailedErr) {
						err = lost
					}
					l.Add("watched", 1, err)
				},
				func(ctx context.Context, g int) {
					conn := p.RDB.Conn()
					defer conn.Close()
					key := "session:" + strconv.Itoa(g)
					err := conn.Select(ctx, 7).Err()
					for range 4 {
						if err == nil {
							err = conn.Incr(ctx, key).Err()
						}
						time.Sleep(50 * time.Millisecond)
					}
					l.Add(key, 4, err)
					_ = conn.Select(ctx, 0) // as it was, for the next user of the connection
				},
			)
			delete(l.Errs, lost.Error())
			require.Equal(t, errorFree, l.Errs)
			require.Equal(t, l.Count["watched"], p.Sum(t, "watched"))
			for key, n := range l.Count {
				if !strings.HasPrefix(key, "session:") {
					continue
				}
				require.Zero(t, p.Sum(t, key), "%s is in index 0", key)
				var sum int64
				for _, server := range []*redistest.Redis{p.East, p.West} {
					opt := server.Options()
					opt.DB = 7
					indexed := redis.NewClient(opt)
					got, err := indexed.Get(t.Context(), key).Int64()
					require.True(t, err == nil || errors.Is(err, redis.Nil), "%v", err)
					sum += got
					require.NoError(t, indexed.Close())
				}
				require.Equal(t, n, sum, key)
			}
		})
	}
}

// TestPlannedSwitchesWithLargeValues: requests and replies that take many reads and writes.
func TestPlannedSwitchesWithLargeValues(t *testing.T) {
	p := pair.New(t, pair.Calm)
	l := load.NewTally()
	value := strings.Repeat("v", 1<<20)
	p.SwitchWhile(t, pair.AtLength(10), 8,
		func(ctx context.Context, g int) {
			key := "big:" + strconv.Itoa(g)
			_, err := p.RDB.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
				pipe.Set(ctx, key, value, 0)
				pipe.Get(ctx, key)
				pipe.Incr(ctx, "n")
				return nil
			})
			l.Add("n", 1, err)
		},
		func(ctx context.Context, g int) {
			got, err := p.RDB.Get(ctx, "big:"+strconv.Itoa(g-1)).Result()
			if err == nil && got != value {
				err = fmt.Errorf("%d bytes of another reply", len(got))
			}
			if errors.Is(err, redis.Nil) {
				err = nil
			}
			l.Add("", 0, err)
		},
	)
	require.Equal(t, errorFree, l.Errs)
	require.Equal(t, l.Count["n"], p.Sum(t, "n"))
}

// TestEveryPlannedMoveIsExact: the planned moves that no caller asks for by name (a manual choice that expires, failback, a
// weight, the removal of the active database and its return) one after the other in the middle of traffic: no error, and
// exact sums. A database that is removed while it drains and is added again under its name is the same server with other
// connections, so what is owed over the old ones must still be read.
func TestEveryPlannedMoveIsExact(t *testing.T) {
	rounds := 100
	if testing.Short() {
		rounds = 10
	}
	p := pair.New(t, func(o *multidb.Options, r *redis.Options) {
		pair.Calm(o, r)
		o.Failback = multidb.Failback{GracePeriod: time.Millisecond}
		o.Health.Interval, o.Health.ActiveInterval = 20*time.Millisecond, 20*time.Millisecond
	})
	specs := map[string]multidb.Database{
		"east": {Name: "east", Options: p.East.Options()},
		"west": {Name: "west", Weight: 0.5, Options: p.West.Options()},
	}
	l := load.NewTally()
	ops := []func(context.Context){
		func(ctx context.Context) { l.Add("incr", 1, p.RDB.Incr(ctx, "incr").Err()) },
		func(ctx context.Context) {
			_, err := p.RDB.TxPipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.IncrBy(ctx, "tx", 2).Err() })
			l.Add("tx", 2, err)
		},
		func(ctx context.Context) {
			_, err := p.RDB.Pipelined(ctx, func(pipe redis.Pipeliner) error {
				for range 20 {
					pipe.Incr(ctx, "pipe")
				}
				return nil
			})
			l.Add("pipe", 20, err)
		},
	}
	load := load.Start(12, func(ctx context.Context, g, _ int) error { ops[g%len(ops)](ctx); return nil })
	moves := func(to string) {
		redistest.Eventually(t, 20*time.Second, "the move to "+to, func() bool { return p.Hook.Active() == to })
	}
	for range rounds {
		// It expires, and failback follows.
		require.NoError(t, p.Hook.ForceActive("west", time.Duration(1+rand.IntN(5))*time.Millisecond))
		moves("east")
		// A weight moves, and the removal of the active database moves back.
		require.NoError(t, p.Hook.SetWeight("west", 2))
		moves("west")
		require.NoError(t, p.Hook.Remove(t.Context(), "west"))
		require.Equal(t, "east", p.Hook.Active())
		require.NoError(t, p.Hook.Add(t.Context(), specs["west"]))
	}
	load.End()
	require.Equal(t, errorFree, l.Errs)
	for key, n := range l.Count {
		require.Positive(t, n)
		require.Equal(t, n, p.Sum(t, key), key)
	}
	reasons := p.Hook.Stats().Switches
	for _, reason := range []multidb.Reason{multidb.ReasonManual, multidb.ReasonWeight, multidb.ReasonRemoved} {
		require.Positive(t, reasons[reason], "%v", reason)
	}
	t.Logf("%v, %v, exact", reasons, l.Count)
}

// Events: 100 idle TLS connections in the pool (go-redis cannot check them); a planned switch; then one command at a
// time. Each attempt takes one more old connection out of the pool and is refused by its gate: go-redis' 4 attempts times
// the hook's 8, with the backoff of both, and then an error although both databases are well.
func TestPlannedSwitchWithIdleTLSConnections(t *testing.T) {
	p := pair.Idle(t, 100, redistest.TLS())
	require.NoError(t, p.Hook.SetActive(t.Context(), "west"))
	began := time.Now()
	err := p.RDB.Incr(t.Context(), "n").Err()
	t.Logf("took %v", time.Since(began))
	require.NoError(t, err)
	require.Less(t, time.Since(began), 5*time.Second)
}
