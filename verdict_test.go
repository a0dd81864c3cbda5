package multidb

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/health"
	"github.com/redishook/multidb/internal/testkit/virtual"
)

// Events: a verdict opens the breaker of a database; before its event is in the queue, a check closes it and puts in its
// own. A listener is told "closed", then "open", of a database that is usable.
func TestHealthEventsAreInOrder(t *testing.T) {
	var wrong []string
	state := map[string]BreakerState{}
	opt := Options{Failback: Failback{GracePeriod: -1}, Logger: slog.New(slog.DiscardHandler)}
	opt.Events.OnHealth = func(c HealthChange) {
		if state[c.Database] == c.State {
			wrong = append(wrong, fmt.Sprint(c.Database, " is ", c.State, " already"))
		}
		state[c.Database] = c.State
	}
	startBubble(t, 3, opt, func([]*virtual.DB, []Database) {}, func(h *Hook, _ []*virtual.DB) {
		var wg sync.WaitGroup
		for _, name := range []string{"a", "b"} {
			db := h.selector.Find(name).Health
			for range 4 {
				wg.Go(func() {
					for range 500 {
						db.Trip(db.Generation(), health.Outage{Cause: virtual.ErrUnreachable})
						db.Restore(db.Generation())
					}
				})
			}
		}
		wg.Wait()
	})
	if len(wrong) > 0 {
		t.Errorf("%d times, e.g. %v", len(wrong), wrong[:min(3, len(wrong))])
	}
}

// Events: a verdict opens the breaker of the active database; before its event is in the queue, the health loop of another
// database reviews and switches. A listener is told of the switch before the failure that it was made for.
func TestFailureIsToldBeforeItsSwitch(t *testing.T) {
	var told []string
	opt := Options{Failback: Failback{GracePeriod: -1}, Logger: slog.New(slog.DiscardHandler)}
	opt.Events.OnHealth = func(c HealthChange) { told = append(told, c.Database+" "+string(c.State)) }
	opt.Events.OnSwitch = func(s Switch) { told = append(told, s.From+" to "+s.To) }
	startBubble(t, 2, opt, func([]*virtual.DB, []Database) {}, func(h *Hook, _ []*virtual.DB) {
		a := h.selector.Find("a").Health
		synctest.Wait()
		told = nil
		for range 300 {
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for h.Active() == "a" {
						h.selector.Review()
					}
				})
			}
			a.Trip(a.Generation(), health.Outage{Cause: virtual.ErrUnreachable})
			wg.Wait()
			a.Restore(a.Generation())
			_ = h.ForceActive("a", 0)
			synctest.Wait()
			if !assert.Equal(t, []string{"a open", "a to b", "a closed", "b to a"}, told) {
				return
			}
			told = nil
		}
	})
}

// Events: a failure detector trips the breaker of the active database; before its review, the health loop of another database reviews.
// The switch is said to be for a health check, without a cause.
func TestReasonAndCauseOfASwitchAreItsOwn(t *testing.T) {
	opt := Options{}
	switches := recordSwitches(&opt)
	boom, other := errors.New("boom"), errors.New("other")
	var down error
	opt.Events.OnAllDown = func(cause error) { down = cause }
	bubble(t, 3, opt, func(h *Hook, dbs []*virtual.DB) {
		a, b, c := h.selector.Find("a").Health, h.selector.Find("b").Health, h.selector.Find("c").Health
		a.OpenBreaker(a.Generation(), health.Outage{ByTraffic: true, Cause: boom})
		c.Restore(c.Generation())
		time.Sleep(time.Millisecond)
		require.Equal(t, "b", h.Active())
		require.Equal(t, ReasonFailureDetector, h.Choice().Reason)

		// The end of an outage at another place is a switch for the failure that began the outage.
		dbs[0].Up.Store(false)
		c.OpenBreaker(c.Generation(), health.Outage{Cause: virtual.ErrUnreachable})
		b.OpenBreaker(b.Generation(), health.Outage{Cause: other})
		dbs[1].Up.Store(false) // so that c is the first to be back
		h.selector.Review()
		c.Restore(c.Generation())
		time.Sleep(time.Millisecond)
	})
	require.ErrorIs(t, down, other)
	list := switches.list()
	require.Len(t, list, 2)
	require.Equal(t, ReasonFailureDetector, list[0].Reason)
	require.ErrorIs(t, list[0].Cause, boom)
	require.Equal(t, Switch{From: "b", To: "c", Reason: ReasonHealthCheck, Cause: list[1].Cause, Took: list[1].Took}, list[1])
	require.ErrorIs(t, list[1].Cause, other)
}

// Events: a is suspected and its probes are lost; meanwhile its traffic trips its breaker, it recovers, and an operator forces
// it; the time of the lost probes is over. The breaker of a usable database was tripped by what was asked before it had failed.
func TestLateProbesAreVoid(t *testing.T) {
	hangingBubble(t, 2, Options{}, func(h *Hook, dbs []*virtual.DB, _ *redis.Client) {
		a := h.selector.Find("a").Health
		dbs[0].Up.Store(false)
		h.Report("a", errors.New("reset"))
		time.Sleep(300 * time.Millisecond)
		a.TripByTraffic(a.Generation(), "many")
		require.Equal(t, "b", h.Active())
		dbs[0].Up.Store(true)
		require.NoError(t, h.ForceActive("a", 0))
		time.Sleep(time.Second)
		require.Equal(t, "a", h.Active())
	})
}

// Events: the breaker of the active database opens, and whoever opened it asks for no decision (a defect of ours).
// Nothing else would ever ask for one.
func TestActiveDatabaseThatIsNotUsableIsLeft(t *testing.T) {
	bubble(t, 2, Options{}, func(h *Hook, dbs []*virtual.DB) {
		a := h.selector.Find("a").Health
		dbs[0].Up.Store(false)
		a.OpenBreaker(a.Generation(), health.Outage{Cause: virtual.ErrUnreachable})
		time.Sleep(3 * time.Second)
		require.Equal(t, "b", h.Active())
	})
}
