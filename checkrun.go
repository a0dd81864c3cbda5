package multidb

import (
	"context"
	"time"

	"github.com/redishook/multidb/internal/ownfault"
	"github.com/redishook/multidb/probes"
)

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
func (h *Hook) begin(db *database, r *checkRun, k runKind, generation uint64, ask func(context.Context, *database) error) {
	ctx, cancel := context.WithCancel(h.ctx)
	done := make(chan error, 1)
	r.kind, r.generation, r.cancel, r.done = k, generation, cancel, done
	h.wg.Go(func() {
		if k == outageRun {
			// The round of a method of control may have a gate that takes its time, and an outage waits for nobody.
			done <- ask(ctx, db)
			return
		}
		if err := db.lockChecks(ctx); err != nil {
			done <- err // it was dropped, and nobody listens
			return
		}
		defer db.unlockChecks()
		done <- ask(ctx, db)
	})
}

// lockChecks waits until nobody else runs a round of checks of the database: a method of control asks it beside the health
// loop, and a check must not be run twice at a time. Brief rounds have no turn.
func (db *database) lockChecks(ctx context.Context) error {
	select {
	case db.checkLock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (db *database) unlockChecks() { <-db.checkLock }

// dropPin gives up the round that is under way, whose result would be void.
func (r *checkRun) drop(db *database) {
	if r.done == nil {
		return
	}
	r.cancel()
	r.done = nil
	db.mu.Lock()
	defer db.mu.Unlock()
	if r.kind == halfOpenRun && r.generation == db.generation {
		// The permit that it had of the half-open breaker goes with that state only, and there may be no other.
		db.breaker.Open()
	}
}

// finishRun acts on the result of a round.
func (h *Hook) finishRun(db *database, r *checkRun, err error) {
	r.cancel()
	r.done = nil
	if h.isClosed() {
		return
	}
	switch r.kind {
	case routineRun:
		if err != nil {
			h.trip(db, r.generation, ReasonHealthCheck, err)
		}
	case halfOpenRun:
		r.again = time.Now().Add(max(h.opt.Breaker.Delay/4, downInterval))
		if err == nil {
			db.traffic.Reset()
		}
		if h.recordTrial(db, r.generation, err) {
			h.selector.review()
		}
	case outageRun:
		r.again = time.Now().Add(downInterval)
		if err == nil && h.selector.effective().down {
			h.restore(db, r.generation)
		}
	}
}

// tryAgain has a database probed that is not usable, as its breaker permits, and returns when to look next.
func (h *Hook) tryAgain(db *database, r *checkRun) time.Duration {
	want, ask := halfOpenRun, h.checkOnce
	if h.selector.effective().down {
		// Everything is down: no grace, the first to answer is used, and nobody waits for a slow round from before.
		want, ask = outageRun, h.checkBriefly
	}
	if r.kind != want {
		r.drop(db)
		r.kind, r.again = want, time.Time{}
	}
	if r.done != nil {
		return h.opt.Health.Interval // its result wakes the loop
	}
	if wait := time.Until(r.again); wait > 0 {
		return wait
	}
	generation := db.currentGeneration()
	if want == halfOpenRun {
		var wait time.Duration
		if generation, wait = db.permit(); wait > 0 {
			return wait
		}
	}
	h.begin(db, r, want, generation, ask)
	return h.opt.Health.Interval
}

// permit takes a permit of the breaker, or says when to ask again. It is asked here, because the delay is not watched by
// the breaker itself: it half-opens when it is asked.
func (db *database) permit() (generation uint64, wait time.Duration) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.breaker.IsClosed() {
		return db.generation, downInterval // somebody has closed it since it was seen to be open: there is nothing to try
	}
	if wait = db.breaker.RemainingDelay(); wait > 0 || !db.breaker.TryAcquirePermit() {
		return db.generation, max(wait, downInterval)
	}
	return db.generation, 0
}

// checkRegularly asks a usable database, and considers a return to it if it passes.
func (h *Hook) checkRegularly(ctx context.Context, db *database) error {
	if !h.isActive(db) {
		// It may be needed at any moment, and then everybody needs a new connection.
		if err := h.ask(ctx, db, confirmProbes, h.connectAnew); err != nil && ctx.Err() == nil && !ownfault.Is(err) {
			return err
		}
	}
	if err := h.check(ctx, db, db.checks.Load().evicting); err != nil {
		// Once more before the verdict: one lost packet is no outage.
		if quick := h.confirm(db); quick != nil {
			return h.excuse(db, quick)
		}
		if err = h.check(ctx, db, db.checks.Load().evicting); err != nil {
			return err
		}
	}
	db.heard(time.Now())
	if h.askGates(ctx, db) == nil {
		h.considerFailback(ctx, db)
	}
	return nil
}

// askGates runs the checks that only gate against a database that is not in use. What they say is kept, so that a failover
// can prefer one that they would let it move to without asking anybody. One that is not permitted to ask has not asked, and
// lets nobody pass.
func (h *Hook) askGates(ctx context.Context, db *database) error {
	if err := db.degradedErr(); err != nil && !h.isActive(db) {
		return err
	}
	gates := db.checks.Load().gates
	if len(gates) == 0 || h.isActive(db) {
		db.gateErr.Store(nil)
		return nil
	}
	began := time.Now()
	err := gates.Run(ctx, db.target)
	h.events.checked(HealthCheck{Database: db.name, Err: err, Took: time.Since(began)})
	switch {
	case ctx.Err() != nil:
		return ctx.Err() // the database has failed meanwhile
	case err == nil:
		db.gateErr.Store(nil)
		return nil
	}
	if probes.OutcomeOf(err) == probes.NotPermitted {
		h.forbidden(db, err)
	}
	if wasOpen := db.gateErr.Load() == nil; wasOpen && h.selector.prefers(db) {
		defer recheckAll(h.selector.all()) // the choice is among the others now
	}
	db.gateErr.Store(&err)
	return err
}

// checkOnce asks a half-open database.
func (h *Hook) checkOnce(ctx context.Context, db *database) error {
	if err := h.ask(ctx, db, 1, h.connectAnew); err != nil {
		return err
	}
	return h.check(ctx, db, db.checks.Load().evicting)
}

// checkBriefly asks a database for the quickest answer that there is.
func (h *Hook) checkBriefly(ctx context.Context, db *database) error {
	if err := h.pingWithin(ctx, db); err != nil {
		return err
	}
	if err := h.ask(ctx, db, 1, h.connectAnew); err != nil {
		return err
	}
	return h.check(ctx, db, db.checks.Load().brief)
}
