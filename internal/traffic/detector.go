package traffic

import (
	"sync/atomic"
	"time"

	"github.com/redishook/multidb/internal/callback"
	"github.com/redishook/multidb/window"
)

// How slow a database is, is measured on its connections: from a request written to the first byte of its reply, whatever
// that says. What a caller waits for beside that (a connection of the pool, a dial, a login, another hook) is not the
// database's doing, and a reply that go-redis makes an error of, such as redis.Nil, took as long as any. Nothing is measured
// where no detector asks.

// detector is one of a database, with what only one that implements [window.Timed] is told.
type detector struct {
	window.Detector
	bound time.Duration // of Timed; 0: it is not
	slow  atomic.Uint64 // replies that took longer and that it has not been told of yet
}

func newDetector(own window.Detector) *detector {
	d := &detector{Detector: own}
	if timed, ok := own.(window.Timed); ok {
		d.bound = timed.SlowerThan()
	}
	return d
}

// sample is what a detector is told. One that is about time learns of the replies that were timed, each of which is counted as
// slow before it is counted: what is slow and not yet among them is kept for the next time.
func (d *detector) sample(successes, failures, replies uint64) window.Sample {
	if d.bound <= 0 {
		return window.Sample{Successes: successes, Failures: failures}
	}
	slow := d.slow.Swap(0)
	if early := slow - min(slow, replies); early > 0 {
		d.slow.Add(early)
		slow -= early
	}
	return window.Sample{Successes: replies, Failures: failures, Slow: slow}
}

// ask asks the detector, which may be a user's and may panic: it then has no opinion.
func (d *detector) ask(now time.Time, s window.Sample) window.Verdict {
	return callback.Ask(func() window.Verdict {
		d.Record(now, s)
		return d.Verdict(now)
	}, window.Verdict{})
}
