package e2e_test

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/pair"
)

// Events: 1. The client names index 1 and the databases index 2. 2. The client's SELECT passes a hook that runs the next one in
// another goroutine, so that the stack does not show the handshake. 3. It was taken for a user's own, and everything that the
// client wrote went to index 1.
func TestTheIndexIsTheDatabasesBehindAHookThatRunsAside(t *testing.T) {
	for _, order := range []string{"before", "after"} {
		p := pair.New(t, func(o *multidb.Options, r *redis.Options) {
			for i := range o.Databases {
				o.Databases[i].Options.DB = 2
			}
			r.DB = 1
		})
		rdb := redis.NewClient(p.RDB.Options())
		t.Cleanup(func() { _ = rdb.Close() })
		if order == "before" {
			rdb.AddHook(testkit.Aside{})
		}
		rdb.AddHook(p.Hook)
		if order == "after" {
			rdb.AddHook(testkit.Aside{})
		}
		require.NoError(t, rdb.Set(t.Context(), "k", order, 0).Err())
		require.Equal(t, order, valueAt(t, p.East, 2, "k"))
		require.NoError(t, p.Hook.SetActive(t.Context(), "west"))
		require.NoError(t, rdb.Set(t.Context(), "k", order, 0).Err())
		require.Equal(t, order, valueAt(t, p.West, 2, "k"))
	}
}
