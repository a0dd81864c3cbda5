package database

import (
	"context"
	"time"

	"github.com/redishook/multidb/internal/health"
	"github.com/redishook/multidb/internal/traffic"
)

// What a database owes, and for how long.

// Limits are how long a database may owe something.
type Limits struct {
	Stall time.Duration // before it is suspected; 0 or less: for ever
	Total time.Duration // before the connection is given up, if others prove that it is dead
	Pause time.Duration // between two suspicions of the same silence: commands may be slow by nature
}

// Watch looks at what a database owes. It belongs to one goroutine.
type Watch struct {
	limits Limits
	whole  traffic.Stall
	of     map[string]*traffic.Stall // the nodes of a cluster: the replies of the others hide the silence of one
	next   time.Time                 // no suspicion of a single request before
	last   time.Time                 // the last look at single requests
	awake  time.Time                 // since then every look has come in time
}

// NewWatch makes a watch that has seen nothing.
func NewWatch(limits Limits) *Watch {
	return &Watch{limits: limits, of: make(map[string]*traffic.Stall)}
}

// Calm reports whether nothing is outstanding, and nothing has happened since a copy of the watch was made.
func (w *Watch) Calm(before Watch) bool { return w.whole.Calm(before.whole) }

// Look makes a database suspect that owes replies and is silent. After a rest nobody knows since when something is outstanding.
func (w *Watch) Look(db *Database, rested bool, now time.Time) {
	reads, outstanding := db.Conns.Progress()
	open, _ := db.Conns.Count()
	db.seen.Store(int64(open))
	quiet, served := w.whole.Look(db, reads, outstanding, rested, now)
	if served {
		db.Health.Served(now)
	}
	w.suspectIfSilent(&w.whole, db, quiet, now)
	if db.Cluster != nil {
		w.lookAtNodes(db, rested, now)
		return
	}
	w.lookAtRequests(db, now)
}

func (w *Watch) lookAtNodes(db *Database, rested bool, now time.Time) {
	next := make(map[string]*traffic.Stall, len(w.of))
	for node, p := range db.Conns.ProgressByNode() {
		one := w.of[node]
		if one == nil {
			one = &traffic.Stall{}
		}
		next[node] = one
		quiet, _ := one.Look(db, p.Reads, p.Outstanding, rested, now)
		w.suspectIfSilent(one, db, quiet, now)
	}
	w.of = next
}

func (w *Watch) suspectIfSilent(s *traffic.Stall, db *Database, quiet time.Duration, now time.Time) {
	if limit := w.limits.Stall; limit > 0 && quiet >= db.Prober.Scaled(limit) {
		db.Health.Suspect(health.Stall(quiet))
		s.PutOff(now, w.limits.Pause-limit)
		w.next = now.Add(w.limits.Pause)
	}
}

// lookAtRequests makes a database suspect that answers some connections and not another one: it may hold writes back while it serves
// reads. What is behind a connection that was forgotten on its way is never answered: it is cut, once that is known. Nothing is cut
// for a silence during which this process has not looked: the answer may lie in its socket.
func (w *Watch) lookAtRequests(db *Database, now time.Time) {
	if now.Sub(w.last) > latePace {
		w.awake = now
	}
	w.last = now
	oldest := db.Conns.Oldest(now)
	if limit := w.limits.Stall; limit > 0 && oldest.Age >= db.Prober.Scaled(limit) && !now.Before(w.next) {
		w.next = now.Add(w.limits.Pause)
		db.Health.Suspect(health.Stall(oldest.Age))
	}
	if total := db.Prober.Scaled(w.limits.Total); oldest.Age >= total && now.Sub(w.awake) >= total && db.forgotWithin(2*total) {
		db.Conns.CutSilent(now, total)
	}
}

// Connections is how many connections there are, or were a moment ago.
func (db *Database) Connections() int {
	open, _ := db.Conns.Count()
	return max(open, int(db.seen.Load()))
}

// Forgotten notes that connections which had stood stay silent, and new ones are answered.
func (db *Database) Forgotten() { db.forgot.Store(int64(time.Since(db.begun))) }

func (db *Database) forgotWithin(d time.Duration) bool {
	at := db.forgot.Load()
	return at != 0 && time.Since(db.begun)-time.Duration(at) < d
}

// watchPace is the resolution of a watch. A look that comes later than latePace after the one before is late.
const (
	watchPace = 25 * time.Millisecond
	latePace  = 4 * watchPace
)

// WatchDrain watches a database that was left as planned, until ctx ends or over says so. If it falls silent, and does not answer
// its prober either, nobody waits for it: cut closes its connections, as in a failover. A database that was left because it takes no new
// connections is unusable from the beginning. It is asked over a connection that stands, because those may be slow and well.
func (db *Database) WatchDrain(ctx context.Context, limits Limits, over func() bool, cut func()) {
	tick := time.NewTicker(watchPace)
	defer tick.Stop()
	var stall traffic.Stall
	var next time.Time
	verdict := db.Health.Usable() // one against it will be about what it answers
	for first := true; !over(); first = false {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		reads, outstanding := db.Conns.Progress()
		quiet, _ := stall.Look(db, reads, outstanding, first, now)
		if limits.Stall > 0 && quiet >= db.Prober.Scaled(limits.Stall) && !now.Before(next) {
			next = now.Add(limits.Pause)
			db.Health.Suspect(health.Stall(quiet))
		}
		if quiet < db.Prober.Scaled(limits.Total) || db.Health.Usable() {
			continue
		}
		if !verdict && db.Prober.Ask(ctx, 1, db.Prober.Ping) == nil {
			stall.PutOff(time.Now(), 0)
			continue
		}
		cut()
		return
	}
}
