package health

import (
	"math"
	"math/rand/v2"
	"time"
)

// GraceRule is how long a database must have been healthy before it is returned to.
type GraceRule struct {
	Period, Max    time.Duration // of one that has failed once, and at most; a negative Period: it is never returned to
	Factor, Jitter float64       // by which it grows with each relapse, and a random share on top
}

// grace is how long a database must have been healthy before we return to it of our own accord. It grows with each
// relapse, so that a database that comes and goes is returned to ever more slowly.
type grace struct {
	rule    GraceRule
	period  time.Duration // without jitter
	current time.Duration // with
	failed  time.Time     // when it failed last
}

func newGrace(rule GraceRule) grace {
	g := grace{rule: rule}
	g.period = g.least()
	g.recovered()
	return g
}

// forced is the grace period of a database that is never returned to, for moves that are no returns.
const forced = 15 * time.Second

// least is the period of a database that has failed once.
func (g *grace) least() time.Duration {
	if g.rule.Period < 0 {
		return forced
	}
	return g.rule.Period
}

// relapsed notes a failure: another one soon after the last makes the period longer, a long time without one makes it
// short again.
func (g *grace) relapsed(now time.Time) {
	if !g.failed.IsZero() && now.Sub(g.failed) < max(g.rule.Max, 2*g.period) {
		g.period = time.Duration(math.Min(float64(g.period)*g.rule.Factor, float64(g.rule.Max)))
	} else {
		g.period = g.least()
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

// GraceOver reports whether the database may be returned to now.
func (h *Health) GraceOver(now time.Time) bool {
	at, ok := h.graceEnd()
	return ok && !now.Before(at)
}

// graceEnd returns when the database may be returned to.
func (h *Health) graceEnd() (at time.Time, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.breaker.grace.rule.Period < 0 || h.breaker.state() != Closed {
		return time.Time{}, false
	}
	if h.breaker.grace.failed.IsZero() {
		return h.breaker.since, true // it has never failed: nothing to be careful about
	}
	return h.breaker.since.Add(h.breaker.grace.current), true
}
