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

// open opens the breaker and reports whether it was closed before.
func (db *database) openBreaker(cause error) bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	was := db.state()
	db.checked = true
	db.lastErr = cause
	db.breaker.Open()
	if was != BreakerOpen {
		db.since = time.Now()
		db.era++
	}
	if was == BreakerClosed {
		db.grace.relapsed(db.since)
	}
	return was == BreakerClosed || was == BreakerUnknown
}

// closeBreaker closes the breaker whatever its delay, and reports whether it was not closed before.
func (db *database) closeBreaker() bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	was := db.state()
	db.checked = true
	db.lastErr = nil
	db.breaker.Close()
	if was == BreakerClosed {
		return false
	}
	db.since = time.Now()
	db.era++
	db.heard(db.since)
	db.grace.recovered()
	return true
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
