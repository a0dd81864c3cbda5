package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

func plannedStorm(t *testing.T, tls bool) {
	var opts []redistest.Option
	if tls {
		opts = append(opts, redistest.TLS())
	}
	east, west := redistest.Start(t, opts...), redistest.Start(t, opts...)
	h := pair.Hook(t, multidb.Options{Health: pair.Patient, Databases: []multidb.Database{
		{Name: "east", Options: east.Options()}, {Name: "west", Weight: 0.5, Options: west.Options()},
	}})
	opt := east.Options()
	opt.PoolSize = 20
	rdb := redis.NewClient(opt)
	defer rdb.Close()
	rdb.AddHook(h)
	work := map[string]func(ctx context.Context) error{
		"incr": func(ctx context.Context) error { return rdb.Incr(ctx, "incr").Err() },
		"lpush": func(ctx context.Context) error {
			return rdb.LPush(ctx, "lpush", strings.Repeat("x", 1000)).Err()
		},
		"eval": func(ctx context.Context) error {
			return rdb.Eval(ctx, "return redis.call('incr', KEYS[1])", []string{"eval"}).Err()
		},
		"pipeline": func(ctx context.Context) error {
			_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, "pipeline"); return nil })
			return err
		},
		"tx": func(ctx context.Context) error {
			_, err := rdb.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, "tx"); return nil })
			return err
		},
		"watch": func(ctx context.Context) error {
			return rdb.Watch(ctx, func(tx *redis.Tx) error {
				tx.Get(ctx, "other")
				_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, "watch"); return nil })
				return err
			}, "unrelated")
		},
		"conn": func(ctx context.Context) error {
			c := rdb.Conn()
			defer c.Close()
			if err := c.Select(ctx, 3).Err(); err != nil {
				return fmt.Errorf("select: %w", err)
			}
			if err := c.Incr(ctx, "conn").Err(); err != nil {
				return fmt.Errorf("incr: %w", err)
			}
			return c.Select(ctx, 0).Err()
		},
	}
	var wg sync.WaitGroup
	var stop atomic.Bool
	ok, failed := map[string]*atomic.Int64{}, map[string]*atomic.Int64{}
	var mu sync.Mutex
	sample := map[string]error{}
	for name := range work {
		ok[name], failed[name] = new(atomic.Int64), new(atomic.Int64)
	}
	for name, f := range work {
		for range 2 {
			wg.Go(func() {
				for !stop.Load() {
					if err := f(context.Background()); err != nil {
						failed[name].Add(1)
						mu.Lock()
						sample[name] = err
						mu.Unlock()
					} else {
						ok[name].Add(1)
					}
				}
			})
		}
	}
	for i := range 40 {
		time.Sleep(50 * time.Millisecond)
		if err := h.SetActive(t.Context(), []string{"west", "east"}[i%2]); err != nil {
			t.Logf("skipped, the machine is busy: %v", err)
		}
	}
	stop.Store(true)
	wg.Wait()
	for name := range work {
		var sum int64
		for _, r := range []*redistest.Redis{east, west} {
			c := r.Client()
			var n int64
			switch name {
			case "lpush":
				n = c.LLen(t.Context(), name).Val()
			case "conn":
				conn := c.Conn()
				conn.Select(t.Context(), 3)
				n, _ = conn.Get(t.Context(), name).Int64()
				conn.Select(t.Context(), 0)
				conn.Close()
			default:
				n, _ = c.Get(t.Context(), name).Int64()
			}
			sum += n
		}
		t.Logf("%-9s done %5d, executed %5d, errors %d", name, ok[name].Load(), sum, failed[name].Load())
		if failed[name].Load() > 0 {
			t.Errorf("%s: %d errors in planned switches, e.g. %v", name, failed[name].Load(), sample[name])
		}
		if sum != ok[name].Load() {
			t.Errorf("%s: done %d, executed %d (errors %d)", name, ok[name].Load(), sum, failed[name].Load())
		}
	}
}

// Events: 40 planned switches in 2 s under commands, scripts, pipelines, transactions, Watch and Conn sessions.
func TestPlannedStormOfAllSurfaces(t *testing.T) { plannedStorm(t, false) }

func TestPlannedStormOfAllSurfacesTLS(t *testing.T) { plannedStorm(t, true) }
