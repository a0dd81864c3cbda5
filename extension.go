package multidb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/runner"
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

// hooksOf are the hooks of clients that are known to have one, by weak pointer. A client keeps its hook for life.
var hooksOf sync.Map // of weak.Pointer[redis.Client], to *Hook

func rememberHook(client *redis.Client, h *Hook) {
	pointer := weak.Make(client)
	if _, known := hooksOf.Swap(pointer, h); !known {
		runtime.AddCleanup(client, func(p weak.Pointer[redis.Client]) { hooksOf.Delete(p) }, pointer)
	}
}

// HookOf returns the hook of a client, or nil if it has none. It sends nothing. Of a client that was not attached and has not been
// asked about, a command named CLIENT passes the hooks, which others may count, and stops before the network. Safe for
// concurrent use.
func HookOf(rdb redis.UniversalClient) *Hook {
	if cc, ok := rdb.(*redis.ClusterClient); ok {
		return hookFor(func(h *Hook) bool { return h.clusters.has(cc) })
	}
	client, ok := rdb.(*redis.Client)
	if !ok || !made(client) {
		return nil
	}
	if h, ok := hooksOf.Load(weak.Make(client)); ok {
		return h.(*Hook)
	}
	conn := client.Conn()
	defer conn.Close()
	conn.AddHook(wall{})
	query := runner.NewQuery(context.Background(), "client", "multidb-hook")
	_ = conn.Process(context.Background(), query)
	hook, _ := query.Owner.(*Hook)
	if hook != nil {
		rememberHook(client, hook)
	}
	return hook
}

// openHooks are the hooks of this process that have been made and not closed.
var openHooks sync.Map // of *Hook

// hookFor finds the open hook that f holds for.
func hookFor(f func(*Hook) bool) (found *Hook) {
	openHooks.Range(func(h, _ any) bool {
		if f(h.(*Hook)) {
			found = h.(*Hook)
		}
		return found == nil
	})
	return found
}

// AnyHook reports whether there is a hook in this process that has not been closed. Safe for concurrent use.
func AnyHook() bool { return hookFor(func(*Hook) bool { return true }) != nil }

// HookOfTx returns the hook that a transaction's connection follows, or nil if it follows none. It finds what [HookOf] does
// not: the hook of a client that is wrapped in another type, and of a WithTimeout clone, which has the connections of its
// client and none of its hooks. The hook or the connection answers by itself. Only where neither belongs to a hook, a server
// gets the question, a CLIENT that it does not know: ask [AnyHook] first. Before the first request of the
// transaction; not safe for concurrent use, as a Tx is not.
func HookOfTx(ctx context.Context, tx *redis.Tx) *Hook {
	query := runner.NewQuery(ctx, routedQuestion...)
	err := tx.Process(ctx, query)
	if hook, ok := query.Owner.(*Hook); ok {
		return hook
	}
	var routed routedReply
	if errors.As(err, &routed) {
		return routed.hook
	}
	var failed *CommandError
	if errors.As(err, &failed) && failed.id != 0 { // it could not be dialed
		db := failed.database()
		return hookFor(func(h *Hook) bool { return db != nil && slices.Contains(h.selector.All(), db) })
	}
	return nil
}

// wall is the innermost hook of a connection that must not send anything.
type wall struct{}

var errWall = errors.New("multidb: not to be sent")

func (wall) DialHook(redis.DialHook) redis.DialHook {
	return func(context.Context, string, string) (net.Conn, error) { return nil, errWall }
}

func (wall) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(context.Context, redis.Cmder) error { return errWall }
}

func (wall) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(context.Context, []redis.Cmder) error { return errWall }
}

// prepareTime bounds how long a planned switch waits for those who want to be ready on the new database.
const prepareTime = 200 * time.Millisecond

// preparers are the functions that OnPrepare has registered.
type preparers struct {
	mu    sync.Mutex
	calls map[*preparer]struct{}
}

type preparer struct {
	call func(context.Context, string)
	last atomic.Pointer[preparation]
}

// preparation is one call of such a function.
type preparation struct {
	ctx  context.Context
	done chan struct{}
}

// overdue reports whether the last call goes on although its time is over.
func (p *preparer) overdue() bool {
	last := p.last.Load()
	if last == nil || last.ctx.Err() == nil {
		return false
	}
	select {
	case <-last.done:
		return false
	default:
		return true
	}
}

// OnPrepare registers a function that is called with the name of the new database before a planned switch is made, so
// that a subscriber can be there first. The switch waits for it, for 200 ms at most: ctx ends then, and with Close. A
// function that goes on all the same is not called again until it has returned, and Close waits for it, because it is a
// goroutine of the hook's: one that never returns keeps Close from returning. The switch may not come about in the end.
// A panic is logged and contained. The function is called without a lock, maybe from several goroutines, and must not
// call a method of control. cancel ends the registration. Safe for concurrent use.
func (h *Hook) OnPrepare(f func(ctx context.Context, database string)) (cancel func()) {
	p, this := &h.preparers, &preparer{call: f}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls == nil {
		p.calls = make(map[*preparer]struct{})
	}
	p.calls[this] = struct{}{}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.calls, this)
	}
}

// prepare runs before a planned switch to db.
func (h *Hook) prepare(db *database.Database) {
	if h.selector.Current().DB == db {
		return
	}
	defer h.selector.Current().Announce(h.ctx, db, h.workers.Go)
	h.preparers.mu.Lock()
	calls := slices.Collect(maps.Keys(h.preparers.calls))
	h.preparers.mu.Unlock()
	if len(calls) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(h.ctx, prepareTime)
	defer cancel()
	var waiting []<-chan struct{}
	for _, p := range calls {
		if p.overdue() {
			continue
		}
		this := &preparation{ctx: ctx, done: make(chan struct{})}
		p.last.Store(this)
		if h.workers.Go(func() {
			defer close(this.done)
			h.events.Contain("a function of OnPrepare", func() { p.call(ctx, db.Name) })
		}) {
			waiting = append(waiting, this.done)
		}
	}
	for _, done := range waiting {
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
	}
}

// Databases returns the names of the databases, in the order of configuration. Safe for concurrent use.
func (h *Hook) Databases() []string {
	var names []string
	for _, db := range h.selector.All() {
		names = append(names, db.Name)
	}
	return names
}

// DatabaseOptions returns the options of a client for one database, to be changed and used by the caller: address,
// dialer, TLS and credentials are those of the database, and there are no retries. The error is ErrUnknownDatabase or
// ErrClosed, or says that the database is a cluster: then see [Hook.NodeOptions]. Safe for concurrent use.
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

// Report tells the hook that a connection to a database of its own has failed its owner, or could not be made: it asks
// the database at once whether it is there, as if a command had failed. The verdict is its own. Safe for concurrent use.
func (h *Hook) Report(database string, err error) {
	if db, known := h.known(database); known == nil && err != nil {
		db.Health.Suspect(commandError(db, false, err))
	}
}
