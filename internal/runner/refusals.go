package runner

import (
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/reply"
)

// refusals watches one piece of work being answered "cannot serve now" again and again by the same database. Probes pass
// on a database that has become a replica, and in a window full of earlier successes it takes seconds until the failure
// detector sees a rate; this work has proof enough.
type refusals struct {
	db         *database.Database
	generation uint64 // of its breaker then: what it has refused before it was closed counts no longer
	since      time.Time
	told       bool // it counts among the pieces of work whose keys are refused
}

// refusalPatience is how long a database may refuse the same work before it is left for another one. It is longer than
// the blip of a failover inside the database.
const refusalPatience = 250 * time.Millisecond

// refusedKeys is how many pieces of work must be refused for their keys, within a second, before the database is left: one
// slot that moves is no outage.
const refusedKeys = 5

func (seen *refusals) add(r *Runner, db *database.Database, failed *attempt) {
	switch refuses := failed.kind == cannotServe || failed.kind == cannotServeInside; {
	case !refuses || db != seen.db || db.Health.Generation() != seen.generation:
		*seen = refusals{}
		if refuses {
			*seen = refusals{db: db, generation: db.Health.Generation(), since: time.Now()}
		}
	case db.Cluster != nil: // it may be replacing a master, and its survey has the word
	case time.Since(seen.since) < refusalPatience || r.choice.Effective().DB != db:
	case r.replies.of(nil, failed.err).scope == reply.Key && !seen.manyKeys():
	default:
		db.Health.TripByTraffic(seen.generation, fmt.Sprintf("the same command was refused for %v: %v",
			time.Since(seen.since).Round(time.Millisecond), failed.err))
	}
}

// manyKeys counts this piece of work, once, among those that are refused for their keys, and reports whether they are many.
func (seen *refusals) manyKeys() bool {
	first := !seen.told
	seen.told = true
	return seen.db.Refusals.Keyed(first, time.Now()) >= refusedKeys
}

// logRefusal logs the first reply of its code that says "cannot serve now", and one a minute after that: the traffic of a
// database that refuses everything would fill the log.
func (r *Runner) logRefusal(db *database.Database, cmd redis.Cmder, err error) {
	counted := db.Replies.Count(err)
	code := r.replies.of(cmd, err).code
	if code == "" {
		code = counted // a login that was refused
	}
	if db.Refusals.Due(code, time.Now()) {
		r.cfg.Refused(db.Name, code, db.Locate(err))
	}
}
