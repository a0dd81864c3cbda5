package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit"
)

// step is one thing that happens in a schedule.
type step struct {
	what string
	db   int
	num  int
}

func (s step) String() string { return fmt.Sprintf("%s(%c,%d)", s.what, 'a'+s.db, s.num) }

var steps = []string{"down", "up", "down", "up", "weight", "force", "set", "release", "remove", "add", "wait",
	"hold", "together", "together", "close"}

// TestSchedules: random schedules of faults, recoveries, weight changes, additions, removals and manual choices, each in a
// bubble of its own; some of the databases may be down when it begins, some steps are several at once, and a schedule may end
// with Close. What must hold is asserted after each step, when what follows from it has had its time.
func TestSchedules(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		schedule := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) step {
			return step{
				what: rapid.SampledFrom(steps).Draw(r, "what"),
				db:   rapid.IntRange(0, 2).Draw(r, "db"),
				num:  rapid.IntRange(1, 20).Draw(r, "num"),
			}
		}), 1, 15).Draw(r, "schedule")
		down := rapid.IntRange(0, 6).Draw(r, "down at start") // a bit for each, and never all: New would wait
		failure := ""
		ok := t.Run("", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { failure = runSchedule(t, down, schedule) })
		})
		if !ok || failure != "" {
			r.Fatalf("down at start %03b, %v: %s", down, schedule, failure)
		}
	})
}

const scheduleGrace = 8 * time.Second

// runSchedule returns what was broken first, or "".
func runSchedule(t *testing.T, down int, schedule []step) string {
	dbs, specs := newVirtuals(t, 3)
	for i, db := range dbs {
		db.Up.Store(down>>i&1 == 0)
	}
	var mu sync.Mutex
	healthy := make(map[string]time.Time) // since when, by its events
	relapsed := make(map[string]bool)     // it has failed since it was added: there is no grace for one that never has
	active, broken := "", ""              // the first choice is no switch
	fail := func(format string, args ...any) {
		if broken == "" {
			broken = fmt.Sprintf(format, args...)
		}
	}
	h, err := multidb.New(t.Context(), multidb.Options{
		Databases: specs, Logger: testkit.Log(t), Failback: multidb.Failback{GracePeriod: scheduleGrace},
		Events: multidb.Events{
			OnHealth: func(c multidb.HealthChange) {
				mu.Lock()
				defer mu.Unlock()
				delete(healthy, c.Database)
				if c.State == multidb.BreakerClosed {
					healthy[c.Database] = time.Now()
				} else {
					relapsed[c.Database] = true
				}
			},
			OnSwitch: func(s multidb.Switch) {
				if active != "" && s.From != active {
					fail("a switch from %s to %s, but %s was active", s.From, s.To, active)
				}
				mu.Lock()
				defer mu.Unlock()
				if s.Reason == multidb.ReasonFailback && relapsed[s.To] {
					if since, ok := healthy[s.To]; !ok || time.Since(since) < scheduleGrace {
						fail("back to %s inside its grace period", s.To)
					}
				}
				active = s.To
			},
		},
	})
	require.NoError(t, err)
	if active == "" {
		active = h.Active()
	}
	rdb := redis.NewClient(specs[0].Options)
	rdb.AddHook(h)
	var asked, answered atomic.Int64
	present := map[string]bool{"a": true, "b": true, "c": true}
	held := ""
	var until time.Time // the end of a manual choice for a time
	var closed atomic.Bool
	for _, s := range schedule {
		name := specs[s.db].Name
		// Somebody is always waiting for an answer.
		asked.Add(1)
		go func() {
			err := rdb.Set(context.Background(), "k", 1, 0).Err()
			if err != nil && !closed.Load() && !errors.Is(err, multidb.ErrNoDatabase) && !multidb.SafeToRetry(err) {
				fail("a SET may be run twice, and ended with %v", err)
			}
			answered.Add(1)
		}()
		switch s.what {
		case "down":
			dbs[s.db].Up.Store(false)
		case "up":
			dbs[s.db].Up.Store(true)
		case "weight":
			_ = h.SetWeight(name, float64(s.num))
		case "force":
			if h.ForceActive(name, 0) == nil {
				held, until = name, time.Time{}
			}
		case "hold":
			d := time.Duration(s.num) * time.Second
			if h.ForceActive(name, d) == nil {
				held, until = name, time.Now().Add(d)
			}
		case "together":
			// Each kind of control at once. Who comes last is not ours to say, but the hook must agree with itself.
			next, third := specs[(s.db+1)%3].Name, specs[(s.db+2)%3].Name
			var wg sync.WaitGroup
			wg.Go(func() { _ = h.SetActive(context.Background(), name) })
			wg.Go(func() { _ = h.ForceActive(next, 0) })
			wg.Go(func() { _ = h.SetWeight(third, float64(s.num)) })
			wg.Go(func() { dbs[s.db].Up.Store(s.num%2 == 0) })
			if s.num%3 == 0 {
				wg.Go(func() {
					if h.Remove(context.Background(), third) == nil {
						present[third] = false
					}
				})
			}
			wg.Wait()
			held, until = h.Stats().Held, time.Time{}
		case "close":
			closed.Store(true)
			assert.NoError(t, h.Close())
		case "set":
			if h.SetActive(context.Background(), name) == nil {
				held, until = name, time.Time{}
			}
		case "release":
			h.Release()
			held = ""
		case "remove":
			if h.Remove(context.Background(), name) == nil {
				present[name] = false
				if held == name {
					held = ""
				}
			}
		case "add":
			if !present[name] {
				mu.Lock()
				relapsed[name] = false
				mu.Unlock()
			}
			if h.Add(context.Background(), specs[s.db]) == nil {
				present[name] = true
			}
		case "wait":
			time.Sleep(time.Duration(s.num) * time.Second)
		}
		time.Sleep(7 * time.Second) // a probe round, a verdict, a breaker's delay
		synctest.Wait()
		if n := answered.Load(); n != asked.Load() {
			fail("after %v: %d of %d commands still wait", s, asked.Load()-n, asked.Load())
		}
		if closed.Load() {
			break
		}
		if held == "" {
			until = time.Time{}
		}
		if !until.IsZero() && !time.Now().Before(until) {
			if h.Stats().Held == held {
				fail("after %v: the manual choice of %s outlives its time", s, held)
			}
			held, until = "", time.Time{}
		}

		up := func(name string) bool {
			i := slices.IndexFunc(specs, func(d multidb.Database) bool { return d.Name == name })
			return present[name] && dbs[i].Up.Load()
		}
		anyUp := up("a") || up("b") || up("c")
		stats := h.Stats()
		if stats.Down == anyUp {
			fail("after %v: down is %v, although some database is up is %v", s, stats.Down, anyUp)
		}
		if anyUp && !up(stats.Active) {
			fail("after %v: %s is active and not usable", s, stats.Active)
		}
		if held != "" && !up(held) && stats.Held != held {
			held = "" // a manual choice ends with its database
		}
		if held != "" && up(held) && stats.Active != held {
			fail("after %v: the manual choice of %s does not stand: %s is active", s, held, stats.Active)
		}
		if active != stats.Active {
			fail("after %v: by the events %s is active, by the statistics %s", s, active, stats.Active)
		}
	}
	assert.NoError(t, rdb.Close())
	assert.NoError(t, h.Close())
	for _, v := range dbs {
		v.Redis.Close()
	}
	return broken
}
