//go:build unix

package e2e_test

import (
	"fmt"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// TestProbingCostOf64Databases: at the default intervals, watching 64 databases takes less than 1 % of one core. What
// counts is the processor time of this process, so other load on the machine does not matter much.
func TestProbingCostOf64Databases(t *testing.T) {
	if testkit.RaceEnabled {
		t.Skip("the race detector multiplies processor time")
	}
	startSixtyFour(t)
	time.Sleep(6 * time.Second) // a whole interval: every connection is made
	share := shareOfACore(t)
	t.Logf("%.2f %% of one core", 100*share)
	require.Less(t, share, 0.01)
}

// TestOutageCostOf64Databases: while 64 databases are all down, to ask them takes less than 5 % of one core.
func TestOutageCostOf64Databases(t *testing.T) {
	if testkit.RaceEnabled || testing.Short() {
		t.Skip("measured at full length, without the race detector: it multiplies processor time")
	}
	server, hook := startSixtyFour(t)
	time.Sleep(2 * time.Second)
	server.Kill()
	redistest.Eventually(t, 20*time.Second, "the outage", func() bool { return hook.Stats().Down })
	time.Sleep(3 * time.Second)
	share := shareOfACore(t)
	t.Logf("%.2f %% of one core", 100*share)
	require.Less(t, share, 0.05)
}

// startSixtyFour starts a server, and a hook of which it is all 64 databases.
func startSixtyFour(t *testing.T) (*redistest.Redis, *multidb.Hook) {
	t.Helper()
	server := redistest.Start(t)
	opt := multidb.Options{Logger: slog.New(slog.DiscardHandler)}
	for i := range 64 {
		opt.Databases = append(opt.Databases, multidb.Database{Name: fmt.Sprint("db", i), Weight: float64(64 - i), Options: server.Options()})
	}
	hook, err := multidb.New(t.Context(), opt)
	require.NoError(t, err)
	t.Cleanup(func() { _ = hook.Close() })
	return server, hook
}

// shareOfACore measures for some seconds how much of a core this process uses.
func shareOfACore(t *testing.T) float64 {
	t.Helper()
	const span = 3 * time.Second
	share := 1.0
	for range 3 { // the best of three, because a busy machine has cold caches
		before := processorTime(t)
		time.Sleep(span)
		share = min(share, float64(processorTime(t)-before)/float64(span))
	}
	return share
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
