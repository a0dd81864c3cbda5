package probes_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/probes"
)

// nameless panics when it is asked what it is.
type nameless struct{ name *string }

func (*nameless) Check(context.Context, probes.Target) error { return nil }
func (n *nameless) String() string                           { return *n.name }
func (n *nameless) GatesOnly() bool                          { return *n.name == "gate" }

// Events: the String of a probe panics, by a nil pointer in it. The process ended, because a health loop asks.
func TestProbeWhoseNamePanics(t *testing.T) {
	p := &nameless{}
	require.Equal(t, "*probes_test.nameless", probes.Name(p))
	require.False(t, probes.GatesOnly(p))
	require.NoError(t, probes.Check{Probe: p, Probes: 1}.Run(t.Context(), probes.Target{Name: "a"}))
}
