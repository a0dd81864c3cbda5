package health

import (
	"math/rand/v2"
	"time"
)

// downInterval is the pace of probing while nothing is usable: the first database to answer is used at once.
const downInterval = 50 * time.Millisecond

// downPace is downInterval for many databases, which would take up the process if all were asked at that pace.
func downPace(databases int) time.Duration {
	return max(downInterval, time.Duration(databases)*8*time.Millisecond)
}

// Run is the health loop of the database, until the hook ends or Remove. order is the place of the database among the others.
// After the first check it never waits for what a user has written: a round of checks, which may take as long as the user allows
// it to, runs beside it, one at a time, so that a suspicion that comes up meanwhile is confirmed at once.
func (h *Health) Run(order int) {
	defer h.resolve() // nobody waits for a verdict that will not come
	h.firstCheck()
	timer := time.NewTimer(h.stagger(order))
	defer timer.Stop()
	r := &checkRun{}
	for {
		select {
		case <-h.ctx.Done():
			return
		case err := <-r.done:
			h.finishRun(r, err)
			if h.Usable() && h.Pending() == nil && !h.recheck.Load() {
				continue // the timer is set for the next look
			}
		case <-timer.C:
		case <-h.wake:
		}
		if h.removed.Load() {
			h.drop(r)
			return
		}
		timer.Reset(max(h.lookAt(r), time.Millisecond))
	}
}

// lookAt does what is due and returns the time to the next look.
func (h *Health) lookAt(r *checkRun) time.Duration {
	generation := h.Generation() // before it is seen to be usable: what is asked now is about that
	if r.done != nil && r.generation != generation {
		h.drop(r)
	}
	suspect, wait := h.suspected()
	switch {
	case !h.Usable():
		h.resolve()
		h.leaveUnusable()
		return h.tryAgain(r)
	case suspect != nil && wait > 0:
		return wait
	case suspect != nil:
		h.confirmSuspicion(suspect, generation)
	case h.isActive() && h.silence() >= h.cfg.ActiveInterval:
		h.confirmAlive(generation)
	}
	next := h.pace()
	if r.done == nil && h.Usable() && (h.recheck.Swap(false) || !time.Now().Before(r.due)) { // one check is enough for both
		r.due = time.Now().Add(next)
		if h.isActive() {
			r.due = time.Now().Add(h.cfg.Interval)
		}
		h.begin(r, routineRun, generation, h.checkRegularly)
	}
	return next
}

// leaveUnusable asks for a decision if the database in use has not been usable for a while. Whoever opens a breaker asks
// for one; a trip that forgot to would leave the hook on a dead database for ever.
func (h *Health) leaveUnusable() {
	h.mu.Lock()
	since := h.since
	h.mu.Unlock()
	if h.inUse() && time.Since(since) >= downInterval {
		h.fleet.Review()
	}
}

// stagger spreads the databases evenly over the interval, so that many of them are not probed at one instant.
func (h *Health) stagger(order int) time.Duration {
	if h.isActive() || !h.Usable() {
		return h.pace()
	}
	n := max(1, h.cfg.Databases)
	slot := h.cfg.Interval / time.Duration(n)
	return h.UntilSlot(slot*time.Duration(order%n) + time.Duration(rand.Int64N(int64(slot)+1)))
}

// pace is the time to the next regular look.
func (h *Health) pace() time.Duration {
	if !h.Usable() {
		return downPace(h.cfg.Databases)
	}
	if h.isActive() {
		return h.cfg.ActiveInterval - h.silence()
	}
	interval := h.cfg.Interval
	if at, ok := h.graceEnd(); ok && h.fleet.Prefers() {
		// It may be returned to soon: look when that is so, not up to an interval later.
		if wait := time.Until(at); wait > 0 && wait < interval {
			interval = wait
		}
	}
	next := interval + time.Duration((rand.Float64()-0.5)*0.2*float64(interval))
	if interval < h.cfg.Interval {
		return next
	}
	return h.UntilSlot(next)
}

// UntilSlot puts off what is due after d to the end of its slot, a twentieth of the interval. What is due in one slot
// wakes the process up once: to wake up costs several times as much as a probe.
func (h *Health) UntilSlot(d time.Duration) time.Duration {
	slot := max(h.cfg.Interval/20, 1)
	return d + slot - (time.Since(h.cfg.StartedAt)+d)%slot
}
