package window

import (
	"sync"
	"sync/atomic"
	"time"
)

// rule is what tells the built-in detectors apart: how the sum of a window is judged.
type rule interface {
	// judge gives the verdict on what is in the window.
	judge(in Sample) Verdict

	// possible is false when the window holds too little for any verdict now and, while nothing is
	// added to it, ever. It must not depend on a share: a share may rise by successes growing old.
	possible(in Sample) bool
}

// sliding is a Detector that judges the sum of a sliding window by a rule. Safe for concurrent use.
type sliding struct {
	rule rule

	// suspicious is what rule.possible said of the latest sum. A healthy database answers Verdict
	// from it, with one atomic load.
	suspicious atomic.Bool

	mu    sync.Mutex
	clock clock // guarded by mu
	ring  ring  // guarded by mu
}

func newSliding(window time.Duration, buckets int, r rule) *sliding {
	return &sliding{rule: r, clock: clock{window: window}, ring: newRing(window, buckets)}
}

func (d *sliding) Record(at time.Time, s Sample) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ring.add(d.clock.read(at), s)
	d.suspicious.Store(d.rule.possible(d.ring.sum))
}

func (d *sliding) Verdict(at time.Time) Verdict {
	if !d.suspicious.Load() {
		return Verdict{}
	}
	return d.rule.judge(d.total(at))
}

// Total is what is in the window; see [Counting].
func (d *sliding) Total(at time.Time) Sample { return d.total(at) }

func (d *sliding) total(at time.Time) Sample {
	d.mu.Lock()
	defer d.mu.Unlock()
	in := d.ring.total(d.clock.read(at))
	d.suspicious.Store(d.rule.possible(in))
	return in
}

func (d *sliding) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clock = clock{window: d.clock.window}
	clear(d.ring.buckets)
	d.ring.newest, d.ring.sum = 0, Sample{}
	d.suspicious.Store(false)
}
