package e2e_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/virtual"
	"github.com/redishook/multidb/probes"
)

// closing is a probe that holds something.
type closing struct {
	name          string
	asked, closed atomic.Int64
}

func (p *closing) Check(context.Context, probes.Target) error { p.asked.Add(1); return nil }

func (p *closing) String() string { return p.name }

func (p *closing) Close() error { p.closed.Add(1); return nil }

// TestProbesAreClosedByWhoMadeThem: the hook closes none, be it removed, of a database that is removed, or left at the end. It
// asks none after its own Close, so all can be closed then.
func TestProbesAreClosedByWhoMadeThem(t *testing.T) {
	shared, own, added, kept := &closing{name: "shared"}, &closing{name: "own"}, &closing{name: "added"}, &closing{name: "kept"}
	all := []*closing{shared, own, added, kept}
	check := func(p probes.Probe) probes.Check { return probes.Check{Probe: p, Probes: 1} }
	opt := multidb.Options{Health: multidb.Health{Checks: []probes.Check{check(shared), check(probes.Gate(shared))}}}
	bubble(t, 2, opt, func(h *multidb.Hook, _ []*virtual.DB) {
		ctx := context.Background()
		require.NoError(t, h.AddProbe(check(added)))
		require.NoError(t, h.AddProbe(check(kept)))
		time.Sleep(time.Minute)
		require.NoError(t, h.RemoveProbe("added"))
		time.Sleep(time.Minute)
		before := added.asked.Load()
		require.Positive(t, before)

		more, specs := newVirtuals(t, 1)
		defer more[0].Redis.Close()
		specs[0].Name, specs[0].Checks = "new", []probes.Check{check(own), check(kept)}
		require.NoError(t, h.Add(ctx, specs[0]))
		require.NoError(t, h.Remove(ctx, "new"))
		require.NoError(t, h.Remove(ctx, "a"))
		time.Sleep(time.Minute)
		require.Equal(t, before, added.asked.Load(), "nobody has it")
		require.NoError(t, h.AddProbe(check(added)), "it may come back")
		time.Sleep(time.Minute)
		require.Greater(t, added.asked.Load(), before)

		require.NoError(t, h.Close())
		asked := make(map[*closing]int64)
		for _, p := range all {
			asked[p] = p.asked.Load()
			require.Positive(t, asked[p], p.name)
		}
		time.Sleep(time.Minute)
		for _, p := range all {
			require.Equal(t, asked[p], p.asked.Load(), "%s was asked after Close", p.name)
			require.Zero(t, p.closed.Load(), p.name)
		}
	})
}

// meddling is a probe that does something when it is asked for its name.
type meddling struct {
	closing
	do atomic.Pointer[func()]
}

func (p *meddling) String() string {
	if do := p.do.Swap(nil); do != nil {
		(*do)()
	}
	return p.closing.String()
}

// GatesOnly is asked while the checks of a database are made.
func (p *meddling) GatesOnly() bool { _ = p.String(); return false }

// Events: two callers remove the same probe; the first one finds that the second one was faster, and looks again. It reported that
// it had removed the probe.
func TestProbeIsRemovedOnce(t *testing.T) {
	bubble(t, 2, multidb.Options{}, func(h *multidb.Hook, _ []*virtual.DB) {
		p := &meddling{closing: closing{name: "p"}}
		require.NoError(t, h.AddProbe(probes.Check{Probe: p, Probes: 1}))
		second := func() { require.NoError(t, h.RemoveProbe("p")) }
		p.do.Store(&second)
		require.ErrorContains(t, h.RemoveProbe("p"), "no database has a probe")
	})
}

// TestAddedProbeIsForLaterDatabases that have no checks of their own; those that have keep to them.
func TestAddedProbeIsForLaterDatabases(t *testing.T) {
	var asked [4]atomic.Int64
	names := map[string]int{"a": 0, "b": 1, "later": 2, "own": 3}
	count := probes.Check{Probes: 1, Probe: probes.Func("count", func(_ context.Context, db probes.Target) error {
		asked[names[db.Name]].Add(1)
		return nil
	})}
	bubble(t, 2, multidb.Options{}, func(h *multidb.Hook, _ []*virtual.DB) {
		require.NoError(t, h.AddProbe(count))
		more, specs := newVirtuals(t, 2)
		specs[0].Name, specs[1].Name = "later", "own"
		specs[1].Checks = []probes.Check{ping()}
		for i := range specs {
			defer more[i].Redis.Close()
			require.NoError(t, h.Add(context.Background(), specs[i]))
		}
		time.Sleep(time.Minute)
		for name, i := range names {
			if name == "own" {
				require.Zero(t, asked[i].Load(), name)
			} else {
				require.InDelta(t, 12, asked[i].Load(), 4, name)
			}
		}
		require.NoError(t, h.RemoveProbe("count"))
		time.Sleep(time.Second)
		before := asked[2].Load()
		time.Sleep(time.Minute)
		require.Equal(t, before, asked[2].Load())
	})
}

// TestChecksOfOneDatabase replace those of all: a is asked nothing else, and nobody else is asked these.
func TestChecksOfOneDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var bad atomic.Bool
		var strays atomic.Int64
		own := probes.Func("own", func(_ context.Context, db probes.Target) error {
			if db.Name != "a" {
				strays.Add(1)
			}
			if bad.Load() {
				return errors.New("bad")
			}
			return nil
		})
		all := probes.Func("all", func(_ context.Context, db probes.Target) error {
			if db.Name == "a" {
				strays.Add(1)
			}
			return nil
		})
		dbs, specs := newVirtuals(t, 2)
		specs[0].Checks = []probes.Check{{Probe: own, Probes: 1}}
		h, err := multidb.New(t.Context(), multidb.Options{
			Databases: specs, Logger: testkit.Log(t), Health: multidb.Health{Checks: []probes.Check{{Probe: all, Probes: 1}}},
		})
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.Equal(t, "a", h.Active())
		bad.Store(true)
		time.Sleep(20 * time.Second)
		require.Equal(t, "b", h.Active())
		require.Zero(t, strays.Load())
		require.NoError(t, h.Close())
		for _, v := range dbs {
			v.Redis.Close()
		}
	})
}

// asking is a probe that asks the hook when it is asked what it is.
type asking struct{ ask func() }

func (p asking) Check(context.Context, probes.Target) error { return nil }

func (p asking) String() string { p.ask(); return "asking" }

func (p asking) GatesOnly() bool { p.ask(); return true }

// Events: a probe's GatesOnly or String takes its time, or asks the hook. It was called with the lock of all decisions held.
func TestProbeMayCallTheHook(t *testing.T) {
	bubble(t, 2, multidb.Options{}, func(h *multidb.Hook, _ []*virtual.DB) {
		check := probes.Check{Probes: 1, Probe: asking{func() { h.Stats() }}}
		require.NoError(t, h.AddProbe(check))
		require.NoError(t, h.RemoveProbe("asking"))
	})
}
