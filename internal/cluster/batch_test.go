package cluster_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/redishook/multidb/internal/cluster"
)

// TestAgain is the table of what a pipeline over nodes comes to.
func TestAgain(t *testing.T) {
	const a, b = "connection 1", "connection 2"
	lost := func(part any, slot int) cluster.Reply {
		return cluster.Reply{Outcome: cluster.Lost, Part: part, Slot: slot}
	}
	is := func(o cluster.Outcome, slot int) cluster.Reply { return cluster.Reply{Outcome: o, Slot: slot} }
	once := func(r cluster.Reply) cluster.Reply { r.Once = true; return r }
	for name, c := range map[string]struct {
		replies  []cluster.Reply
		harmful  []int
		again    []int
		deciding int
		more     bool
	}{
		"all answered":                 {[]cluster.Reply{is(cluster.Answered, 1), is(cluster.Answered, 2)}, nil, nil, -1, false},
		"answers stay where they are":  {[]cluster.Reply{lost(a, 1), is(cluster.Answered, 2), lost(a, 3)}, nil, []int{0, 2}, 0, false},
		"each part by itself":          {[]cluster.Reply{lost(a, 1), lost(b, 2), lost(a, 3), lost(b, 4)}, []int{3}, []int{0, 2}, 0, true},
		"a part is one":                {[]cluster.Reply{lost(a, 1), lost(a, 2), lost(a, 3)}, []int{1}, nil, 0, true},
		"without a part each is alone": {[]cluster.Reply{lost(nil, 1), lost(nil, 2)}, []int{0}, []int{1}, 0, true},
		"not sent":                     {[]cluster.Reply{is(cluster.NotSent, 1), is(cluster.Answered, 1)}, []int{0}, []int{0}, 0, false},
		"not sent, and only once":      {[]cluster.Reply{once(is(cluster.NotSent, 1))}, nil, nil, 0, true},
		"refused":                      {[]cluster.Reply{is(cluster.CannotServe, 1), is(cluster.Answered, 2)}, []int{0}, []int{0}, 0, false},
		"refused before an answer":     {[]cluster.Reply{is(cluster.CannotServe, 1), is(cluster.Answered, 1)}, nil, nil, 0, true},
		"refused behind an answer":     {[]cluster.Reply{is(cluster.Answered, 1), is(cluster.Misrouted, 1)}, nil, []int{1}, 1, false},
		"refused before a doubt":       {[]cluster.Reply{is(cluster.Misrouted, 1), lost(a, 1)}, []int{1}, nil, 1, true},
		"refused before what runs too": {[]cluster.Reply{is(cluster.Misrouted, 1), lost(a, 1)}, nil, []int{0, 1}, 1, false},
		"a command of any slot":        {[]cluster.Reply{is(cluster.Misrouted, cluster.NoSlot), is(cluster.Answered, 7)}, nil, nil, 0, true},
		"before one of any slot":       {[]cluster.Reply{is(cluster.Misrouted, 7), is(cluster.Answered, cluster.NoSlot)}, nil, nil, 0, true},
		"the caller gave up":           {[]cluster.Reply{is(cluster.Excluded, 1), is(cluster.NotSent, 1)}, nil, []int{1}, 0, true},
		"lost decides":                 {[]cluster.Reply{is(cluster.NotSent, 1), is(cluster.CannotServe, 2), lost(a, 3)}, nil, []int{0, 1, 2}, 2, false},
		"lost, and only once":          {[]cluster.Reply{once(lost(a, 1))}, nil, nil, 0, true},
		"nothing":                      {nil, nil, nil, -1, false},
	} {
		again, deciding, more := cluster.Again(c.replies, func(indexes []int) bool {
			return !slices.ContainsFunc(indexes, func(i int) bool { return slices.Contains(c.harmful, i) })
		})
		require.Equal(t, c.again, again, name)
		require.Equal(t, c.deciding, deciding, name)
		require.Equal(t, c.more, more, name)
	}
}

// TestAgainNeverBreaksItsRules: for any batch, nothing that may harm is run twice, parts stay whole, and the order within a
// slot holds.
func TestAgainNeverBreaksItsRules(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(0, 12).Draw(rt, "n")
		replies, harmful := make([]cluster.Reply, n), make([]bool, n)
		for i := range n {
			replies[i] = cluster.Reply{
				Outcome: cluster.Outcome(rapid.IntRange(0, 5).Draw(rt, "outcome")),
				Part:    rapid.SampledFrom([]any{nil, 1, 2}).Draw(rt, "part"),
				Slot:    rapid.IntRange(-1, 3).Draw(rt, "slot"),
			}
			harmful[i] = rapid.Bool().Draw(rt, "harmful")
		}
		again, deciding, more := cluster.Again(replies, func(indexes []int) bool {
			return !slices.ContainsFunc(indexes, func(i int) bool { return harmful[i] })
		})
		if !slices.IsSorted(again) {
			rt.Fatal("the order has changed")
		}
		failed := 0
		for i, r := range replies {
			runs := slices.Contains(again, i)
			switch r.Outcome {
			case cluster.Answered, cluster.Excluded:
				if runs {
					rt.Fatalf("%d is run again", i)
				}
			case cluster.NotSent:
				if !runs {
					rt.Fatalf("%d was not sent and is not run again", i)
				}
			case cluster.Lost:
				for j, other := range replies {
					if runs && other.Outcome == cluster.Lost && (i == j || r.Part != nil && other.Part == r.Part) &&
						(harmful[j] || !slices.Contains(again, j)) {
						rt.Fatalf("%d is run again without or in spite of %d", i, j)
					}
				}
			case cluster.CannotServe, cluster.Misrouted:
				for j := i + 1; j < n; j++ {
					stays := replies[j].Outcome == cluster.Answered || replies[j].Outcome == cluster.Lost && !slices.Contains(again, j)
					if runs && stays && (replies[j].Slot == r.Slot || replies[j].Slot == cluster.NoSlot || r.Slot == cluster.NoSlot) {
						rt.Fatalf("%d would be executed behind %d", i, j)
					}
				}
			}
			if r.Outcome != cluster.Answered {
				failed++
			}
		}
		if (deciding < 0) != (failed == 0) || more != (failed > len(again)) {
			rt.Fatalf("deciding %d, more %v of %d failures", deciding, more, failed)
		}
	})
}
