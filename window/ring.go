package window

import "time"

// ring is the sum of the samples of the last few steps of time, each step in a bucket of its own.
//
// Bucket number n holds the time from n*width to (n+1)*width and lives at n modulo the size, so moving on
// means emptying the buckets that are used anew, and at most all of them however much time has passed.
//
// Not safe for concurrent use.
type ring struct {
	width   time.Duration
	buckets []Sample
	newest  int64 // number of the bucket that is being filled
	sum     Sample
}

// newRing divides the window into buckets. The width is rounded down, so that what is counted is never
// older than the window.
func newRing(window time.Duration, buckets int) ring {
	return ring{width: window / time.Duration(buckets), buckets: make([]Sample, buckets)}
}

// add counts a sample at the given time.
func (r *ring) add(elapsed time.Duration, s Sample) {
	r.advance(elapsed)
	r.bucket(r.newest).plus(s)
	r.sum.plus(s)
}

// total is the sum of what is in the window at the given time.
func (r *ring) total(elapsed time.Duration) Sample {
	r.advance(elapsed)
	return r.sum
}

func (r *ring) advance(elapsed time.Duration) {
	now := int64(elapsed / r.width)
	if now <= r.newest {
		return
	}
	first := max(r.newest+1, now-int64(len(r.buckets))+1)
	for n := first; n <= now; n++ {
		b := r.bucket(n)
		r.sum.minus(*b)
		*b = Sample{}
	}
	r.newest = now
}

func (r *ring) bucket(n int64) *Sample {
	return &r.buckets[n%int64(len(r.buckets))]
}

func (s *Sample) plus(o Sample) {
	s.Successes += o.Successes
	s.Failures += o.Failures
	s.Slow += o.Slow
}

func (s *Sample) minus(o Sample) {
	s.Successes -= o.Successes
	s.Failures -= o.Failures
	s.Slow -= o.Slow
}
