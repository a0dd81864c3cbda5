package multidb

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/database"
)

// What packages need that restore, on top of the hook, what a switch takes from their users: txwrap and pubsubwrap. An
// application has no use for it.

// Choice is the answer to "which database?" at one moment. Immutable, safe for concurrent use.
type Choice struct {
	// Database is the name of the database in use, or of the one that was in use last if Down is true.
	Database string
	// Down is true while no database is usable.
	Down bool
	// Number counts the choices of a hook from 1. If it is the same before and after a request, there was no switch.
	Number uint64
	// At is the time of the switch. After it no new request goes to the previous database; sessions that drain are the
	// exception.
	At time.Time
	// Reason says why the choice was made, Planned whether the database before it was healthy. The first choice of a hook
	// is that of the first health checks.
	Reason  Reason
	Planned bool

	over <-chan struct{}
	late uint64 // requests of sessions that went on on an old database until then, see ServedBy
}

// Over is closed when there is a newer choice. A closed hook makes none.
func (c Choice) Over() <-chan struct{} { return c.over }

// Choice returns the current choice: one atomic load. Safe for concurrent use.
func (h *Hook) Choice() Choice {
	late := h.lateRequests.Load()
	now := h.selector.Current()
	return Choice{
		Database: now.DB.Name, Down: now.Down, Number: now.Number, At: now.At,
		Reason: Reason(now.Reason), Planned: now.Planned, over: now.Over(), late: late,
	}
}

// RungOf returns the rung of a command: what running it twice would do, as Options.ReplayCommands declares it or else as
// the library knows it. Safe for concurrent use.
func (h *Hook) RungOf(cmd redis.Cmder) Replay { return Replay(h.rules.Rung(cmd)) }

// OnPrepare registers a function that is called with the name of the new database before a planned switch is made.
// So a subscriber can be there first. The switch waits for it, for 200 ms at most: ctx ends then, and with Close.
// A function that goes on all the same is not called again until it has returned. Close waits for it, because it
// is a goroutine of the hook's. The switch may not come about in the end. A panic is logged and contained. The
// function is called without a lock, maybe from several goroutines, and must not call a method of control. cancel
// ends the registration. Safe for concurrent use.
func (h *Hook) OnPrepare(f func(ctx context.Context, database string)) (cancel func()) {
	return h.preparers.Add(f)
}

// Databases returns the names of the databases, in the order of configuration. Safe for concurrent use.
func (h *Hook) Databases() []string {
	var names []string
	for _, db := range h.selector.All() {
		names = append(names, db.Name)
	}
	return names
}

// DatabaseOptions returns the options of a client for one database, to be changed and used by the caller. Address,
// dialer, TLS and credentials are those of the database, and there are no retries. The error is ErrUnknownDatabase
// or ErrClosed, or says that the database is a cluster: then see [Hook.NodeOptions]. Safe for concurrent use.
func (h *Hook) DatabaseOptions(name string) (*redis.Options, error) {
	db, err := h.known(name)
	if err != nil {
		return nil, err
	}
	if db.Cluster != nil {
		return nil, fmt.Errorf("multidb: database %q is a cluster: there are no options of one client for it", name)
	}
	return userOptions(db, db.Options.Addr), nil
}

// userOptions are those of a client of a user's for one node of the database.
func userOptions(db *database.Database, addr string) *redis.Options {
	opt := *db.Options
	opt.Addr = addr
	opt.PoolSize, opt.MaxIdleConns = 0, 0 // go-redis' own again
	return &opt
}

// Report tells the hook that a connection to one of its databases has failed its owner, or could not be made. The
// hook asks the database at once whether it is there, as if a command had failed. The verdict is its own. Safe for
// concurrent use.
func (h *Hook) Report(database string, err error) {
	if db, known := h.known(database); known == nil && err != nil {
		db.Health.Suspect(commandError(db, false, err))
	}
}
