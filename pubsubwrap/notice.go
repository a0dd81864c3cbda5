package pubsubwrap

import (
	"time"

	"github.com/redishook/multidb"
)

// notice says what has happened; old is the connection before if it is still alive.
func (f *follower) notice(old *subConn) *Switched {
	n := &Switched{From: f.lastDB, To: f.cur.db, Reason: f.choice.Reason, Planned: f.choice.Planned}
	if n.From == n.To {
		n.Reason, n.Planned = ReasonConnectionLost, false
	}
	at := now()
	since := at
	if !f.early && !f.followed {
		since = f.chosenAt // those who had moved already talked where nobody listened
	}
	switch {
	case old == nil:
		since = min(since, f.lostAt)
	case !f.choice.Planned:
		// It has failed, and may be dead: what it has not brought yet, it may never bring.
		since = min(since, old.goneSince())
	}
	if f.absentAt != 0 {
		since = min(since, f.absentAt)
		f.absentAt = 0
	}
	n.Gap = time.Duration(at - since)
	return n
}

// gapNotice is a notice that speaks of one database only.
type gapNotice struct {
	database string
	reason   multidb.Reason
	since    int64
}

func (r gapNotice) event() Event {
	return Event{Switched: &Switched{
		From: r.database, To: r.database, Reason: r.reason, Gap: time.Duration(now() - r.since),
	}}
}

// say puts a notice into the stream, behind the next switch if there is no connection now.
func (f *follower) say(r gapNotice) {
	if f.cur == nil {
		f.unsaid = append(f.unsaid, r)
		return
	}
	f.cur.promote(r.event())
}
