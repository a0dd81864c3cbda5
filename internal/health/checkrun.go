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
func (h *Health) begin(r *checkRun, k runKind, generation uint64, ask func(context.Context) error) {
	ctx, cancel := context.WithCancel(h.ctx)
	done := make(chan error, 1)
	r.kind, r.generation, r.cancel, r.done = k, generation, cancel, done
	started := h.fleet.Go(func() {
		if k == outageRun {
			// The round of a method of control may have a gate that takes its time, and an outage waits for nobody.
			done <- ask(ctx)
			return
		}
		if err := h.lockChecks(ctx); err != nil {
			done <- err // it was dropped, and nobody listens
			return
		}
		defer h.unlockChecks()
		done <- ask(ctx)
	})
	if !started {
		done <- h.ctx.Err() // all is ending, and nobody listens
	}
}

// lockChecks waits until nobody else runs a round of checks of the database: a method of control asks it beside the health
// loop, and a check must not be run twice at a time. Brief rounds have no turn.
func (h *Health) lockChecks(ctx context.Context) error {
	select {
	case h.checkLock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *Health) unlockChecks() { <-h.checkLock }

// drop gives up the round that is under way, whose result would be void.
func (h *Health) drop(r *checkRun) {
	if r.done == nil {
		return
	}
	r.cancel()
	r.done = nil
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.kind == halfOpenRun && r.generation == h.generation {
		// The permit that it had of the half-open breaker goes with that state only, and there may be no other.
		h.breaker.Open()
	}
}

// finishRun acts on the result of a round.
func (h *Health) finishRun(r *checkRun, err error) {
	r.cancel()
	r.done = nil
	if h.isClosed() {
		return
	}
	switch r.kind {
	case routineRun:
		if err != nil {
			h.Trip(r.generation, Outage{Cause: err})
		}
	case halfOpenRun:
		r.again = time.Now().Add(max(h.cfg.BreakerDelay/4, downInterval))
		if err == nil {
			h.traffic.Reset()
		}
		if h.recordTrial(r.generation, err) {
			h.fleet.Review()
		}
	case outageRun:
		r.again = time.Now().Add(downPace(h.cfg.Databases))
		if _, down := h.fleet.Role(); err == nil && down {
			h.Restore(r.generation)
		}
	}
}

// tryAgain has a database probed that is not usable, as its breaker permits, and returns when to look next.
func (h *Health) tryAgain(r *checkRun) time.Duration {
	want, ask := halfOpenRun, h.checkOnce
	if _, down := h.fleet.Role(); down {
		// Everything is down: no grace, the first to answer is used, and nobody waits for a slow round from before.
		want, ask = outageRun, h.checkBriefly
	}
	if r.kind != want {
		h.drop(r)
		r.kind, r.again = want, time.Time{}
	}
	if r.done != nil {
		return h.cfg.Interval // its result wakes the loop
	}
	if wait := time.Until(r.again); wait > 0 {
		return wait
	}
	generation := h.Generation()
	if want == halfOpenRun {
		var wait time.Duration
		if generation, wait = h.permit(); wait > 0 {
			return wait
		}
	}
	h.begin(r, want, generation, ask)
	return h.cfg.Interval
}
