package history

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The checker must see what it is there for: a loss and a double planted into a history that is otherwise right.
func TestCheckFindsWhatIsPlanted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var log Log
		final := make(map[string]int64)
		for range rapid.IntRange(1, 50).Draw(t, "ops") {
			op := Op{
				Key:     rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key"),
				Amount:  rapid.Int64Range(1, 50).Draw(t, "amount"),
				Outcome: rapid.SampledFrom([]Outcome{Done, Unknown, NotDone}).Draw(t, "outcome"),
			}
			log.Add(op)
			if op.Outcome == Done || op.Outcome == Unknown && rapid.Bool().Draw(t, "executed") {
				final[op.Key] += op.Amount
			}
		}
		require.NoError(t, log.Check(final))

		for key, totals := range log.Totals() {
			lost := map[string]int64{"a": final["a"], "b": final["b"], "c": final["c"]}
			lost[key] = totals.Done - 1
			require.ErrorContains(t, log.Check(lost), key+": lost 1")
			lost[key] = totals.Done + totals.Unknown + 1
			require.ErrorContains(t, log.Check(lost), key+": doubled 1")
		}
		final["never used"] = 1
		require.ErrorContains(t, log.Check(final), "never used: doubled 1")
	})
}

func TestCheckFailsOnAnOutcomeThatIsNone(t *testing.T) {
	for _, outcome := range []Outcome{-1, NotDone + 1} {
		var log Log
		log.Add(Op{Key: "a", Amount: 1, Outcome: outcome})
		require.ErrorContains(t, log.Check(map[string]int64{}), "is no outcome")
	}
}
