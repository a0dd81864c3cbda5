package pubsubwrap

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/redishook/multidb"
)

const (
	refresh  = 250 * time.Millisecond // how often the fanIn-in looks for databases that were added or removed
	fanRetry = 100 * time.Millisecond // at most between two attempts at a database: others may be using it already
)

// fanIn keeps a connection to every database. One goroutine owns it, and each database has one of its own.
type fanIn struct {
	link       *link
	members    map[string]*member
	wants      chan string  // of databases that are about to be used
	hookClosed chan *member // those that have ended because the hook is closed

	use      atomic.Pointer[use]
	attended atomic.Int64 // ns since epoch: since when calls are answered; 0: nothing is subscribed yet

	tried map[string]bool // which databases were tried at least once; guarded by the link's mu
}

// member is the connection to one database, again and again.
type member struct {
	db         string
	cancel     context.CancelFunc
	kick       chan struct{} // room for one: try now
	hookClosed bool          // owned by the fanIn
}

// use says which database is in use, and which one was before.
type use struct {
	multidb.Choice
	from string
}

func newFanIn(k *link) *fanIn {
	f := &fanIn{
		link: k, members: make(map[string]*member), wants: make(chan string), hookClosed: make(chan *member),
		tried: make(map[string]bool),
	}
	f.use.Store(&use{Choice: k.hook.Choice()})
	return f
}

func (f *fanIn) run() {
	defer f.link.hook.OnPrepare(f.prepare)()
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	for {
		f.refresh()
		before := f.use.Load()
		select {
		case <-before.Over():
			f.use.Store(&use{Choice: f.link.hook.Choice(), from: before.Database})
			f.kick(f.use.Load().Database)
			f.chooseHome()
		case db := <-f.wants:
			f.refresh()
			f.kick(db)
		case r := <-f.hookClosed:
			r.hookClosed = true
			if f.allHookClosed() {
				f.link.giveUp()
			}
		case <-tick.C:
		case <-f.link.ctx.Done():
			return
		}
	}
}

// refresh starts and ends connections as databases come and go.
func (f *fanIn) refresh() {
	have := make(map[string]bool)
	for _, db := range f.link.hook.Databases() {
		have[db] = true
		if f.members[db] == nil {
			ctx, cancel := context.WithCancel(f.link.ctx)
			r := &member{db: db, cancel: cancel, kick: make(chan struct{}, 1)}
			f.members[db] = r
			f.link.wg.Go(func() { f.keep(ctx, r) })
		}
	}
	for db, r := range f.members {
		if !have[db] {
			r.cancel()
			delete(f.members, db)
		}
	}
}

func (f *fanIn) kick(db string) {
	if r := f.members[db]; r != nil {
		select {
		case r.kick <- struct{}{}:
		default:
		}
	}
}

func (f *fanIn) allHookClosed() bool {
	for _, r := range f.members {
		if !r.hookClosed {
			return false
		}
	}
	return true
}

// prepare is called before a planned switch, by whoever makes it, and waits until the database is subscribed: it may have
// been added a moment ago.
func (f *fanIn) prepare(ctx context.Context, database string) {
	select {
	case f.wants <- database:
	case <-ctx.Done():
		return
	case <-f.link.ctx.Done():
		return
	}
	k := f.link
	k.waiting.Add(1)
	defer k.waiting.Add(-1)
	for {
		k.mu.Lock()
		change, there := k.change, false
		for l := range k.conns {
			there = there || l.db == database && l.joined.Load() && l.alive()
		}
		k.mu.Unlock()
		if there {
			return
		}
		select {
		case <-change:
		case <-ctx.Done():
			return
		case <-k.ctx.Done():
			return
		}
	}
}

// keep opens a connection to one database again and again.
func (f *fanIn) keep(ctx context.Context, r *member) {
	var lost int64
	var last *subConn
	for failures := 0; ctx.Err() == nil; failures++ {
		l, err := f.link.newSubConn(r.db)
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
			f.chooseHome(r.db)
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
func (f *fanIn) abandon(ctx context.Context, r *member, last *subConn) {
	if last != nil {
		select {
		case <-last.gone:
		case <-ctx.Done():
			return
		}
	}
	select {
	case f.hookClosed <- r:
	case <-ctx.Done():
	}
}

// live looks after a connection as long as it lives.
func (f *fanIn) live(ctx context.Context, l *subConn) {
	tick := time.NewTicker(calm)
	defer tick.Stop()
	for {
		select {
		case <-l.done:
			f.chooseHome()
			return
		case <-ctx.Done():
			l.kill()
			<-l.done
			return
		case <-tick.C:
			if interval := f.link.opt.HealthInterval; interval > 0 {
				l.checkHealth(interval)
			}
			l.checkNode()
			f.chooseHome()
		}
	}
}

// notices is what is to be said when a database is subscribed: that it was lost, or that it was in use before it was
// subscribed for the first time, because it was added or has come up a moment ago. lost is when the connection before ended, 0 if
// there was none.
func (f *fanIn) notices(db string, lost int64) []Event {
	if lost != 0 {
		return []Event{gapNotice{db, ReasonConnectionLost, lost}.event()}
	}
	choice, use, attended := f.link.hook.Choice(), f.use.Load(), f.attended.Load()
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
func (f *fanIn) chooseHome(tried ...string) {
	k, active := f.link, f.link.hook.Choice()
	k.mu.Lock()
	for _, db := range tried {
		f.tried[db] = true
	}
	home := k.home
	for l := range k.conns {
		if l.alive() && l.joined.Load() &&
			(home == nil || !home.alive() || l.db == active.Database && home.db != active.Database) {
			home = l
		}
	}
	if k.home == nil && home != nil && home.db != active.Database && !active.Down && !f.tried[active.Database] {
		home = nil
	}
	k.home = home
	k.mu.Unlock()
	if home != nil {
		f.attended.CompareAndSwap(0, now())
	}
	k.changed()
}
