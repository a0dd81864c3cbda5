package multidb

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/probes"
)

// Planned switches: both databases are healthy, so nothing may be lost, doubled or refused.

// ledger counts what callers were told, by key.
type ledger struct {
	mu    sync.Mutex
	count map[string]int64
	errs  map[string]int
}

func newLedger() *ledger { return &ledger{count: make(map[string]int64), errs: make(map[string]int)} }

func (l *ledger) add(key string, n int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.errs[err.Error()]++
		return
	}
	l.count[key] += n
}

// switchWhile moves to and fro n times while the operations run, each in its own goroutines.
func switchWhile(t *testing.T, p *pair, n, goroutines int, ops ...func(ctx context.Context, g int)) {
	t.Helper()
	var stop atomic.Bool
	var wg sync.WaitGroup
	var done atomic.Int64
	for g := range goroutines {
		wg.Go(func() {
			for !stop.Load() {
				ops[g%len(ops)](context.Background(), g)
				done.Add(1)
			}
		})
	}
	for i := range n {
		// Each switch meets traffic: without this a busy machine would make them all at once.
		before := done.Load()
		eventually(t, 20*time.Second, "operations to go on", func() bool { return done.Load() >= before+int64(goroutines/2) })
		to := []string{"west", "east"}[i%2]
		require.NoError(t, p.hook.SetActive(t.Context(), to), "switch %d", i)
		require.Equal(t, to, p.hook.Active())
	}
	stop.Store(true)
	wg.Wait()
}

func switches(t *testing.T) int {
	if testing.Short() {
		return 100
	}
	return 1000
}

// atLength is switches for storms whose operations are slow: few of them with -short, all of them at full length.
func atLength(t *testing.T, short int) int {
	if testing.Short() {
		return short
	}
	return switches(t)
}

// calm makes the hook patient: a machine so busy that a healthy server does not answer for half a second would otherwise
// see failovers in a test of planned switches.
func calm(o *Options, _ *redis.Options) {
	o.Health.Timeout, o.Health.StallTimeout, o.Health.Checks = patient.Timeout, patient.StallTimeout, patient.Checks
}

// patient is what calm sets.
var patient = Health{
	Timeout: 10 * time.Second, StallTimeout: -1,
	Checks: []probes.Check{{Probe: probes.Ping(), Probes: 1, Timeout: 10 * time.Second}},
}

var errorFree = map[string]int{}

func TestPlannedSwitchesLoseNothing(t *testing.T) {
	for _, c := range []struct {
		name    string
		servers []redistest.Option
		n       int
	}{
		{"tcp", nil, switches(t)},
		{"tls", []redistest.Option{redistest.TLS()}, atLength(t, 25)},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t, calm, c.servers...)
			l := newLedger()
			script := redis.NewScript(`return redis.call("INCRBY", KEYS[1], ARGV[1])`)
			switchWhile(t, p, c.n, 32,
				func(ctx context.Context, _ int) { l.add("incr", 1, p.rdb.Incr(ctx, "incr").Err()) },
				func(ctx context.Context, _ int) { l.add("list", 1, p.rdb.LPush(ctx, "list", "x").Err()) },
				func(ctx context.Context, _ int) {
					_, err := p.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
						for range 50 {
							pipe.Incr(ctx, "pipe")
						}
						return nil
					})
					l.add("pipe", 50, err)
				},
				func(ctx context.Context, _ int) {
					_, err := p.rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
						pipe.Incr(ctx, "tx")
						pipe.Incr(ctx, "tx")
						return nil
					})
					l.add("tx", 2, err)
				},
				func(ctx context.Context, _ int) { l.add("eval", 3, script.Run(ctx, p.rdb, []string{"eval"}, 3).Err()) },
			)
			require.Equal(t, errorFree, l.errs)
			for _, key := range []string{"incr", "pipe", "tx", "eval"} {
				require.Equal(t, l.count[key], p.sum(t, key), key)
			}
			list := p.east.Client().LLen(t.Context(), "list").Val() + p.west.Client().LLen(t.Context(), "list").Val()
			require.Equal(t, l.count["list"], list)
			t.Logf("%d switches, %v, exact", c.n, l.count)
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
			p := newPair(t, func(opt *Options, o *redis.Options) {
				calm(opt, o)
				// go-redis 9.23 itself has a data race between Conn and Watch while it finds out that a server has none.
				o.MaintNotificationsConfig = maintenanceOff()
			}, c.servers...)
			l := newLedger()
			lost := errors.New("lost race")
			switchWhile(t, p, atLength(t, 25), 16,
				func(context.Context, int) {
					err := increment(p.rdb, "watched")
					if errors.Is(err, redis.TxFailedErr) {
						err = lost
					}
					l.add("watched", 1, err)
				},
				func(ctx context.Context, g int) {
					conn := p.rdb.Conn()
					defer conn.Close()
					key := "session:" + strconv.Itoa(g)
					err := conn.Select(ctx, 7).Err()
					for range 4 {
						if err == nil {
							err = conn.Incr(ctx, key).Err()
						}
						time.Sleep(50 * time.Millisecond)
					}
					l.add(key, 4, err)
					_ = conn.Select(ctx, 0) // as it was, for the next user of the connection
				},
			)
			delete(l.errs, lost.Error())
			require.Equal(t, errorFree, l.errs)
			require.Equal(t, l.count["watched"], p.sum(t, "watched"))
			for key, n := range l.count {
				if !strings.HasPrefix(key, "session:") {
					continue
				}
				require.Zero(t, p.sum(t, key), "%s is in index 0", key)
				var sum int64
				for _, server := range []*redistest.Redis{p.east, p.west} {
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
	p := newPair(t, calm)
	l := newLedger()
	value := strings.Repeat("v", 1<<20)
	switchWhile(t, p, atLength(t, 10), 8,
		func(ctx context.Context, g int) {
			key := "big:" + strconv.Itoa(g)
			_, err := p.rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
				pipe.Set(ctx, key, value, 0)
				pipe.Get(ctx, key)
				pipe.Incr(ctx, "n")
				return nil
			})
			l.add("n", 1, err)
		},
		func(ctx context.Context, g int) {
			got, err := p.rdb.Get(ctx, "big:"+strconv.Itoa(g-1)).Result()
			if err == nil && got != value {
				err = fmt.Errorf("%d bytes of another reply", len(got))
			}
			if errors.Is(err, redis.Nil) {
				err = nil
			}
			l.add("", 0, err)
		},
	)
	require.Equal(t, errorFree, l.errs)
	require.Equal(t, l.count["n"], p.sum(t, "n"))
}
