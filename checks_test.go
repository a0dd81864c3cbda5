package multidb

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/virtual"
	"github.com/redishook/multidb/probes"
)

// closing is a probe that holds something.
type closing struct {
	name   string
	closed atomic.Int64
	err    error
}

func (p *closing) Check(context.Context, probes.Target) error { return nil }

func (p *closing) String() string { return p.name }

func (p *closing) Close() error { p.closed.Add(1); return p.err }

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

// Events: AddProbe comes while a database is being added. That one was never asked it; after RemoveProbe instead, it went on
// asking a probe that was closed.
func TestDatabaseAddedMeanwhileHasTheProbes(t *testing.T) {
	for _, name := range []string{"AddProbe", "RemoveProbe"} {
		old, late := &meddling{closing: closing{name: "old"}}, &closing{name: "late"}
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
		require.EqualValues(t, 1, old.closed.Load(), name)
	}
}
