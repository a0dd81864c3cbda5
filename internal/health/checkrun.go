package health

import (
	"context"
	"time"
)

// One run of checks, beside the health loop.

// runKind says what a round of checks is about.
type runKind int

const (
	routineRun  runKind = iota // of a usable database, every so often
	halfOpenRun                // of one whose breaker is half-open
	outageRun                  // of any while all are down: the first that answers is used
)

// checkRun is the round of checks of one database that is under way, if done is not nil. It runs beside the health loop
// that it belongs to, and hands it nothing but its result. Only the health loop reads and writes the fields.
type checkRun struct {
	kind       runKind
	generation uint64 // of the breaker when it began: the result is void if there has been another one since
	cancel     context.CancelFunc
	done       chan error // the result; capacity 1, so that a round that was dropped waits for nobody

	due   time.Time // no regular round before
	again time.Time // no other round before
}

// begin starts a round, in the state of the breaker that generation tells of.
func (l *loop) begin(r *checkRun, k runKind, generation uint64, ask func(context.Context) error) {
	ctx, cancel := context.WithCancel(l.h.ctx)
	done := make(chan error, 1)
	r.kind, r.generation, r.cancel, r.done = k, generation, cancel, done
	started := l.h.fleet.Go(func() {
		if k == outageRun {
			// The round of a method of control may have a gate that takes its time, and an outage waits for nobody.
			done <- ask(ctx)
			return
		}
		if err := l.h.checks.begin(ctx); err != nil {
			done <- err // it was dropped, and nobody listens
			return
		}
		defer l.h.checks.end()
		done <- ask(ctx)
	})
	if !started {
		done <- l.h.ctx.Err() // all is ending, and nobody listens
	}
}

// drop gives up the round that is under way, whose result would be void.
func (l *loop) drop(r *checkRun) {
	if r.done == nil {
		return
	}
	r.cancel()
	r.done = nil
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	if r.kind == halfOpenRun && r.generation == l.h.breaker.generation {
		// The permit that it had of the half-open breaker goes with that state only, and there may be no other.
		l.h.breaker.circuit.Open()
	}
}

// finish acts on the result of a round.
func (l *loop) finish(r *checkRun, err error) {
	r.cancel()
	r.done = nil
	if l.h.isClosed() {
		return
	}
	switch r.kind {
	case routineRun:
		if err != nil {
			l.h.Trip(r.generation, Outage{Cause: err})
		}
	case halfOpenRun:
		r.again = time.Now().Add(max(l.h.cfg.BreakerDelay/4, downInterval))
		if err == nil {
			l.h.traffic.Reset()
		}
		if l.recordTrial(r.generation, err) {
			l.h.fleet.Review()
		}
	case outageRun:
		r.again = time.Now().Add(downPace(l.h.cfg.Databases))
		if _, down := l.h.fleet.Role(); err == nil && down {
			l.h.Restore(r.generation)
		}
	}
}

// tryAgain has a database probed that is not usable, as its breaker permits, and returns when to look next.
func (l *loop) tryAgain(r *checkRun) time.Duration {
	want, ask := halfOpenRun, l.h.checks.once
	if _, down := l.h.fleet.Role(); down {
		// Everything is down: no grace, the first to answer is used, and nobody waits for a slow round from before.
		want, ask = outageRun, l.h.checks.briefly
	}
	if r.kind != want {
		l.drop(r)
		r.kind, r.again = want, time.Time{}
	}
	if r.done != nil {
		return l.h.cfg.Interval // its result wakes the loop
	}
	if wait := time.Until(r.again); wait > 0 {
		return wait
	}
	generation := l.h.Generation()
	if want == halfOpenRun {
		var wait time.Duration
		if generation, wait = l.permit(); wait > 0 {
			return wait
		}
	}
	l.begin(r, want, generation, ask)
	return l.h.cfg.Interval
}

// permit asks the breaker whether a check may try it, or says when to ask again. It is asked here, because the delay is not
// watched by the breaker itself: it half-opens when it is asked.
func (l *loop) permit() (generation uint64, wait time.Duration) {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	if l.h.breaker.circuit.IsClosed() {
		return l.h.breaker.generation, downInterval // somebody has closed it since it was seen to be open: there is nothing to try
	}
	if wait = l.h.breaker.circuit.RemainingDelay(); wait > 0 || !l.h.breaker.circuit.TryAcquirePermit() {
		return l.h.breaker.generation, max(wait, downInterval)
	}
	return l.h.breaker.generation, 0
}

// recordTrial records what a check of a half-open database has found and reports whether the breaker has closed by it. The
// result is void if somebody has changed the breaker meanwhile: recorded on one that was closed by force, a failure would
// open it, and nobody would look at what follows from that.
func (l *loop) recordTrial(generation uint64, err error) bool {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	switch {
	case l.h.breaker.generation != generation, l.h.removed.Load():
		return false
	case err != nil:
		l.h.breaker.circuit.RecordFailure()
		l.h.breaker.lastErr = l.h.cfg.Locate(err)
		return false
	}
	l.h.breaker.circuit.RecordSuccess()
	if !l.h.breaker.circuit.IsClosed() {
		return false
	}
	l.h.closedLocked(HalfOpen)
	return true
}
