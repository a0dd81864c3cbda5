package oracle_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/scripted"
)

// TestAPipelineThatIsPartlyRefusedRunsTheRestOnce: events: 1. GET is answered LOADING. 2. INCR behind it is executed and
// answered. 3. go-redis takes the first command's error for that of the pipeline, and sends all of it again: INCR ran twice.
func TestAPipelineThatIsPartlyRefusedRunsTheRestOnce(t *testing.T) {
	for _, refusal := range endings {
		if refusal.refusal == "" {
			continue
		}
		for _, way := range uses(t) {
			if strings.HasPrefix(way.name, "TxPipeline") {
				continue
			}
			t.Run(refusal.name+"/"+way.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var ran atomic.Int64
					rdb := once(t, 3, func(r scripted.Request) string {
						if r.Name == "get" {
							return scripted.Error(refusal.refusal)
						}
						return scripted.Int(int(ran.Add(1)))
					}, multidb.Options{}, func(o *redis.Options) { o.MaxRetries = 3 })
					var get *redis.StringCmd
					var incr *redis.IntCmd
					_ = way.run(t.Context(), rdb, func(p redis.Pipeliner) { get, incr = p.Get(t.Context(), "k"), p.Incr(t.Context(), "n") })
					require.EqualError(t, get.Err(), refusal.refusal)
					require.NoError(t, incr.Err())
					require.EqualValues(t, 1, incr.Val())
					require.EqualValues(t, 1, ran.Load(), "executions")
				})
			})
		}
	}
}
