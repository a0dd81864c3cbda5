package pubsubwrap

import (
	"errors"
	"slices"
	"time"

	"github.com/redishook/multidb"
)

// leave lets a connection go: after a planned switch when its time to linger is over, else when all that it was sent has come.
func (f *follower) leave(l *subConn, linger time.Duration) {
	l.until = now()
	if l.planned {
		l.until += int64(max(0, linger))
	}
	f.leaving[l] = struct{}{}
}

// check looks after connections that have fallen silent, and lets go of those whose time has come.
func (f *follower) check() {
	interval := f.link.opt.HealthInterval
	if f.cur != nil && interval > 0 {
		f.cur.checkHealth(interval)
	}
	if f.cur != nil {
		f.cur.checkNode()
	}
	for l := range f.leaving {
		if interval > 0 && !l.closing {
			l.checkHealth(interval)
		}
		if now() >= l.until && !l.closing {
			l.closing = true
			l.leave()
		}
		if l.silentFor() > l.patience {
			l.kill()
		}
	}
	if f.next != nil && f.next.silentFor() > openTimeout {
		f.next.kill()
	}
}

// resubscription is kept for a database that is being left after a planned switch, when the connection to it is lost before its
// time: publishers may still be there. It is subscribed again until then, and the stream is told what may be missing.
type resubscription struct {
	db       string
	since    int64 // when it was lost
	until    int64
	conn     *subConn // being opened; nil: none
	opened   bool
	retryAt  int64
	failures int
}

// scheduleResubscribe schedules a resubscription for a connection that has ended, unless it has left with nothing missing, or was never in use, or its
// database had failed: the notice of that switch has said it then.
func (f *follower) scheduleResubscribe(l *subConn) {
	if l.promoted && l.planned && !l.hasLeft() {
		v := &resubscription{db: l.db, since: l.goneSince(), until: l.until}
		if now()-l.usedAt < int64(steady) {
			v.retryAt, v.failures = now()+backoff(l.failures), l.failures+1
		}
		f.resubscriptions = append(f.resubscriptions, v)
	}
}

// stepResubscriptions does for the resubscriptions what can be done now.
func (f *follower) stepResubscriptions() {
	f.resubscriptions = slices.DeleteFunc(f.resubscriptions, func(v *resubscription) bool {
		if v.conn != nil && !v.conn.alive() {
			v.conn, v.opened = nil, false
			v.retryAt = now() + backoff(v.failures)
			v.failures++
		}
		switch {
		case f.cur != nil && f.cur.db == v.db, now() >= v.until && !v.opened && !f.opening(v.db):
			v.giveUp()
			f.say(gapNotice{v.db, ReasonConnectionLost, v.since})
			return true
		case f.opening(v.db):
			v.giveUp() // that one will do, and two would bring everything twice
		case v.opened:
			f.rejoin(v)
			return true
		case v.conn == nil && now() >= v.retryAt:
			f.reopen(v)
		}
		return false
	})
}

// opening reports whether a database is about to be used again.
func (f *follower) opening(database string) bool { return f.next != nil && f.next.db == database }

func (v *resubscription) giveUp() {
	if v.conn != nil {
		v.conn.kill()
		v.conn, v.opened = nil, false
	}
}

// reopen opens a connection that stands in no order yet, and holds what it receives.
func (f *follower) reopen(v *resubscription) {
	l, err := f.link.newSubConn(v.db)
	if err != nil {
		f.hookClosed = f.hookClosed || errors.Is(err, multidb.ErrClosed)
		v.retryAt = v.until
		return
	}
	l.gated = true
	v.conn = l
	f.open(l, func(bool) {
		if v.conn == l {
			v.opened = true
		}
	})
}

// rejoin puts the new connection where the lost one was: before the others.
func (f *follower) rejoin(v *resubscription) {
	l := v.conn
	l.promoted, l.planned, l.patience = true, true, patience
	l.usedAt, l.failures = now(), v.failures
	l.until = v.until
	f.leaving[l] = struct{}{}
	f.link.queueFirst(l)
	l.promote(gapNotice{v.db, ReasonConnectionLost, v.since}.event())
}

var errSilent = errors.New("pubsubwrap: a subscribed connection does not answer a PING")

// checkHealth asks a silent connection for a sign of life, and ends one that gives none.
func (l *subConn) checkHealth(interval time.Duration) {
	if l.silentFor() > interval {
		l.kill()
		l.link.hook.Report(l.db, errSilent)
	} else if l.stalled.Load() == 0 && now()-l.lastRead.Load() > int64(interval) {
		l.ping(tokenHealth)
	}
}

// silentFor is how long the connection has been waiting for an answer in vain; 0 if it has not, or if it is the
// application that is waited for.
func (l *subConn) silentFor() time.Duration {
	asked := l.stalled.Load()
	if asked == 0 || !l.idle.Load() {
		return 0
	}
	return time.Duration(now() - max(asked, l.lastRead.Load()))
}
