// Package traffic is what real commands have met on one database, and what the detectors make of it.
package traffic

import (
	"sync/atomic"
	"time"

	"github.com/redishook/multidb/internal/callback"
	"github.com/redishook/multidb/window"
)

// Traffic counts what commands have met on one database. Safe for concurrent use.
type Traffic struct {
	Counts
	failing
	burst

	outcomes  window.Counter // successes that no detector has been told of yet
	detectors []*detector
	timed     bool           // one of them is about time, see detector.go
	replies   window.Counter // whose time was taken
}

// Counts are counters that never go back. All but Successes are added to by the one who reports.
type Counts struct {
	Successes, Failures, Replayed, Refused, Unknown atomic.Uint64
	NotSent, CannotServe, Unanswered                atomic.Uint64 // the failures by kind
	Unblocked                                       atomic.Uint64 // commands that waited and were made to move
	OwnFaults                                       atomic.Uint64 // failures that this process has met by itself: no evidence
	Evidence                                        Evidence
}

// Evidence counts what has made the database suspect, by kind.
type Evidence struct{ Connect, Request, Silence, Refusal atomic.Uint64 }

// ByKind returns the counts under the names that users see; nil if there is nothing.
func (e *Evidence) ByKind() map[string]uint64 {
	counts := map[string]uint64{
		"connect": e.Connect.Load(), "request": e.Request.Load(), "silence": e.Silence.Load(), "refusal": e.Refusal.Load(),
	}
	for kind, n := range counts {
		if n == 0 {
			delete(counts, kind)
		}
	}
	if len(counts) == 0 {
		return nil
	}
	return counts
}

// New makes the traffic of one database, with detectors of its own.
func New(factories []window.Factory) *Traffic {
	t := &Traffic{}
	for _, make := range factories {
		d := newDetector(make())
		t.detectors = append(t.detectors, d)
		t.timed = t.timed || d.bound > 0
	}
	return t
}

// Timed reports whether a detector is about time: then, and only then, Replied is wanted.
func (t *Traffic) Timed() bool { return t.timed }

// Succeeded counts an answered command. It does not allocate.
func (t *Traffic) Succeeded() { t.outcomes.Success() }

// Replied counts how long a reply took, for the detectors that are about time.
func (t *Traffic) Replied(took time.Duration) {
	for _, d := range t.detectors {
		if d.bound > 0 && took > d.bound {
			d.slow.Add(1)
		}
	}
	t.replies.Success()
}

// Sample gives the detectors what has been counted since the last time, and failures, and returns the first verdict.
func (t *Traffic) Sample(failures uint64) (verdict window.Verdict) {
	successes, replies := t.outcomes.Take(), uint64(0)
	if t.timed {
		replies = t.replies.Take()
	}
	t.Successes.Add(successes)
	now := time.Now()
	for _, d := range t.detectors {
		if v := d.ask(now, d.sample(successes, failures, replies)); v.Failing && !verdict.Failing {
			verdict = v
		}
	}
	return verdict
}

// Reset makes the detectors forget, and with them what has been counted and not told yet: of a database that was left, that
// may be the very replies that it was left for, kept until it is in use again. It runs code of the user's.
func (t *Traffic) Reset() {
	t.Successes.Add(t.outcomes.Take())
	t.replies.Take()
	for _, d := range t.detectors {
		d.slow.Store(0)
		callback.Guard(d.Reset)
	}
}

// Window returns what the first detector that counts sees now: failures, and commands altogether, within its window.
func (t *Traffic) Window() (failures, commands uint64) {
	for _, d := range t.detectors {
		if counting, ok := d.Detector.(window.Counting); ok {
			in := counting.Total(time.Now())
			return in.Failures, in.Failures + in.Successes
		}
	}
	return 0, 0
}
