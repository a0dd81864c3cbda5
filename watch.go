package multidb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/probes"
)

// downInterval is the pace of probing while nothing is usable: the first database to answer is used at once.
const downInterval = 50 * time.Millisecond

// watch is the health loop of one database. After the first check it never waits for what a user has written: a round of
// checks, which may take as long as the user allows it to, runs beside it, one at a time, so that a suspicion that comes up
// meanwhile is confirmed at once.
func (h *Hook) watch(db *database) {
	defer db.resolve() // nobody waits for a verdict that will not come
	h.firstCheck(db)
	timer := time.NewTimer(h.stagger(db))
	defer timer.Stop()
	r := &checkRun{}
	for {
		select {
		case <-h.ctx.Done():
			return
		case err := <-r.done:
			h.finishRun(db, r, err)
			if db.usable() && db.pending() == nil && !db.recheck.Load() {
				continue // the timer is set for the next look
			}
		case <-timer.C:
		case <-db.wake:
		}
		if db.removed.Load() {
			r.drop(db)
			return
		}
		timer.Reset(max(h.lookAt(db, r), time.Millisecond))
	}
}

// lookAt does what is due and returns the time to the next look.
func (h *Hook) lookAt(db *database, r *checkRun) time.Duration {
	generation := db.currentGeneration() // before it is seen to be usable: what is asked now is about that
	if r.done != nil && r.generation != generation {
		r.drop(db)
	}
	suspect, wait := db.suspected()
	switch {
	case !db.usable():
		db.resolve()
		h.leaveUnusable(db)
		return h.tryAgain(db, r)
	case suspect != nil && wait > 0:
		return wait
	case suspect != nil:
		h.confirmSuspicion(db, suspect, generation)
	case h.isActive(db) && db.silence() >= h.opt.Health.ActiveInterval:
		h.confirmAlive(db, generation)
	}
	next := h.pace(db)
	if r.done == nil && db.usable() && (db.recheck.Swap(false) || !time.Now().Before(r.due)) { // one check is enough for both
		r.due = time.Now().Add(next)
		if h.isActive(db) {
			r.due = time.Now().Add(h.opt.Health.Interval)
		}
		h.begin(db, r, routineRun, generation, h.checkRegularly)
	}
	return next
}

// leaveUnusable asks for a decision if the database in use has not been usable for a while. Whoever opens a breaker asks
// for one; a trip that forgot to would leave the hook on a dead database for ever.
func (h *Hook) leaveUnusable(db *database) {
	db.mu.Lock()
	since := db.since
	db.mu.Unlock()
	if h.inUse(db) && time.Since(since) >= downInterval {
		h.selector.review()
	}
}

// firstCheck finds out what the database is like before it may be chosen.
func (h *Hook) firstCheck(db *database) {
	generation := db.currentGeneration()
	if db.lockChecks(h.ctx) != nil {
		return
	}
	err := h.ask(h.ctx, db, 1, h.connectAnew) // however far it is: what follows finds the distance known
	if err == nil {
		err = h.ask(h.ctx, db, 1, h.pingOnce) // a quick probe that must dial first has to wait as long as a dial may take
	}
	if err == nil {
		err = h.check(h.ctx, db, db.checks.Load().evicting)
	}
	db.unlockChecks()
	switch {
	case h.isClosed():
	case err != nil:
		h.trip(db, generation, ReasonHealthCheck, err) // unless ForceActive, which needs no check, has come first
	default:
		h.restore(db, generation)
	}
}

// stagger spreads the databases evenly over the interval, so that many of them are not probed at one instant.
func (h *Hook) stagger(db *database) time.Duration {
	if h.isActive(db) || !db.usable() {
		return h.pace(db)
	}
	n := max(1, len(h.opt.Databases))
	slot := h.opt.Health.Interval / time.Duration(n)
	return h.untilSlot(slot*time.Duration(db.order%n) + time.Duration(rand.Int64N(int64(slot)+1)))
}

// pace is the time to the next regular look.
func (h *Hook) pace(db *database) time.Duration {
	if !db.usable() {
		return downInterval
	}
	if h.isActive(db) {
		return h.opt.Health.ActiveInterval - db.silence()
	}
	interval := h.opt.Health.Interval
	if at, ok := db.graceOver(); ok && h.selector.prefers(db) {
		// It may be returned to soon: look when that is so, not up to an interval later.
		if wait := time.Until(at); wait > 0 && wait < interval {
			interval = wait
		}
	}
	next := interval + time.Duration((rand.Float64()-0.5)*0.2*float64(interval))
	if interval < h.opt.Health.Interval {
		return next
	}
	return h.untilSlot(next)
}

// untilSlot puts off what is due after d to the end of its slot, a twentieth of the interval. What is due in one slot
// wakes the process up once: to wake up costs several times as much as a probe.
func (h *Hook) untilSlot(d time.Duration) time.Duration {
	slot := max(h.opt.Health.Interval/20, 1)
	return d + slot - (time.Since(h.startedAt)+d)%slot
}

// check runs checks against a database and returns nil if they pass. A probe that is not permitted to ask proves that
// the database answers, which is enough to stay there; one whose login is refused is no place to go to.
func (h *Hook) check(ctx context.Context, db *database, checks probes.Checks) error {
	began := time.Now()
	err := checks.Run(ctx, db.target)
	h.events.checked(HealthCheck{Database: db.name, Err: err, Took: time.Since(began)})
	if errors.Is(err, redis.ErrPoolTimeout) {
		// The checks have waited for one another, which says nothing about the database.
		err = h.confirm(db)
	}
	switch probes.OutcomeOf(err) {
	case probes.NotPermitted:
		if redis.IsAuthError(err) && !h.inUse(db) {
			return err
		}
		h.forbidden(db, err)
		return nil
	case probes.Passed:
		return nil
	}
	return err
}

// currentGeneration is how often the breaker has been opened or closed.
func (db *database) currentGeneration() uint64 {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.generation
}

// confirmAlive asks the active database when nothing has been read from it for a while, as if it were suspect: a
// process that only subscribes learns of a hang this way, with the short timeout and not with that of the checks.
func (h *Hook) confirmAlive(db *database, generation uint64) {
	if err := h.excuse(db, h.confirm(db)); err != nil {
		h.awaitBestAlternative(db)
		h.trip(db, generation, ReasonHealthCheck, err)
		return
	}
	db.heard(time.Now())
}

// heard notes that the database has proved alive.
func (db *database) heard(at time.Time) { db.lastHeard.Store(int64(at.Sub(db.clockStart))) }

// silence is how long ago that was.
func (db *database) silence() time.Duration {
	return time.Since(db.clockStart) - time.Duration(db.lastHeard.Load())
}

// confirmSuspicion generation a suspicion into a verdict.
func (h *Hook) confirmSuspicion(db *database, s *suspicion, generation uint64) {
	if err := h.confirmAs(db); err == nil {
		db.cleared.Add(1)
		h.events.cleared(db.name, s.cause, time.Since(s.began))
	} else {
		h.awaitBestAlternative(db)
		if !h.trip(db, generation, ReasonHealthCheck, fmt.Errorf("%w; then %w", s.cause, err)) && db.usable() {
			db.nudge() // there may be evidence that has come after it was closed, so the question is asked again
			return
		}
	}
	db.resolve()
}

// trip opens the breaker of a database, unless that is void, and lets the selector see to the rest.
func (h *Hook) trip(db *database, generation uint64, reason Reason, cause error) bool {
	opened := h.openBreaker(db, generation, reason, cause)
	h.selector.review()
	return opened
}

// restore closes the breaker of a database that has passed its checks, unless that is void.
func (h *Hook) restore(db *database, generation uint64) {
	h.renew(db, generation)
	h.selector.review()
}

// renew is readmit without what follows from it.
func (h *Hook) renew(db *database, generation uint64) {
	if !db.usable() {
		db.traffic.Reset()
		h.passed(db, generation)
	}
}

// inUse reports whether commands go to the database now, or in a dry run would.
func (h *Hook) inUse(db *database) bool {
	now := h.selector.effective()
	return now != nil && now.db == db && !now.down
}

func (h *Hook) isActive(db *database) bool {
	now := h.selector.effective()
	return now != nil && now.db == db
}
