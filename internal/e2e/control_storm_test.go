package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/fakeserver"
	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/internal/testkit/virtual"
)

// stormy are four databases that come and go.
func stormy() (specs []multidb.Database, up []*atomic.Bool) {
	for i := range 4 {
		alive := new(atomic.Bool)
		alive.Store(true)
		o := fakeserver.InstantOptions(fmt.Sprintf("db%d:6379", i))
		o.Dialer = func(context.Context, string, string) (net.Conn, error) {
			if !alive.Load() {
				return nil, virtual.ErrUnreachable
			}
			return &mortal{up: alive}, nil
		}
		specs, up = append(specs, multidb.Database{Name: fmt.Sprint("db", i), Weight: float64(4 - i), Options: o}), append(up, alive)
	}
	return specs, up
}

// TestControlStorm: every method of control from six goroutines at once, under traffic, while databases come and go. Every
// other round ends with Close in the middle of it. No round may hang, be stuck on a database that is not usable, report
// switches that do not join, or say "closed" of an open hook.
func TestControlStorm(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	for round := range rounds {
		specs, up := stormy()
		var mu sync.Mutex
		last, wrong := "", make(map[string]bool)
		complain := func(what string) { mu.Lock(); defer mu.Unlock(); wrong[what] = true }
		opt := multidb.Options{
			Databases: specs, Logger: slog.New(slog.DiscardHandler), DrainTimeout: 30 * time.Millisecond,
			Breaker:  multidb.Breaker{Delay: 10 * time.Millisecond, Successes: 1},
			Failback: multidb.Failback{GracePeriod: 20 * time.Millisecond, MaxGracePeriod: 50 * time.Millisecond},
			Health:   multidb.Health{Interval: 20 * time.Millisecond, ActiveInterval: 20 * time.Millisecond},
		}
		opt.Events.OnSwitch = func(s multidb.Switch) {
			if last != "" && s.From != last {
				complain(fmt.Sprintf("a switch from %s, but %s was active", s.From, last))
			}
			last = s.To
		}
		h, err := multidb.New(t.Context(), opt)
		require.NoError(t, err)
		rdb := redis.NewClient(fakeserver.InstantOptions("db0:6379"))
		rdb.AddHook(h)
		set := func() error { return rdb.Set(context.Background(), "k", 1, 0).Err() }

		var stop, ending atomic.Bool
		var wg sync.WaitGroup
		loop := func(n int, f func()) {
			for range n {
				wg.Go(func() {
					for !stop.Load() {
						f()
					}
				})
			}
		}
		loop(4, func() { _ = set() })
		loop(6, func() {
			closed := ending.Load()
			if err := anyControl(h, specs); errors.Is(err, multidb.ErrClosed) && !closed && !ending.Load() {
				complain("of an open hook: " + err.Error())
			}
		})
		loop(1, func() {
			alive := up[rand.IntN(len(up))]
			alive.Store(false)
			time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
			alive.Store(true)
			time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
		})
		time.Sleep(700 * time.Millisecond)
		closing := round%2 == 0
		if closing {
			ending.Store(true)
			closeWithin(t, h, 20*time.Second)
		}
		stop.Store(true)
		wg.Wait()
		if !closing {
			h.Release()
			redistest.Eventually(t, 20*time.Second, "the active database to be usable", func() bool {
				s := h.Stats()
				for _, d := range s.Databases {
					if d.Name == s.Active {
						return !s.Down && d.Breaker == multidb.BreakerClosed
					}
				}
				return false
			})
		}
		redistest.Eventually(t, 20*time.Second, "a command to pass", func() bool { return set() == nil })
		closeWithin(t, h, 20*time.Second)
		require.NoError(t, set(), "a closed hook is a pass-through")
		require.Empty(t, wrong)
		require.NoError(t, rdb.Close())
	}
}

// anyControl calls one method of control. Most errors are right: the database is gone, or down, or the last one.
func anyControl(h *multidb.Hook, specs []multidb.Database) error {
	spec := specs[rand.IntN(len(specs))]
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	switch rand.IntN(7) {
	case 0:
		return h.SetActive(ctx, spec.Name)
	case 1:
		return h.ForceActive(spec.Name, time.Duration(rand.IntN(3))*time.Millisecond)
	case 2:
		h.Release()
	case 3:
		return h.SetWeight(spec.Name, float64(1+rand.IntN(9)))
	case 4:
		return h.Remove(ctx, spec.Name)
	case 5:
		return h.Add(ctx, spec)
	case 6:
		_ = h.Stats()
	}
	return nil
}

func closeWithin(t *testing.T, h *multidb.Hook, limit time.Duration) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); _ = h.Close() }()
	select {
	case <-done:
	case <-time.After(limit):
		require.FailNow(t, "Close hangs")
	}
}
