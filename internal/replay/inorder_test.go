package replay

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// TestWhatRunsInOrderMayRunInEachOrder: two of the forms, in each order, are what May allows as well, unless one fills and one empties.
func TestWhatRunsInOrderMayRunInEachOrder(t *testing.T) {
	rules, err := New(Default, nil)
	require.NoError(t, err)
	ctx := context.Background()
	make := func(f Form) redis.Cmder {
		args := []any{f.Name, "k", "1", "v"}
		if f.Args > 0 {
			args = args[:f.Args]
		}
		return redis.NewCmd(ctx, args...)
	}
	forms := rules.InOrder()
	require.Greater(t, len(forms), 40)
	for _, a := range forms {
		for _, b := range forms {
			mixed := a.Kind == Emptying && (b.Kind == Filling || b.Kind == Scoring) || b.Kind == Emptying && (a.Kind == Filling || a.Kind == Scoring)
			require.Equal(t, !mixed, rules.May(ctx, make(a), make(b)), "%v, %v", a, b)
		}
	}
	for _, f := range forms {
		require.NotContains(t, []string{"incr", "lpush", "eval", "blpop", "expire", "rename", "xread"}, f.Name)
	}
}

func TestNothingRunsInOrderThatTheOptionForbids(t *testing.T) {
	none, err := New(None, nil)
	require.NoError(t, err)
	require.Empty(t, none.InOrder())
	reads, err := New(Read, map[string]Rung{"get": None})
	require.NoError(t, err)
	for _, f := range reads.InOrder() {
		require.NotContains(t, []string{"get", "set", "del"}, f.Name)
	}
	require.Contains(t, Blocking(), "blpop")
}
