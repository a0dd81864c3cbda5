package pubsubwrap

import (
	"context"
	"errors"
	"time"

	"github.com/redishook/multidb"
)

// follower keeps a subscriber on the active database. It is one goroutine: everything it owns, it changes alone, and it
// waits for nobody: links open, are read and end in goroutines of their own and tell it.
type follower struct {
	s        *Subscriber
	prepares chan *preparation

	choice   multidb.Choice
	chosenAt int64
	cur      *link  // promoted, on the active database as far as that can be reached
	lastDB   string // where it is or was; empty at first
	lostAt   int64  // since when cur is gone
	next     *link  // what is to become cur; gated
	ready    bool   // next is subscribed to everything
	early    bool   // and was so before its database was chosen
	leaving  map[*link]int64
	prepared *preparation
	failures int
	retryAt  int64
}

// preparation is the announcement of a planned switch, which waits until done is closed, or no longer.
type preparation struct {
	database string
	until    int64
	done     chan struct{}
	closed   bool
}

const (
	prepareValid = 2 * time.Second        // a switch that has not come by then will not come
	openTimeout  = 2 * time.Second        // to dial, subscribe and confirm
	patience     = 500 * time.Millisecond // for an answer of a database that is being left
	minRetry     = 5 * time.Millisecond
	maxRetry     = 500 * time.Millisecond
	calm         = 250 * time.Millisecond
	busy         = 10 * time.Millisecond
)

func newFollower(s *Subscriber) *follower {
	return &follower{s: s, prepares: make(chan *preparation), leaving: make(map[*link]int64)}
}

func (f *follower) run() {
	defer f.s.hook.OnPrepare(f.prepare)()
	f.choose()
	timer := time.NewTimer(calm)
	defer timer.Stop()
	for {
		f.step()
		wait := calm
		if f.next != nil || f.cur == nil || len(f.leaving) > 0 {
			wait = busy
		}
		timer.Reset(wait)
		select {
		case <-f.choice.Over():
			f.choose()
		case tell := <-f.s.inbox:
			tell()
		case p := <-f.prepares:
			f.prepared = p
		case <-timer.C:
		case <-f.s.ctx.Done():
			return
		}
	}
}

// prepare is called before a planned switch, by whoever makes it.
func (f *follower) prepare(ctx context.Context, database string) {
	p := &preparation{database: database, until: now() + int64(prepareValid), done: make(chan struct{})}
	select {
	case f.prepares <- p:
	case <-ctx.Done():
		return
	case <-f.s.ctx.Done():
		return
	}
	select {
	case <-p.done:
	case <-ctx.Done():
	case <-f.s.ctx.Done():
	}
}

func (f *follower) choose() {
	f.choice = f.s.hook.Choice()
	f.chosenAt, f.retryAt, f.failures = now(), 0, 0
}

// step does what can be done now.
func (f *follower) step() {
	f.bury()
	need := f.need()
	if f.next != nil && f.next.db != need {
		f.abandon()
	}
	if need != "" && f.next == nil {
		f.begin(need)
	}
	if f.ready && f.next.db == f.choice.Database && !f.choice.Down {
		f.promote()
	}
	if p := f.prepared; p != nil && !p.closed && (f.ready && f.next.db == p.database || f.cur != nil && f.cur.db == p.database) {
		p.closed = true
		close(p.done)
	}
	f.check()
}

// bury notes which links are gone.
func (f *follower) bury() {
	if f.cur != nil && !f.cur.alive() {
		f.lostAt = f.cur.goneSince()
		f.cur = nil
		f.s.setHome(nil)
	}
	if f.next != nil && !f.next.alive() {
		f.next, f.ready = nil, false
		f.retryAt = now() + int64(min(maxRetry, minRetry<<min(f.failures, 10)))
		f.failures++
	}
	for l := range f.leaving {
		if !l.alive() {
			delete(f.leaving, l)
		}
	}
	if f.prepared != nil && now() > f.prepared.until {
		f.prepared = nil
	}
}

// need is the database on which a link is to be opened or kept ready; empty if cur is all that is needed.
func (f *follower) need() string {
	if !f.choice.Down && (f.cur == nil || f.cur.db != f.choice.Database) {
		return f.choice.Database
	}
	if f.prepared != nil && f.cur != nil && f.prepared.database != f.cur.db {
		return f.prepared.database
	}
	return ""
}

// begin gets a link to a database under way: one that was about to leave it, or a new one.
func (f *follower) begin(database string) {
	for l := range f.leaving {
		if l.db != database {
			continue
		}
		if !l.farewell {
			delete(f.leaving, l)
			f.next, f.ready, f.early = l, false, true
			if database == f.choice.Database {
				// Publishers may have moved already: what it receives from now on is later than what is held for it.
				l.stepBehind()
				f.ready = true
			} else {
				l.ping(tokenBehind)
			}
		}
		// Else it is about to end. A second one before that would bring what it still receives twice.
		return
	}
	if now() < f.retryAt {
		return
	}
	l, err := f.s.newLink(database)
	if err != nil {
		f.retryAt = now() + int64(maxRetry)
		return
	}
	f.s.queue(l)
	f.next, f.ready = l, false
	f.s.wg.Go(func() {
		ctx, cancel := context.WithTimeout(f.s.ctx, openTimeout)
		defer cancel()
		if l.open(ctx) != nil {
			return // it tells by its end
		}
		early := f.s.hook.Choice().Database != database
		f.s.tell(func() {
			if f.next == l {
				f.ready, f.early = true, early
			}
		})
	})
}

// behind is told by a link that has taken its place behind the others.
func (f *follower) behind(l *link) {
	if f.next == l {
		f.ready = true
	}
}

// abandon gives up a link that is not needed any more.
func (f *follower) abandon() {
	l := f.next
	f.next, f.ready = nil, false
	if l.promoted {
		// It was leaving before, and goes on with that.
		l.promote()
		f.leaving[l] = now() + int64(f.s.opt.Linger)
		return
	}
	l.kill()
}

// promote makes next the link that counts, and lets the old one leave.
func (f *follower) promote() {
	old, l := f.cur, f.next
	f.cur, f.next, f.ready = l, nil, false
	f.prepared = dropIf(f.prepared, l.db)
	if f.lastDB == "" {
		l.promote()
	} else {
		l.promote(Event{Switched: f.notice(old)})
	}
	l.promoted, l.farewell = true, false
	f.lastDB, f.failures = l.db, 0
	if old != nil {
		f.leaving[old], old.patience = now(), patience/5
		if f.choice.Planned {
			f.leaving[old], old.patience = now()+int64(max(0, f.s.opt.Linger)), patience
		}
	}
	f.s.setHome(l)
}

// dropIf forgets a preparation that has been fulfilled.
func dropIf(p *preparation, database string) *preparation {
	if p == nil || p.database != database {
		return p
	}
	if !p.closed {
		close(p.done)
	}
	return nil
}

// notice says what has happened; old is the link before if it is still alive.
func (f *follower) notice(old *link) *Switched {
	n := &Switched{From: f.lastDB, To: f.cur.db, Reason: f.choice.Reason, Planned: f.choice.Planned}
	if n.From == n.To {
		n.Reason, n.Planned = ReasonConnectionLost, false
	}
	switch {
	case old == nil:
		n.Gap = time.Duration(now() - f.lostAt)
	case f.early:
	case f.choice.Planned:
		n.Gap = time.Duration(now() - f.chosenAt)
	default:
		// The old one may still talk, but those who have moved talk elsewhere since the choice.
		n.Gap = time.Duration(max(now()-f.chosenAt, now()-old.goneSince()))
	}
	return n
}

// check looks after connections that have fallen silent, and lets go of those whose time has come.
func (f *follower) check() {
	if interval := f.s.opt.HealthInterval; f.cur != nil && interval > 0 {
		f.cur.checkHealth(interval)
	}
	for l, until := range f.leaving {
		if now() >= until && !l.farewell {
			l.farewell = true
			l.ping(tokenLeave)
		}
		if l.silentFor() > l.patience {
			l.kill()
		}
	}
	if f.next != nil && f.next.silentFor() > openTimeout {
		f.next.kill()
	}
}

var errSilent = errors.New("pubsubwrap: a subscribed connection does not answer a PING")

// checkHealth asks a silent link for a sign of life, and ends one that gives none.
func (l *link) checkHealth(interval time.Duration) {
	if l.silentFor() > interval {
		l.kill()
		l.sub.hook.Report(l.db, errSilent)
	} else if l.stalled.Load() == 0 && now()-l.lastRead.Load() > int64(interval) {
		l.ping(tokenHealth)
	}
}

// silentFor is how long the connection has been waiting for an answer in vain; 0 if it has not, or if it is the
// application that is waited for.
func (l *link) silentFor() time.Duration {
	asked := l.stalled.Load()
	if asked == 0 || !l.idle.Load() {
		return 0
	}
	return time.Duration(now() - max(asked, l.lastRead.Load()))
}
