package window

import (
	"fmt"
	"time"
)

// NewFailureRate returns a factory of detectors that trip at a number of failures and a share of failed
// commands within a sliding window. Settings that [Config.Validate] rejects are reported by
// [Factory.Validate]; the detectors made with them never trip.
//
// The factory and its detectors are safe for concurrent use.
func NewFailureRate(c Config) Factory {
	if err := c.Validate(); err != nil {
		return func() Detector { return invalid{err} }
	}
	c = c.withDefaults()
	r := failureRate{need: uint64(max(c.MinFailures, 1)), rate: c.FailureRate, window: c.Window}
	return func() Detector { return newSliding(c.Window, c.Buckets, r) }
}

type failureRate struct {
	need   uint64  // failures; 1 when the threshold is off, for no rate can be reached without any
	rate   float64 // negative when off, and then below every rate there is
	window time.Duration
}

func (r failureRate) possible(in Sample) bool {
	return in.Failures >= r.need
}

func (r failureRate) judge(in Sample) Verdict {
	if in.Failures < r.need || share(in.Failures, in.Successes) < r.rate {
		return Verdict{}
	}
	return Verdict{
		Failing: true,
		Reason:  fmt.Sprintf("%d of %d commands failed within %v", in.Failures, in.Failures+in.Successes, r.window),
	}
}

// share is n of n+others, for n > 0. A quotient, because it is rounded to the same number as the setting
// is: 7 of 100 are 0.07, while 0.07*100 is more than 7.
func share(n, others uint64) float64 {
	return float64(n) / (float64(n) + float64(others))
}
