package multidb

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/virtual"
	"github.com/redishook/multidb/probes"
)

// meddling is a probe that does something when it is asked for its name.
type meddling struct {
	name string
	do   atomic.Pointer[func()]
}

func (p *meddling) Check(context.Context, probes.Target) error { return nil }

func (p *meddling) String() string {
	if do := p.do.Swap(nil); do != nil {
		(*do)()
	}
	return p.name
}

// GatesOnly is asked while the checks of a database are made.
func (p *meddling) GatesOnly() bool { _ = p.String(); return false }

// Events: AddProbe comes while a database is being added. That one was never asked it; after RemoveProbe instead, it went on
// asking a probe that was removed.
func TestDatabaseAddedMeanwhileHasTheProbes(t *testing.T) {
	for _, name := range []string{"AddProbe", "RemoveProbe"} {
		old, late := &meddling{name: "old"}, &meddling{name: "late"}
		bubble(t, 2, Options{Health: Health{Checks: []probes.Check{{Probe: old, Probes: 1}}}}, func(h *Hook, _ []*virtual.DB) {
			more, specs := newVirtuals(t, 1)
			defer more[0].Redis.Close()
			specs[0].Name = "new"
			meanwhile := func() {
				if name == "AddProbe" {
					require.NoError(t, h.AddProbe(probes.Check{Probe: late, Probes: 1}))
				} else {
					require.NoError(t, h.RemoveProbe("old"))
				}
			}
			old.do.Store(&meanwhile)
			require.NoError(t, h.Add(context.Background(), specs[0]))
			require.Nil(t, old.do.Load())
			all := h.selector.All()
			require.Len(t, all[2].Prober.Checks().All, len(all[0].Prober.Checks().All), name)
		})
	}
}
