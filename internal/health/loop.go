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

// loop has a database asked when it is due, and acts on what is found. It is one goroutine's.
type loop struct{ h *Health }

// Run is the health loop of the database, until the hook ends or Remove. order is the place of the database among the others.
// After the first check it never waits for what a user has written: a round of checks, which may take as long as the user allows
// it to, runs beside it, one at a time, so that a suspicion that comes up meanwhile is confirmed at once.
func (h *Health) Run(order int) {
	defer h.resolve() // nobody waits for a verdict that will not come
	l, r := &loop{h}, &checkRun{}
	l.firstCheck()
	timer := time.NewTimer(l.stagger(order))
	defer timer.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case err := <-r.done:
			l.finish(r, err)
			if h.Usable() && h.Pending() == nil && !h.recheck.Load() {
				continue // the timer is set for the next look
			}
		case <-timer.C:
		case <-h.wake:
		}
		if h.removed.Load() {
			l.drop(r)
			return
		}
		timer.Reset(max(l.lookAt(r), time.Millisecond))
	}
}

// firstCheck finds out what the database is like before it may be chosen.
func (l *loop) firstCheck() {
	generation := l.h.Generation()
	if l.h.checks.begin(l.h.ctx) != nil {
		return
	}
	err := l.h.prober.AskConnect(l.h.ctx, 1) // however far it is: what follows finds the distance known
	if err == nil {
		err = l.h.prober.Ask(l.h.ctx, 1, l.h.checks.pingOnce) // a quick probe that must dial first has to wait as long as a dial may take
	}
	if err == nil {
		err = l.h.checks.run(l.h.ctx, l.h.prober.Checks().Evicting)
	}
	l.h.checks.end()
	switch {
	case l.h.isClosed():
	case err != nil:
		l.h.Trip(generation, Outage{Cause: err}) // unless ForceActive, which needs no check, has come first
	default:
		l.h.Restore(generation)
	}
}

// lookAt does what is due and returns the time to the next look.
func (l *loop) lookAt(r *checkRun) time.Duration {
	generation := l.h.Generation() // before it is seen to be usable: what is asked now is about that
	if r.done != nil && r.generation != generation {
		l.drop(r)
	}
	suspect, wait := l.suspected()
	switch {
	case !l.h.Usable():
		l.h.resolve()
		l.leaveUnusable()
		return l.tryAgain(r)
	case suspect != nil && wait > 0:
		return wait
	case suspect != nil:
		l.h.confirmer.suspicion(suspect, generation)
	case l.h.isActive() && l.h.pulse.silence() >= l.h.cfg.ActiveInterval:
		l.h.confirmer.alive(generation)
	}
	next := l.pace()
	if r.done == nil && l.h.Usable() && (l.h.recheck.Swap(false) || !time.Now().Before(r.due)) { // one check is enough for both
		r.due = time.Now().Add(next)
		if l.h.isActive() {
			r.due = time.Now().Add(l.h.cfg.Interval)
		}
		l.begin(r, routineRun, generation, l.h.checks.regularly)
	}
	return next
}

// suspected returns the suspicion to confirm and how long it must wait for its turn.
func (l *loop) suspected() (*suspicion, time.Duration) {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	if l.h.suspicion == nil {
		return nil, 0
	}
	return l.h.suspicion, time.Until(l.h.calmedAt.Add(suspicionFloor))
}

// leaveUnusable asks for a decision if the database in use has not been usable for a while. Whoever opens a breaker asks
// for one; a trip that forgot to would leave the hook on a dead database for ever.
func (l *loop) leaveUnusable() {
	l.h.mu.Lock()
	since := l.h.breaker.since
	l.h.mu.Unlock()
	if l.h.inUse() && time.Since(since) >= downInterval {
		l.h.fleet.Review()
	}
}

// stagger spreads the databases evenly over the interval, so that many of them are not probed at one instant.
func (l *loop) stagger(order int) time.Duration {
	if l.h.isActive() || !l.h.Usable() {
		return l.pace()
	}
	n := max(1, l.h.cfg.Databases)
	slot := l.h.cfg.Interval / time.Duration(n)
	return l.h.UntilSlot(slot*time.Duration(order%n) + time.Duration(rand.Int64N(int64(slot)+1)))
}

// pace is the time to the next regular look.
func (l *loop) pace() time.Duration {
	if !l.h.Usable() {
		return downPace(l.h.cfg.Databases)
	}
	if l.h.isActive() {
		return l.h.cfg.ActiveInterval - l.h.pulse.silence()
	}
	interval := l.h.cfg.Interval
	if at, ok := l.h.graceEnd(); ok && l.h.fleet.Prefers() {
		// It may be returned to soon: look when that is so, not up to an interval later.
		if wait := time.Until(at); wait > 0 && wait < interval {
			interval = wait
		}
	}
	next := interval + time.Duration((rand.Float64()-0.5)*0.2*float64(interval))
	if interval < l.h.cfg.Interval {
		return next
	}
	return l.h.UntilSlot(next)
}

// UntilSlot puts off what is due after d to the end of its slot, a twentieth of the interval. What is due in one slot
// wakes the process up once: to wake up costs several times as much as a probe.
func (h *Health) UntilSlot(d time.Duration) time.Duration {
	slot := max(h.cfg.Interval/20, 1)
	return d + slot - (time.Since(h.cfg.StartedAt)+d)%slot
}
