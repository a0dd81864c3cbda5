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

func newBreaker(cfg Config) circuitbreaker.CircuitBreaker[any] {
	return circuitbreaker.NewBuilder[any]().
		WithFailureThreshold(1).
		WithSuccessThreshold(uint(max(1, cfg.BreakerSuccesses))).
		WithDelay(cfg.BreakerDelay).
		Build()
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

// stateLocked is the state of the breaker. Caller must hold mu.
func (h *Health) stateLocked() State {
	switch {
	case !h.checked:
		return Unknown
	case h.breaker.IsClosed():
		return Closed
	case h.breaker.IsOpen():
		return Open
	}
	return HalfOpen
}

// State is the state of the breaker.
func (h *Health) State() State {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stateLocked()
}

// Usable reports whether commands may go there: it was checked, and its breaker is closed.
func (h *Health) Usable() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.checked && !h.removed.Load() && h.breaker.IsClosed()
}

// Generation is how often the breaker has been opened or closed.
func (h *Health) Generation() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.generation
}

// Trouble is why the database is not usable.
func (h *Health) Trouble() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lastErr == nil {
		return errNotChecked
	}
	return h.lastErr
}

// Outage returns why the database became unusable the last time.
func (h *Health) Outage() Outage {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lastOutage
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
	s.State, s.Since, s.LastError, s.GracePeriod = h.stateLocked(), h.since, h.lastErr, h.grace.current
	if h.grace.rule.Period < 0 {
		s.GracePeriod = h.grace.rule.Period
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

// OpenBreaker opens the breaker and asks for no decision. It is void like Trip. Like everything that changes it, it tells the listener before it lets go of mu, so that what is told of
// a database is in the order of its states and before the switch that follows. The first reason of an outage stays with the
// database: whoever reviews first tells it.
func (h *Health) OpenBreaker(generation uint64, outage Outage) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.removed.Load() {
		h.noteVerdict() // for who waits for it
		return false
	}
	if h.generation != generation {
		return false
	}
	was := h.stateLocked()
	outage.Cause = h.cfg.Locate(outage.Cause)
	h.noteVerdict()
	h.lastErr = outage.Cause
	h.gateErr.Store(nil) // of before; its gates are asked again when it is back
	h.breaker.Open()
	if was != Open {
		h.since = time.Now()
		h.generation++
	}
	if was == Closed || was == Unknown {
		// One that was down at the start has failed like any other: it is returned to after its grace period.
		h.grace.relapsed(h.since)
		h.lastOutage = outage
		h.listener.Changed(Change{State: Open, From: was, Cause: outage.Cause})
		h.outageBegan = h.since
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
		if h.generation == generation {
			h.closeLocked()
		}
		h.mu.Unlock()
	}
	h.fleet.Review()
}

// closeLocked closes the breaker if it is not closed. Caller must hold mu.
func (h *Health) closeLocked() {
	was := h.stateLocked()
	if was == Closed {
		return
	}
	h.noteVerdict()
	if h.removed.Load() {
		return
	}
	h.breaker.Close()
	h.closedLocked(was)
}

// permit asks the breaker whether a check may try it, or says when to ask again. It is asked here, because the delay is not
// watched by the breaker itself: it half-opens when it is asked.
func (h *Health) permit() (generation uint64, wait time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.breaker.IsClosed() {
		return h.generation, downInterval // somebody has closed it since it was seen to be open: there is nothing to try
	}
	if wait = h.breaker.RemainingDelay(); wait > 0 || !h.breaker.TryAcquirePermit() {
		return h.generation, max(wait, downInterval)
	}
	return h.generation, 0
}

// recordTrial records what a check of a half-open database has found and reports whether the breaker has closed by it. The
// result is void if somebody has changed the breaker meanwhile: recorded on one that was closed by force, a failure would
// open it, and nobody would look at what follows from that.
func (h *Health) recordTrial(generation uint64, err error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.generation != generation, h.removed.Load():
		return false
	case err != nil:
		h.breaker.RecordFailure()
		h.lastErr = h.cfg.Locate(err)
		return false
	}
	h.breaker.RecordSuccess()
	if !h.breaker.IsClosed() {
		return false
	}
	h.closedLocked(HalfOpen)
	return true
}

// noteVerdict notes that the state of the database is known. Caller must hold mu.
func (h *Health) noteVerdict() {
	if !h.checked {
		h.checked = true
		close(h.firstVerdict)
	}
}

// closedLocked notes that the breaker has closed, and what it was before. Caller must hold mu.
func (h *Health) closedLocked(was State) {
	h.generation++
	h.since, h.lastErr = time.Now(), nil
	lasted := h.since.Sub(h.outageBegan).Round(time.Millisecond)
	h.Heard(h.since)
	h.grace.recovered()
	h.recheck.Store(true) // when the next regular check is due was decided before it failed, and the grace may end earlier
	h.listener.Changed(Change{State: Closed, From: was, Lasted: lasted})
}
