package multidb

import (
	"slices"
	"strconv"
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
	kinds   evidenceKind // of all evidence until now; guarded by health.mu
	began   time.Time
	verdict chan struct{} // closed when the question is answered
}

// suspect makes a database suspect and returns a channel that is closed with the verdict.
func (h *Hook) suspect(db *database, cause error) <-chan struct{} {
	db.noteFailing(cause)
	kinds := kindOf(cause)
	db.mu.Lock()
	s := db.suspicion
	if s != nil {
		s.kinds |= kinds
	} else {
		s = &suspicion{cause: cause, kinds: kinds, began: time.Now(), verdict: make(chan struct{})}
		if h.isClosed() || db.removed.Load() {
			close(s.verdict)
			db.mu.Unlock()
			return s.verdict
		}
		db.suspicion = s
		db.suspicions.Add(1)
		h.events.suspected(db.name, cause) // with the lock held, so that the line comes before that of the verdict
	}
	db.mu.Unlock()
	db.nudge()
	return s.verdict
}

// nudge makes the health loop look at once.
func (db *database) nudge() {
	select {
	case db.wake <- struct{}{}:
	default:
	}
}

func nudgeAll(dbs []*database) {
	for _, db := range dbs {
		db.nudge()
	}
}

// recheckAll asks for a regular check of each now, because what a choice is made of has changed.
func recheckAll(dbs []*database) {
	for _, db := range dbs {
		db.recheck.Store(true)
		db.nudge()
	}
}

// pending returns the verdict that is being waited for, or nil.
func (db *database) pending() <-chan struct{} {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.suspicion == nil {
		return nil
	}
	return db.suspicion.verdict
}

// suspected returns the suspicion to confirm and how long it must wait for its turn.
func (db *database) suspected() (*suspicion, time.Duration) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.suspicion == nil {
		return nil, 0
	}
	return db.suspicion, time.Until(db.calmedAt.Add(suspicionFloor))
}

// resolve ends the suspicion and releases everybody who waits for the verdict. It comes after what the verdict caused
// (the switch), so that they find the result in place.
func (db *database) resolve() {
	db.mu.Lock()
	s := db.suspicion
	db.suspicion, db.calmedAt = nil, time.Now()
	db.mu.Unlock()
	if s != nil {
		close(s.verdict)
	}
}

// suspectOthers makes all other usable databases suspect as well when the active one has not answered at once. What has taken
// it may have taken others with it, and each that were found out only after it was moved to would cost a hang of its own.
// There is a floor, because an active database that answers every other time would otherwise have all others asked
// whenever it is suspected.
func (h *Hook) suspectOthers(suspect *database) {
	now, last := int64(time.Since(suspect.clockStart)), suspect.othersSuspectedAt.Load()
	if !h.inUse(suspect) || last > 0 && time.Duration(now-last) < h.opt.Health.Timeout ||
		!suspect.othersSuspectedAt.CompareAndSwap(last, now) {
		return
	}
	for _, db := range h.selector.all() {
		if db != suspect && db.usable() {
			h.suspect(db, suspectedWith(suspect.name))
		}
	}
}

// suspectedWith is the name of the active database beside which another one was asked.
type suspectedWith string

func (e suspectedWith) Error() string {
	return "asked because database " + strconv.Quote(string(e)) + " is suspected"
}

// awaitBestAlternative gives the database that would be moved to a moment to answer, if it was asked beside the suspect and has
// not: it was asked a little later, so its verdict comes a little later too. One that is healthy has long answered.
func (h *Hook) awaitBestAlternative(suspect *database) {
	if !h.inUse(suspect) {
		return
	}
	patience := time.NewTimer(suspect.scaled(h.opt.Health.Timeout) / 8)
	defer patience.Stop()
	for {
		usable, _, _, _ := h.selector.snapshot()
		usable = slices.DeleteFunc(usable, func(db *database) bool { return db == suspect })
		favourite := choose(h.opt.Strategy, passing(usable), suspect)
		if favourite == nil {
			return
		}
		verdict := favourite.pending()
		if verdict == nil {
			return
		}
		select {
		case <-verdict:
		case <-patience.C:
			return
		case <-h.ctx.Done():
			return
		}
	}
}
