package health

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A failure accelerates a probe; the probe decides. What fails on a connection makes the database suspect, its health
// loop confirms or clears that at once with a few quick probes, and whoever failed waits for the verdict.

// suspicionFloor is the least time between two confirmations: traffic that keeps failing while probes pass must not
// become a storm of probes.
const suspicionFloor = 50 * time.Millisecond

// confirmProbes is how many quick probes must fail to confirm a suspicion; one that passes clears it.
const confirmProbes = 3

// suspicion is one question under investigation.
type suspicion struct {
	cause   error
	kinds   evidenceKind // of all evidence until now; guarded by Health.mu
	began   time.Time
	verdict chan struct{}  // closed when the question is answered
	refused *DetectorError // what traffic was refused with, if that is the evidence; guarded by Health.mu
}

// Suspect makes the database suspect and returns a channel that is closed with the verdict.
func (h *Health) Suspect(cause error) <-chan struct{} {
	noteFailing(h.traffic, cause)
	h.mu.Lock()
	s := h.suspectLocked(cause, kindOf(cause))
	h.mu.Unlock()
	h.Nudge()
	return s.verdict
}

// suspectLocked adds evidence to the suspicion of now, or begins one. Caller must hold mu.
func (h *Health) suspectLocked(cause error, kinds evidenceKind) *suspicion {
	kinds.count(&h.traffic.Evidence)
	if s := h.suspicion; s != nil {
		s.kinds |= kinds
		return s
	}
	s := &suspicion{cause: cause, kinds: kinds, began: time.Now(), verdict: make(chan struct{})}
	if h.isClosed() || h.removed.Load() {
		close(s.verdict)
		return s
	}
	h.suspicion = s
	h.suspicions.Add(1)
	h.listener.Suspected(cause) // with the lock held, so that it is told before the verdict
	return s
}

// Pending returns the verdict that is being waited for, or nil.
func (h *Health) Pending() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.suspicion == nil {
		return nil
	}
	return h.suspicion.verdict
}

// SuspectedAt is when the suspicion began that is being settled.
func (h *Health) SuspectedAt() (time.Time, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.suspicion == nil {
		return time.Time{}, false
	}
	return h.suspicion.began, true
}

// evidence returns the acts that have failed, and how long the database had been silent by now, if that is the evidence.
func (c confirmer) evidence() (kinds evidenceKind, silent time.Duration) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	s := c.h.suspicion
	if s == nil {
		return 0, 0
	}
	var stalled Stall
	var slow slowConnect
	var beside SuspectedWith
	switch {
	case errors.As(s.cause, &stalled):
		silent = time.Duration(stalled) + time.Since(s.began)
	case errors.As(s.cause, &slow):
		silent = slow.after + time.Since(s.began)
	case errors.As(s.cause, &beside):
		silent = max(0, c.h.cfg.StallTimeout) // as the one has that it is asked beside, so that both verdicts come together
	}
	if c.h.prober.Cluster() == nil {
		// One request or one dial may be slow beside others that are answered. The nodes of a cluster are silent one by one.
		silent = min(silent, c.h.pulse.silence())
	}
	return s.kinds, silent
}

// resolve ends the suspicion and releases everybody who waits for the verdict. It comes after what the verdict caused
// (the switch), so that they find the result in place.
func (h *Health) resolve() {
	h.mu.Lock()
	s := h.suspicion
	h.suspicion, h.calmedAt = nil, time.Now()
	h.mu.Unlock()
	if s != nil {
		close(s.verdict)
	}
}

// suspicion turns a suspicion into a verdict.
func (c confirmer) suspicion(s *suspicion, generation uint64) {
	if err := c.byActs(); err == nil {
		c.h.cleared.Add(1)
		c.h.listener.Cleared(s.cause, time.Since(s.began))
	} else {
		c.awaitBestAlternative()
		if !c.h.Trip(generation, outageFor(s.cause, err)) && c.h.Usable() {
			c.h.Nudge() // there may be evidence that has come after it was closed, so the question is asked again
			return
		}
	}
	c.h.resolve()
}

// outageFor makes an outage of a suspicion and its verdict.
func outageFor(cause, verdict error) Outage {
	var refused refusedError
	if errors.As(verdict, &refused) {
		return Outage{ByTraffic: true, Cause: refused.DetectorError}
	}
	if !strings.Contains(cause.Error(), verdict.Error()) {
		cause = fmt.Errorf("%w; then %w", cause, verdict)
	}
	return Outage{Cause: cause}
}

// alive asks the active database when nothing has been read from it for a while, as if it were suspect: a
// process that only subscribes learns of a hang this way, with the short timeout and not with that of the checks.
func (c confirmer) alive(generation uint64) {
	err := c.excuse(c.quickly())
	if refused := asRefusing(c.h).verdict(); err == nil && refused != nil {
		err = asRefusing(c.h).confirm(refused)
	}
	if err != nil {
		c.awaitBestAlternative()
		c.h.Trip(generation, outageFor(err, err))
		return
	}
	c.h.pulse.heard(time.Now())
}

// Late is for prober.Config: it makes all other usable databases suspect as well when the active one has not answered at once.
// What has taken it may have taken others with it, and each that were found out only after it was moved to would cost a hang of
// its own. There is a floor, because an active database that answers every other time would otherwise have all others asked
// whenever it is suspected.
func (h *Health) Late() {
	now, last := int64(time.Since(h.pulse.clockStart)), h.othersSuspectedAt.Load()
	if !h.inUse() || last > 0 && time.Duration(now-last) < h.cfg.Timeout || !h.othersSuspectedAt.CompareAndSwap(last, now) {
		return
	}
	h.fleet.SuspectOthers()
}

// SuspectedWith is the name of the active database beside which another one is asked.
type SuspectedWith string

func (e SuspectedWith) Error() string {
	return "asked because database " + strconv.Quote(string(e)) + " is suspected"
}

// awaitBestAlternative gives the database that would be moved to a moment to answer, if it was asked beside this one and has
// not: it was asked a little later, so its verdict comes a little later too. One that is healthy has long answered.
func (c confirmer) awaitBestAlternative() {
	if !c.h.inUse() {
		return
	}
	patience := time.NewTimer(c.h.prober.Scaled(c.h.cfg.Timeout) / 4)
	defer patience.Stop()
	for {
		verdict := c.h.fleet.BestAlternative()
		if verdict == nil {
			return
		}
		select {
		case <-verdict:
		case <-patience.C:
			return
		case <-c.h.ctx.Done():
			return
		}
	}
}
