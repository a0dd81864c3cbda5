package pubsubwrap

import (
	"context"
	"errors"
	"time"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/wait"
)

// follower keeps a subscriber on the active database. It is one goroutine: everything it owns, it changes alone, and it
// waits for nobody: connections open, are read, written and end in goroutines of their own and tell it.
type follower struct {
	link     *link
	prepares chan *preparation

	choice   multidb.Choice
	lookedAt int64 // when choice was the latest for sure
	chosenAt int64 // when it was made
	followed bool  // cur was on its database
	absentAt int64 // since when a database may have been in use that was never subscribed; 0: none was

	cur    *subConn // promoted, on the active database as far as that can be reached
	lastDB string   // where it is or was; empty at first
	lostAt int64    // since when cur is gone
	unsaid []gapNotice

	next     *subConn // what is to become cur; gated, unless it is still on its way back from leaving
	ready    bool     // next is subscribed to everything
	early    bool     // and was so before its database was chosen
	prepared *preparation
	failures int
	retryAt  int64

	leaving         map[*subConn]struct{}
	resubscriptions []*resubscription
	hookClosed      bool // the hook is closed
	givenUp         bool
}

const (
	openTimeout = 2 * time.Second        // to dial, subscribe and confirm
	patience    = 500 * time.Millisecond // for an answer of a database that is being left
	minRetry    = 5 * time.Millisecond
	nodeRetry   = 20 * time.Millisecond // while it is not known which node of a cluster serves a slot
	maxRetry    = 500 * time.Millisecond
	steady      = time.Second // a connection that is lost sooner counts as one that could not be made
	calm        = 250 * time.Millisecond
	busy        = 10 * time.Millisecond
)

// backoff is how long to wait after so many failures before.
func backoff(failures int) int64 { return int64(wait.Backoff(failures, minRetry, maxRetry)) }

func newFollower(k *link) *follower {
	return &follower{link: k, prepares: make(chan *preparation), leaving: make(map[*subConn]struct{})}
}

func (f *follower) run() {
	defer f.link.hook.OnPrepare(f.prepare)()
	f.lookedAt = now()
	f.choice = f.link.hook.Choice()
	f.chosenAt = stamp(f.choice.At)
	timer := time.NewTimer(calm)
	defer timer.Stop()
	for {
		f.look()
		changed := f.link.nodesChanged(f.choice.Database) // before the step: what comes in between is not missed
		f.step()
		timer.Reset(f.rest())
		select {
		case <-f.choice.Over():
		case tell := <-f.link.inbox:
			tell()
		case p := <-f.prepares:
			f.look() // it comes after the switch before it: to which this may be the way back
			f.accept(p)
		case <-changed:
			f.retryAt = 0
		case <-timer.C:
		case <-f.link.ctx.Done():
			f.prepared.release()
			return
		}
	}
}

// rest is how long there is nothing to do unless something happens.
func (f *follower) rest() time.Duration {
	if f.next != nil || f.cur == nil || len(f.resubscriptions) > 0 {
		return busy
	}
	rest := calm
	for l := range f.leaving {
		if l.closing || l.stalled.Load() != 0 {
			return busy
		}
		rest = min(rest, time.Duration(l.until-now()))
	}
	return max(rest, 0)
}

// look takes notice of a new choice. The one before may not have been followed, or there may have been others in between
// that were not even seen: whoever published on those was not heard.
func (f *follower) look() {
	before, lookedAt := f.choice, f.lookedAt
	f.lookedAt = now()
	select {
	case <-before.Over():
	default:
		return
	}
	f.choice = f.link.hook.Choice()
	absentAt := f.absentAt
	switch {
	case f.lastDB == "" || absentAt != 0:
	case f.choice.Number > before.Number+1:
		absentAt = lookedAt
	case !before.Down && !f.followed:
		absentAt = f.chosenAt
	}
	// Not now: publishers have noticed long before, if this goroutine had to wait for a processor.
	f.chosenAt, f.followed, f.absentAt, f.retryAt, f.failures = stamp(f.choice.At), false, absentAt, 0, 0
}

// step does what can be done now.
func (f *follower) step() {
	f.dropDead()
	need := f.need()
	if f.next != nil && f.next.db != need {
		f.abandon()
	}
	if need != "" && f.next == nil {
		f.begin(need)
	}
	f.hurry()
	if f.ready && f.next.db == f.choice.Database && !f.choice.Down {
		f.promote()
	}
	f.followed = f.followed || f.cur != nil && f.cur.db == f.choice.Database
	if f.absentAt != 0 && f.cur != nil && f.cur.db == f.choice.Database && !f.choice.Down {
		f.say(gapNotice{f.cur.db, f.choice.Reason, f.absentAt})
		f.absentAt = 0
	}
	if p := f.prepared; p != nil && (f.ready && f.next.db == p.database || f.cur != nil && f.cur.db == p.database) {
		p.release()
	}
	f.stepResubscriptions()
	f.check()
	f.mayGiveUp()
}

// dropDead notes which connections are gone.
func (f *follower) dropDead() {
	if f.cur != nil && !f.cur.alive() {
		f.lostAt = f.cur.goneSince()
		if now()-f.cur.usedAt < int64(steady) {
			f.retryAt = now() + backoff(f.failures)
			f.failures++
		} else {
			f.failures = 0
		}
		f.cur = nil
		f.link.setHome(nil)
	}
	if f.next != nil && !f.next.alive() {
		f.scheduleResubscribe(f.next)
		f.next.withdraw()
		f.next, f.ready = nil, false
		f.retryAt = now() + backoff(f.failures)
		f.failures++
	}
	for l := range f.leaving {
		if !l.alive() {
			delete(f.leaving, l)
			f.scheduleResubscribe(l)
		}
	}
	if f.prepared != nil && now() > f.prepared.until {
		f.prepared.release()
		f.prepared = nil
	}
}

// need is the database on which a connection is to be opened or kept ready; empty if cur is all that is needed.
func (f *follower) need() string {
	if !f.choice.Down && (f.cur == nil || f.cur.db != f.choice.Database) {
		return f.choice.Database
	}
	if f.prepared != nil && f.cur != nil && f.prepared.database != f.cur.db {
		return f.prepared.database
	}
	return ""
}

// begin gets a connection to a database under way: one that was about to leave it, or a new one.
func (f *follower) begin(database string) {
	for l := range f.leaving {
		if l.db != database {
			continue
		}
		if l.comeBack() {
			delete(f.leaving, l)
			f.next, f.ready, f.early, l.closing = l, false, true, false
			l.ping(tokenBehind)
		}
		// Else it is about to end. A second one before that would bring what it still receives twice.
		return
	}
	if now() < f.retryAt {
		return
	}
	l, err := f.link.newSubConn(database)
	if err != nil {
		f.hookClosed = f.hookClosed || errors.Is(err, multidb.ErrClosed)
		f.retryAt = now() + int64(maxRetry)
		if f.link.onCluster {
			f.retryAt = now() + int64(nodeRetry)
		}
		return
	}
	f.link.queue(l)
	f.next, f.ready = l, false
	f.open(l, func(early bool) {
		if f.next == l {
			f.ready, f.early = true, early
		}
	})
}

// open opens a connection beside the follower, and tells it of success; of a failure the connection tells by its end. early is true if
// the database was not in use then.
func (f *follower) open(l *subConn, opened func(early bool)) {
	f.link.wg.Go(func() {
		ctx, cancel := context.WithTimeout(f.link.ctx, openTimeout)
		defer cancel()
		if l.open(ctx) != nil {
			return
		}
		early := f.link.hook.Choice().Database != l.db
		f.link.tell(func() { opened(early) })
	})
}

// hurry does not let a connection that comes back wait for its place behind the others if its database is in use already, whose
// messages are later than what is held for it; nor if its reader waits for the application, which holds up no switch.
func (f *follower) hurry() {
	l := f.next
	if l == nil || f.ready || !l.promoted || !l.blocked.Load() && l.db != f.choice.Database {
		return
	}
	l.stepBehind()
	f.ready = true
}

// behind is told by a connection that has taken its place behind the others.
func (f *follower) behind(l *subConn) {
	if f.next == l {
		f.ready = true
	}
}

// abandon gives up a connection that is not needed any more.
func (f *follower) abandon() {
	l := f.next
	f.next, f.ready = nil, false
	if l.promoted {
		// It was leaving before, and goes on with that.
		l.promote()
		f.leave(l, f.link.opt.Linger)
		return
	}
	l.kill()
	l.withdraw()
}

// promote makes next the connection that counts, and lets the old one leave.
func (f *follower) promote() {
	old, l := f.cur, f.next
	f.cur, f.next, f.ready = l, nil, false
	if f.prepared != nil && f.prepared.database == l.db {
		f.prepared.release()
		f.prepared = nil
	}
	var notices []Event
	for _, r := range f.unsaid {
		notices = append(notices, r.event())
	}
	if f.lastDB != "" {
		notices = append(notices, Event{Switched: f.notice(old)})
	}
	f.unsaid = nil
	l.promote(notices...)
	l.promoted, l.usedAt = true, now()
	f.lastDB = l.db
	if old != nil {
		old.planned, old.patience = f.choice.Planned, patience/5
		if old.planned {
			old.patience = patience
		}
		f.leave(old, f.link.opt.Linger)
	}
	f.link.setHome(l)
}

// mayGiveUp ends the stream when the last connection is gone and the hook, being closed, has no other.
func (f *follower) mayGiveUp() {
	if !f.hookClosed || f.givenUp || f.cur != nil || f.next != nil || len(f.leaving) > 0 {
		return
	}
	f.link.order.mu.Lock()
	empty := f.link.order.tail == nil // everything is delivered
	f.link.order.mu.Unlock()
	if f.givenUp = empty; empty {
		f.link.giveUp()
	}
}
