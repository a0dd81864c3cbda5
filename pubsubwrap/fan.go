package pubsubwrap

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/redishook/multidb"
)

const (
	refresh  = 250 * time.Millisecond // how often the fan-in looks for databases that were added or removed
	fanRetry = 100 * time.Millisecond // at most between two attempts at a database: others may be using it already
)

// fan keeps a link to every database. One goroutine owns it, and each database has one of its own.
type fan struct {
	s       *Subscriber
	ribs    map[string]*rib
	wants   chan string // of databases that are about to be used
	orphans chan *rib   // those that have ended because the hook is closed

	use      atomic.Pointer[use]
	attended atomic.Int64 // ns since epoch: since when calls are answered; 0: nothing is subscribed yet

	tried map[string]bool // which databases were tried at least once; guarded by the subscriber's mu
}

// rib is the connection to one database, again and again.
type rib struct {
	db     string
	cancel context.CancelFunc
	kick   chan struct{} // room for one: try now
	orphan bool          // owned by the fan
}

// use says which database is in use, and which one was before.
type use struct {
	multidb.Choice
	from string
}

func newFan(s *Subscriber) *fan {
	f := &fan{
		s: s, ribs: make(map[string]*rib), wants: make(chan string), orphans: make(chan *rib),
		tried: make(map[string]bool),
	}
	f.use.Store(&use{Choice: s.hook.Choice()})
	return f
}

func (f *fan) run() {
	defer f.s.hook.OnPrepare(f.prepare)()
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	for {
		f.refresh()
		before := f.use.Load()
		select {
		case <-before.Over():
			f.use.Store(&use{Choice: f.s.hook.Choice(), from: before.Database})
			f.kick(f.use.Load().Database)
			f.settleHome()
		case db := <-f.wants:
			f.refresh()
			f.kick(db)
		case r := <-f.orphans:
			r.orphan = true
			if f.allOrphans() {
				f.s.giveUp()
			}
		case <-tick.C:
		case <-f.s.ctx.Done():
			return
		}
	}
}

// refresh starts and ends links as databases come and go.
func (f *fan) refresh() {
	have := make(map[string]bool)
	for _, db := range f.s.hook.Databases() {
		have[db] = true
		if f.ribs[db] == nil {
			ctx, cancel := context.WithCancel(f.s.ctx)
			r := &rib{db: db, cancel: cancel, kick: make(chan struct{}, 1)}
			f.ribs[db] = r
			f.s.wg.Go(func() { f.keep(ctx, r) })
		}
	}
	for db, r := range f.ribs {
		if !have[db] {
			r.cancel()
			delete(f.ribs, db)
		}
	}
}

func (f *fan) kick(db string) {
	if r := f.ribs[db]; r != nil {
		select {
		case r.kick <- struct{}{}:
		default:
		}
	}
}

func (f *fan) allOrphans() bool {
	for _, r := range f.ribs {
		if !r.orphan {
			return false
		}
	}
	return true
}

// prepare is called before a planned switch, by whoever makes it, and waits until the database is subscribed: it may have
// been added a moment ago.
func (f *fan) prepare(ctx context.Context, database string) {
	select {
	case f.wants <- database:
	case <-ctx.Done():
		return
	case <-f.s.ctx.Done():
		return
	}
	s := f.s
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	for {
		s.mu.Lock()
		change, there := s.change, false
		for l := range s.links {
			there = there || l.db == database && l.joined.Load() && l.alive()
		}
		s.mu.Unlock()
		if there {
			return
		}
		select {
		case <-change:
		case <-ctx.Done():
			return
		case <-s.ctx.Done():
			return
		}
	}
}

// keep opens a link to one database again and again.
func (f *fan) keep(ctx context.Context, r *rib) {
	var lost int64
	var last *link
	for failures := 0; ctx.Err() == nil; failures++ {
		l, err := f.s.newLink(r.db)
		if errors.Is(err, multidb.ErrClosed) {
			f.abandon(ctx, r, last)
			return
		}
		if err == nil {
			opening, cancel := context.WithTimeout(ctx, openTimeout)
			l.gated = true
			err = l.open(opening)
			cancel()
			if err == nil {
				// Before calls are answered, or a switch that waits for it is made: that would look like a gap.
				l.promote(f.notices(l.db, lost)...)
				l.joined.Store(true)
			}
			f.settleHome(r.db)
			if err == nil {
				last = l
				began := now()
				f.live(ctx, l)
				lost = l.goneSince()
				if now()-began >= int64(steady) {
					failures = 0
				}
			}
		}
		select {
		case <-time.After(min(fanRetry, minRetry<<min(failures, 10))):
		case <-r.kick:
		case <-ctx.Done():
		}
	}
}

// abandon says that a database cannot be reached any more because the hook is closed, when all that it has brought is
// delivered.
func (f *fan) abandon(ctx context.Context, r *rib, last *link) {
	if last != nil {
		select {
		case <-last.gone:
		case <-ctx.Done():
			return
		}
	}
	select {
	case f.orphans <- r:
	case <-ctx.Done():
	}
}

// live looks after a link as long as it lives.
func (f *fan) live(ctx context.Context, l *link) {
	tick := time.NewTicker(calm)
	defer tick.Stop()
	for {
		select {
		case <-l.done:
			f.settleHome()
			return
		case <-ctx.Done():
			l.kill()
			<-l.done
			return
		case <-tick.C:
			if interval := f.s.opt.HealthInterval; interval > 0 {
				l.checkHealth(interval)
			}
			f.settleHome()
		}
	}
}

// notices is what is to be said when a database is subscribed: that it was lost, or that it was in use before it was
// subscribed for the first time, because it was added or has come up a moment ago. lost is when the link before ended, 0 if
// there was none.
func (f *fan) notices(db string, lost int64) []Event {
	if lost != 0 {
		return []Event{remark{db, ReasonConnectionLost, lost}.event()}
	}
	choice, use, attended := f.s.hook.Choice(), f.use.Load(), f.attended.Load()
	if choice.Database != db || choice.Down || attended == 0 {
		return nil
	}
	from := use.from
	if choice.Number != use.Number { // and nobody has noticed yet
		from = use.Database
	}
	return []Event{{Switched: &Switched{
		From: from, To: db, Reason: choice.Reason, Planned: choice.Planned,
		Gap: time.Duration(now() - max(stamp(choice.At), attended)),
	}}}
}

// settleHome lets calls wait for the active database where that is subscribed, and else for any that is: at first not
// before the active one was tried, so that who has subscribed hears what he publishes then. tried has been.
func (f *fan) settleHome(tried ...string) {
	s, active := f.s, f.s.hook.Choice()
	s.mu.Lock()
	for _, db := range tried {
		f.tried[db] = true
	}
	home := s.home
	for l := range s.links {
		if l.alive() && l.joined.Load() &&
			(home == nil || !home.alive() || l.db == active.Database && home.db != active.Database) {
			home = l
		}
	}
	if s.home == nil && home != nil && home.db != active.Database && !active.Down && !f.tried[active.Database] {
		home = nil
	}
	s.home = home
	s.mu.Unlock()
	if home != nil {
		f.attended.CompareAndSwap(0, now())
	}
	s.changed()
}
