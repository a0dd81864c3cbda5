package pair

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/probes"
)

// SwitchWhile makes n planned switches, to west and to east in turn, while the operations run. There are as many
// goroutines as told, and each repeats one of the operations, which gets the number of its goroutine.
func (p *Pair) SwitchWhile(t testing.TB, n, goroutines int, ops ...func(ctx context.Context, g int)) {
	t.Helper()
	var stop atomic.Bool
	var wg sync.WaitGroup
	var done atomic.Int64
	for g := range goroutines {
		wg.Go(func() {
			for !stop.Load() {
				ops[g%len(ops)](context.Background(), g)
				done.Add(1)
			}
		})
	}
	for i := range n {
		// Each switch meets traffic: without this a busy machine would make them all at once.
		before := done.Load()
		redistest.Eventually(t, 20*time.Second, "operations to go on", func() bool { return done.Load() >= before+int64(goroutines/2) })
		to := []string{"west", "east"}[i%2]
		require.NoError(t, p.Hook.SetActive(t.Context(), to), "switch %d", i)
		require.Equal(t, to, p.Hook.Active())
	}
	stop.Store(true)
	wg.Wait()
}

// Switches is the number of planned switches of a storm: 1,000 at full length, 100 with -short.
func Switches() int { return AtLength(100) }

// AtLength is Switches for a storm whose operations are slow, so that with -short there are fewer.
func AtLength(short int) int {
	if testing.Short() {
		return short
	}
	return 1000
}

// Calm is a Change that makes the hook patient. A machine may be so busy that a healthy server does not answer for half a
// second, which would be a failover in a test of planned switches.
func Calm(o *multidb.Options, _ *redis.Options) {
	o.Health.Timeout, o.Health.StallTimeout, o.Health.Checks = Patient.Timeout, Patient.StallTimeout, Patient.Checks
}

// Patient is what Calm sets.
var Patient = multidb.Health{
	Timeout: 10 * time.Second, StallTimeout: -1,
	Checks: []probes.Check{{Probe: probes.Ping(), Probes: 1, Timeout: 10 * time.Second}},
}
