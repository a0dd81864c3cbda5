package window_test

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redishook/multidb/window"
)

// The default trips at 5 failures and 10 % of all commands within 5 seconds. The hook does what is done here
// by hand: it records what happens to commands and asks for a verdict.
func ExampleNewFailureRate() {
	d := window.NewFailureRate(window.Config{})()

	now := time.Now()
	d.Record(now, window.Sample{Successes: 30, Failures: 4})
	fmt.Println(d.Verdict(now).Failing)

	now = now.Add(time.Second)
	d.Record(now, window.Sample{Failures: 1})
	fmt.Println(d.Verdict(now).Failing, d.Verdict(now).Reason)

	now = now.Add(5 * time.Second)
	fmt.Println(d.Verdict(now).Failing)
	// Output:
	// false
	// true 5 of 35 commands failed within 5s
	// false
}

// Settings are validated together with all others when the hook is made; each mistake names its field.
func ExampleFactory_Validate() {
	fmt.Println(window.NewFailureRate(window.Config{FailureRate: 10}).Validate())
	// Output:
	// FailureRate = 10: must be a share of at most 1, 0 for the default or negative for off
}

// inARow trips at three failures without a success between them.
type inARow struct{ failures atomic.Uint64 }

func (d *inARow) Record(_ time.Time, s window.Sample) {
	if s.Successes > 0 {
		d.failures.Store(0)
	}
	d.failures.Add(s.Failures)
}

func (d *inARow) Verdict(time.Time) window.Verdict {
	n := d.failures.Load()
	if n < 3 {
		return window.Verdict{}
	}
	return window.Verdict{Failing: true, Reason: fmt.Sprintf("%d failures in a row", n)}
}

func (d *inARow) Reset() { d.failures.Store(0) }

// A detector of your own is a type with three methods, and a function that makes one for each database.
func ExampleDetector() {
	var f window.Factory = func() window.Detector { return new(inARow) }

	d, now := f(), time.Now()
	d.Record(now, window.Sample{Failures: 2})
	d.Record(now, window.Sample{Successes: 1, Failures: 2})
	fmt.Println(d.Verdict(now).Failing)
	d.Record(now, window.Sample{Failures: 1})
	fmt.Println(d.Verdict(now).Reason)
	// Output:
	// false
	// 3 failures in a row
}

// Slow is a failure only where the application says so: here when, of at least 20 commands within 5 seconds,
// half took longer than 50 ms.
func ExampleNewSlow() {
	d := window.NewSlow(window.SlowConfig{Bound: 50 * time.Millisecond})()

	now := time.Now()
	d.Record(now, window.Sample{Successes: 20, Slow: 9})
	fmt.Println(d.Verdict(now).Failing)
	d.Record(now, window.Sample{Successes: 2, Slow: 2})
	fmt.Println(d.Verdict(now).Reason)
	// Output:
	// false
	// 11 of 22 answered commands took longer than 50ms within 5s
}
