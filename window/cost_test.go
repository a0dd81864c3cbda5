//go:build unix

package window

import (
	"math"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// instrumented is whether the race detector or the coverage counts every access: then times mean nothing.
func instrumented() bool {
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-race" && s.Value == "true" {
			return true
		}
	}
	return testing.CoverMode() != ""
}

// processorTime is what this process has used until now, of all cores together.
func processorTime(t *testing.T) time.Duration {
	var used syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// perOp is the processor time of a call in nanoseconds in the best of several rounds, for waiting until other
// processes leave a core is no price of the call. Rounds in which the goroutines did not really run on a core
// each do not count; it is infinite when there was no other.
func perOp(t *testing.T, goroutines int, op func()) float64 {
	const rounds, calls = 30, 500_000
	best := math.Inf(1)
	for range rounds {
		var wg sync.WaitGroup
		began, used := time.Now(), processorTime(t)
		for range goroutines {
			wg.Go(func() {
				for range calls {
					op()
				}
			})
		}
		wg.Wait()
		took := time.Since(began)
		used = processorTime(t) - used
		if used > took*time.Duration(goroutines)*8/10 {
			best = min(best, float64(used)/calls/float64(goroutines))
		}
	}
	return best
}

// Every command of every user pays for a success, so its price is a promise: under 25 ns, and not more with
// two cores counting.
func TestWhatASuccessCosts(t *testing.T) {
	if instrumented() {
		t.Skip("times mean nothing with instrumentation")
	}
	var alone, together float64
	for range 20 { // as often as it takes to find the machine quiet: what it costs then is what it costs
		var c Counter
		alone, together = perOp(t, 1, c.Success), perOp(t, min(2, runtime.GOMAXPROCS(0)), c.Success)
		t.Logf("a success: alone %.2f ns, on two cores %.2f ns", alone, together)
		if alone < 25 && together < 2*alone {
			return
		}
	}
	if math.IsInf(alone, 0) {
		t.Skip("the machine is busy with something else")
	}
	assert.Less(t, alone, 25.0)
	if math.IsInf(together, 0) {
		t.Skip("the machine is busy with something else")
	}
	assert.Less(t, together, 2*alone, "counting gets slower with two cores")
}

// The verdict on a healthy database is one atomic load.
func TestWhatAVerdictCosts(t *testing.T) {
	if instrumented() {
		t.Skip("times mean nothing with instrumentation")
	}
	d := NewFailureRate(Config{})()
	at := after(0)
	d.Record(at, ok(1000))
	cost := perOp(t, 1, func() { d.Verdict(at) })
	if math.IsInf(cost, 0) {
		t.Skip("the machine is busy with something else")
	}
	t.Logf("a verdict: %.2f ns", cost)
	assert.Less(t, cost, 25.0)
}
