// Package e2e_test sees a hook as its users do: through the exported names, mostly over real servers. Each file is named
// for a behaviour. The story of a bug that was found stands above its test as "Events: …".
package e2e_test

import (
	"os"
	"testing"

	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/testmain"
	"github.com/redishook/multidb/internal/testkit/virtual"
)

func TestMain(m *testing.M) {
	logging.Disable() // go-redis logs every failed dial
	testmain.Run(m)
}

// newVirtuals starts n databases, all up, named a, b, c, ... with falling weights. Call it inside a bubble.
func newVirtuals(_ testing.TB, n int) ([]*virtual.DB, []multidb.Database) {
	dbs := virtual.New(n)
	var specs []multidb.Database
	for i, v := range dbs {
		name := string(rune('a' + i))
		specs = append(specs, multidb.Database{Name: name, Weight: float64(n - i), Options: v.Options(name + ":6379")})
	}
	return dbs, specs
}

func optionsPage(t *testing.T) string {
	text, err := os.ReadFile("../../docs/options.md")
	require.NoError(t, err)
	return string(text)
}
