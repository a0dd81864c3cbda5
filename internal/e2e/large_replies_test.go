package e2e_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// TestLargeReplies measures what is left of the throughput of large replies with the hook: make large. Bare and hooked take turns in one
// run, and the fastest tenth of each is compared. Whatever else the machine does makes a round slower and none faster.
func TestLargeReplies(t *testing.T) {
	if os.Getenv("MULTIDB_LARGE") == "" {
		t.Skip("a measurement: make large")
	}
	server := redistest.Start(t)
	h := pair.Hook(t, multidb.Options{Databases: []multidb.Database{{Name: "only", Options: server.Options()}}, Health: pair.Patient})
	bare, hooked := redis.NewClient(server.Options()), redis.NewClient(server.Options())
	defer bare.Close()
	defer hooked.Close()
	hooked.AddHook(h)
	ctx := t.Context()
	require.NoError(t, bare.Set(ctx, "value", strings.Repeat("x", 1<<20), 0).Err())
	elements := make([]any, 10_000)
	for i := range elements {
		elements[i] = fmt.Sprint("element ", i)
	}
	require.NoError(t, bare.RPush(ctx, "list", elements...).Err())
	for name, read := range map[string]func(ctx context.Context, rdb *redis.Client) error{
		"1 MB values":               func(ctx context.Context, rdb *redis.Client) error { return rdb.Get(ctx, "value").Err() },
		"arrays of 10,000 elements": func(ctx context.Context, rdb *redis.Client) error { return rdb.LRange(ctx, "list", 0, -1).Err() },
	} {
		const rounds, reads = 400, 8
		took := map[*redis.Client][]time.Duration{}
		for round := range rounds {
			for turn := range 2 {
				rdb := []*redis.Client{bare, hooked}[(round+turn)%2]
				began := time.Now()
				for range reads {
					require.NoError(t, read(ctx, rdb))
				}
				took[rdb] = append(took[rdb], time.Since(began)/reads)
			}
		}
		fast := func(rdb *redis.Client) time.Duration {
			slices.Sort(took[rdb])
			return took[rdb][rounds/10]
		}
		ratio := float64(fast(bare)) / float64(fast(hooked))
		t.Logf("%s: %v without the hook, %v with it: %.1f %% of the throughput", name, fast(bare), fast(hooked), 100*ratio)
		assert.GreaterOrEqual(t, ratio, 0.98, name)
	}
}
