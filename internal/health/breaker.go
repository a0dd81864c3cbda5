package health

import (
	"errors"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
)

// The breaker is the state that a verdict leaves. It is failsafe-go's, used by itself: opened by verdicts, tried half-open by
// health checks only, closed by enough of them. It counts nothing in the closed state, because the window package does that with a
// rule failsafe-go does not have (N failures and a rate). It has no listeners: a transition is made by whoever reports it, and a
// listener that panicked would end the process.

// breaker is the state of a database, and what it was before. Its methods want Health.mu held.
type breaker struct {
	circuit      circuitbreaker.CircuitBreaker[any]
	checked      bool          // the first check is over: before that nothing is known
	firstVerdict chan struct{} // closed then
	since        time.Time     // when the breaker changed last
	generation   uint64        // how often it has: a result that was begun before is void
	lastErr      error         // of the last failed check
	outageBegan  time.Time     // when the database became unusable the last time
	lastOutage   Outage        // why it became unusable the last time
	grace        grace
}

func newBreaker(cfg Config, now time.Time) breaker {
	circuit := circuitbreaker.NewBuilder[any]().
		WithFailureThreshold(1).
		WithSuccessThreshold(uint(max(1, cfg.BreakerSuccesses))).
		WithDelay(cfg.BreakerDelay).
		Build()
	return breaker{circuit: circuit, firstVerdict: make(chan struct{}), since: now, grace: newGrace(cfg.Grace)}
}

// State is the state of the circuit breaker of a database.
type State string

// The states of a circuit breaker.
const (
	Closed   State = "closed"    // usable
	Open     State = "open"      // not usable; left alone for Config.BreakerDelay
	HalfOpen State = "half-open" // not usable; health checks decide
	Unknown  State = "unknown"   // not checked yet
)

// Outage is why a database became unusable.
type Outage struct {
	ByTraffic bool // a failure detector has found it, not a health check
	Cause     error
}

// errNotChecked is why a database is not usable that was not asked yet.
var errNotChecked = errors.New("its first health check has not ended yet")

// state is Health.State.
func (b *breaker) state() State {
	switch {
	case !b.checked:
		return Unknown
	case b.circuit.IsClosed():
		return Closed
	case b.circuit.IsOpen():
		return Open
	}
	return HalfOpen
}

// State is the state of the breaker.
func (h *Health) State() State {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.breaker.state()
}

// Usable reports whether commands may go there: it was checked, and its breaker is closed.
func (h *Health) Usable() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.breaker.checked && !h.removed.Load() && h.breaker.circuit.IsClosed()
}

// Generation is how often the breaker has been opened or closed.
func (h *Health) Generation() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.breaker.generation
}

// Trouble is why the database is not usable.
func (h *Health) Trouble() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.breaker.lastErr == nil {
		return errNotChecked
	}
	return h.breaker.lastErr
}

// Outage returns why the database became unusable the last time.
func (h *Health) Outage() Outage {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.breaker.lastOutage
}

// Snapshot is what a dashboard needs.
type Snapshot struct {
	State               State
	Since               time.Time
	LastError           error
	GateError           error
	GracePeriod         time.Duration
	Suspicions, Cleared uint64
}

// Snapshot returns what is known now.
func (h *Health) Snapshot() Snapshot {
	s := Snapshot{Suspicions: h.suspicions.Load(), Cleared: h.cleared.Load(), GateError: h.GateError()}
	h.mu.Lock()
	defer h.mu.Unlock()
	s.State, s.Since, s.LastError, s.GracePeriod = h.breaker.state(), h.breaker.since, h.breaker.lastErr, h.breaker.grace.current
	if h.breaker.grace.rule.Period < 0 {
		s.GracePeriod = h.breaker.grace.rule.Period
	}
	return s
}

// Trip opens the breaker and asks for a decision. It is void, and the answer false, if the breaker has changed since generation was
// read: who has closed it meanwhile, by force or because the database has answered, knows better.
func (h *Health) Trip(generation uint64, outage Outage) bool {
	opened := h.OpenBreaker(generation, outage)
	h.fleet.Review()
	return opened
}

// OpenBreaker opens the breaker and asks for no decision. It is void like Trip. Like everything that changes the breaker, it tells the
// listener before it lets go of mu. So what is told of a database is in the order of its states, and before the switch that follows.
// The first reason of an outage stays with the database: whoever reviews first tells it.
func (h *Health) OpenBreaker(generation uint64, outage Outage) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.removed.Load() {
		h.breaker.noteVerdict() // for who waits for it
		return false
	}
	if h.breaker.generation != generation {
		return false
	}
	was := h.breaker.state()
	outage.Cause = h.cfg.Locate(outage.Cause)
	h.breaker.noteVerdict()
	h.breaker.lastErr = outage.Cause
	h.checks.gateErr.Store(nil) // of before; its gates are asked again when it is back
	h.breaker.circuit.Open()
	if was != Open {
		h.breaker.since = time.Now()
		h.breaker.generation++
	}
	if was == Closed || was == Unknown {
		// One that was down at the start has failed like any other: it is returned to after its grace period.
		h.breaker.grace.relapsed(h.breaker.since)
		h.breaker.lastOutage = outage
		h.listener.Changed(Change{State: Open, From: was, Cause: outage.Cause})
		h.breaker.outageBegan = h.breaker.since
	}
	return true
}

// Force closes the breaker whatever its delay. It runs nothing of a user's: the detectors are to forget what they have seen before
// it is called. No decision is asked for.
func (h *Health) Force() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closeLocked()
}

// Restore closes the breaker of a database that has passed its checks, and asks for a decision. It is void if the database has
// failed while they ran.
func (h *Health) Restore(generation uint64) {
	if !h.Usable() {
		h.traffic.Reset() // the detectors may be a user's, so without the lock
		h.mu.Lock()
		if h.breaker.generation == generation {
			h.closeLocked()
		}
		h.mu.Unlock()
	}
	h.fleet.Review()
}

// closeLocked closes the breaker if it is not closed. Caller must hold mu.
func (h *Health) closeLocked() {
	was := h.breaker.state()
	if was == Closed {
		return
	}
	h.breaker.noteVerdict()
	if h.removed.Load() {
		return
	}
	h.breaker.circuit.Close()
	h.closedLocked(was)
}

// noteVerdict notes that the state of the database is known.
func (b *breaker) noteVerdict() {
	if !b.checked {
		b.checked = true
		close(b.firstVerdict)
	}
}

// closed notes that the breaker has closed, and what it was before. It returns what is to be told.
func (b *breaker) closed(was State) Change {
	b.generation++
	b.since, b.lastErr = time.Now(), nil
	b.grace.recovered()
	return Change{State: Closed, From: was, Lasted: b.since.Sub(b.outageBegan).Round(time.Millisecond)}
}

// closedLocked notes that the breaker has closed, and what it was before. Caller must hold mu.
func (h *Health) closedLocked(was State) {
	change := h.breaker.closed(was)
	h.pulse.heard(h.breaker.since)
	h.recheck.Store(true) // when the next regular check is due was decided before it failed, and the grace may end earlier
	h.listener.Changed(change)
}
