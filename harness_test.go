package multidb

import (
	"log/slog"
	"testing"

	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/testmain"
	"github.com/redishook/multidb/internal/testkit/virtual"
)

// The tests of this package look at its inside. Those that see a hook as its users do are in internal/e2e.

func TestMain(m *testing.M) {
	logging.Disable() // go-redis logs every failed dial
	testmain.Run(m)
}

// newHook makes a hook that is closed at the end of the test. It logs nothing unless opt has a Logger.
func newHook(t testing.TB, opt Options) *Hook {
	t.Helper()
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	h, err := New(t.Context(), opt)
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// newVirtuals starts n databases, all up, named a, b, c, ... with falling weights. Call it inside a bubble.
func newVirtuals(_ testing.TB, n int) ([]*virtual.DB, []Database) {
	dbs := virtual.New(n)
	var specs []Database
	for i, v := range dbs {
		name := string(rune('a' + i))
		specs = append(specs, Database{Name: name, Weight: float64(n - i), Options: v.Options(name + ":6379")})
	}
	return dbs, specs
}
