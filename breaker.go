package multidb

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
)

// newBreaker makes the circuit breaker of one database. It is failsafe-go's, used by itself: opened by verdicts, tried
// half-open by health checks only, closed by enough of them. It counts nothing in the closed state, because the window
// package does that with a rule failsafe-go does not have (N failures and a rate). It has no listeners: a transition
// is made by whoever reports it, and a listener that panicked would end the process.
func newBreaker(b Breaker) circuitbreaker.CircuitBreaker[any] {
	return circuitbreaker.NewBuilder[any]().
		WithFailureThreshold(1).
		WithSuccessThreshold(uint(b.Successes)).
		WithDelay(b.Delay).
		Build()
}

// BreakerState is the state of the circuit breaker of a database.
type BreakerState string

// The states of a circuit breaker.
const (
	BreakerClosed   BreakerState = "closed"    // usable
	BreakerOpen     BreakerState = "open"      // not usable; left alone for Breaker.Delay
	BreakerHalfOpen BreakerState = "half-open" // not usable; health checks decide
	BreakerUnknown  BreakerState = "unknown"   // not checked yet
)

// state of the breaker. Caller must hold db.mu.
func (db *database) state() BreakerState {
	switch {
	case !db.checked:
		return BreakerUnknown
	case db.breaker.IsClosed():
		return BreakerClosed
	case db.breaker.IsOpen():
		return BreakerOpen
	}
	return BreakerHalfOpen
}

// openBreaker opens the breaker of a database. Like everything that generation it, it puts the event into the queue before it
// lets go of db.mu, so that the events of a database are in the order of its states and before the switch that follows.
// The first reason of an outage stays with the database: whoever reviews first tells it.
//
// The verdict is void, and the answer false, if the breaker has turned since the question was asked: who has closed it
// meanwhile, by force or because the database has answered, knows better.
func (h *Hook) openBreaker(db *database, generation uint64, reason Reason, cause error) bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.generation != generation {
		return false
	}
	was := db.state()
	cause = db.at(cause)
	db.noteVerdict()
	db.lastErr = cause
	db.gateErr.Store(nil) // of before; its gates are asked again when it is back
	db.breaker.Open()
	if was != BreakerOpen {
		db.since = time.Now()
		db.generation++
	}
	if was == BreakerClosed || was == BreakerUnknown {
		// One that was down at the start has failed like any other: it is returned to after its grace period.
		db.grace.relapsed(db.since)
		db.lastOutage = outage{reason, cause}
		h.events.health(HealthChange{Database: db.name, State: BreakerOpen, From: was, Cause: cause}, db.endpoint().Addr, 0)
		db.outageBegan = db.since
	}
	return true
}

// outage is why a database became unusable.
type outage struct {
	reason Reason
	cause  error
}

// outageReason returns why the database became unusable the last time.
func (db *database) outageReason() (Reason, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.lastOutage.reason, db.lastOutage.cause
}

// closeBreaker closes the breaker of a database whatever its delay. It runs nothing of a user's: the detectors are to
// forget what they have seen before it is called, see renew.
func (h *Hook) closeBreaker(db *database) {
	db.mu.Lock()
	defer db.mu.Unlock()
	h.closeLocked(db)
}

// passed is closeBreaker for a database that has passed checks, which is void if it has failed while they ran.
func (h *Hook) passed(db *database, generation uint64) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.generation == generation {
		h.closeLocked(db)
	}
}

// closeLocked closes the breaker if it is not closed. Caller must hold db.mu.
func (h *Hook) closeLocked(db *database) {
	if db.state() == BreakerClosed {
		return
	}
	was := db.state()
	db.noteVerdict()
	db.breaker.Close()
	h.closed(db, was)
}

// recordTrial records what a check of a half-open database has found and reports whether the breaker has closed by it. The
// result is void if somebody has turned the breaker meanwhile: recorded on one that was closed by force, a failure would
// open it, and nobody would look at what follows from that.
func (h *Hook) recordTrial(db *database, generation uint64, err error) bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	switch {
	case db.generation != generation:
		return false
	case err != nil:
		db.breaker.RecordFailure()
		db.lastErr = db.at(err)
		return false
	}
	db.breaker.RecordSuccess()
	if !db.breaker.IsClosed() {
		return false
	}
	h.closed(db, BreakerHalfOpen)
	return true
}

// noteVerdict notes that the state of the database is known. Caller must hold db.mu.
func (db *database) noteVerdict() {
	if !db.checked {
		db.checked = true
		close(db.firstVerdict)
	}
}

// closed notes that the breaker has closed, and what it was before. Caller must hold db.mu.
func (h *Hook) closed(db *database, was BreakerState) {
	db.generation++
	db.since, db.lastErr = time.Now(), nil
	lasted := db.since.Sub(db.outageBegan).Round(time.Millisecond)
	db.heard(db.since)
	db.grace.recovered()
	db.recheck.Store(true) // when the next regular check is due was decided before it failed, and the grace may end earlier
	h.events.health(HealthChange{Database: db.name, State: BreakerClosed, From: was}, db.endpoint().Addr, lasted)
}

// grace is how long a database must have been healthy before we return to it of our own accord. It grows with each
// relapse, so that a database that comes and goes is returned to ever more slowly.
type grace struct {
	rule    Failback
	period  time.Duration // without jitter
	current time.Duration // with
	failed  time.Time     // when it failed last
}

func newGrace(rule Failback) grace {
	g := grace{rule: rule, period: rule.GracePeriod}
	g.recovered()
	return g
}

// relapsed notes a failure: another one soon after the last makes the period longer, a long time without one makes it
// short again.
func (g *grace) relapsed(now time.Time) {
	if g.rule.GracePeriod < 0 {
		return
	}
	if !g.failed.IsZero() && now.Sub(g.failed) < max(g.rule.MaxGracePeriod, 2*g.period) {
		g.period = time.Duration(math.Min(float64(g.period)*g.rule.Factor, float64(g.rule.MaxGracePeriod)))
	} else {
		g.period = g.rule.GracePeriod
	}
	g.failed = now
}

// recovered draws the jitter for this recovery, once, so that the period is a number that can be reported.
func (g *grace) recovered() {
	g.current = g.period
	if g.rule.Jitter > 0 && g.period > 0 {
		g.current += time.Duration(rand.Float64() * g.rule.Jitter * float64(g.period))
	}
}

// graceOver returns when the database may be returned to.
func (db *database) graceOver() (at time.Time, ok bool) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.grace.rule.GracePeriod < 0 || db.state() != BreakerClosed {
		return time.Time{}, false
	}
	if db.grace.failed.IsZero() {
		return db.since, true // it has never failed: nothing to be careful about
	}
	return db.since.Add(db.grace.current), true
}

// graceIsOver reports whether the database may be returned to now.
func (db *database) graceIsOver(now time.Time) bool {
	at, ok := db.graceOver()
	return ok && !now.Before(at)
}
