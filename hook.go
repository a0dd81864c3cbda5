package multidb

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/blocked"
	"github.com/redishook/multidb/internal/clusterhook"
	"github.com/redishook/multidb/internal/conn"
	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/dialer"
	"github.com/redishook/multidb/internal/monitor"
	"github.com/redishook/multidb/internal/prepare"
	"github.com/redishook/multidb/internal/replay"
	"github.com/redishook/multidb/internal/runner"
	"github.com/redishook/multidb/internal/selector"
	"github.com/redishook/multidb/internal/switchover"
)

// Hook routes the connections of the clients that it is added to. Make it with [New], add it with rdb.AddHook(hook) or
// [Hook.Attach], end it with [Hook.Close]. One hook may serve several clients. Safe for concurrent use.
type Hook struct {
	opt    Options
	rules  replay.Rules
	events *dispatcher
	dialer *dialer.Dialer
	runner *runner.Runner

	selector *selector.Selector

	classes *conn.Table // what requests are, for the ledgers of connections

	startedAt time.Time

	monitor *monitor.Monitor

	preparers  *prepare.Functions
	switchover *switchover.Switchover
	waiting    blocked.Commands
	clusters   *clusterhook.Clients

	lateRequests atomic.Uint64 // that sessions have written to a database after its place was lost, see ServedBy

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	close  sync.Once

	workers workers
}

var _ redis.Hook = (*Hook)(nil)

// mustExist panics with words for a hook that is nil: go-redis calls the factories while it adds the hook.
func (h *Hook) mustExist() {
	if h == nil {
		panic("multidb: the hook that is added is nil: look at the error that New has returned with it")
	}
}

func (h *Hook) isClosed() bool { return h.ctx.Err() != nil }

// DialHook makes the client dial the active database, whatever address it was made with. go-redis calls it; it is pure,
// and what it returns is safe for concurrent use.
//
// It does not call the next hook, because the options of a database say how to reach it. The next hook ends in the
// dialer of the client, whose address may look the same and lead elsewhere. All Sentinel clients have one address,
// and an address shows neither TLS nor a tunnel. Dial hooks added before this one see every dial, those added
// after it see none.
func (h *Hook) DialHook(redis.DialHook) redis.DialHook {
	h.mustExist()
	return h.dialer.Hook(conn.NewClient())
}

// ProcessHook watches the outcome of single commands. go-redis calls it; it is pure, and what it returns is safe for
// concurrent use.
//
// A command that succeeds pays for one atomic load, the look at its name, and a counter.
func (h *Hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	h.mustExist()
	return h.runner.Hook(next)
}

// ProcessPipelineHook is ProcessHook for pipelines and transactions. go-redis calls it; it is pure, and what it returns
// is safe for concurrent use.
func (h *Hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	h.mustExist()
	return h.runner.PipelineHook(next)
}

// isCluster reports whether the databases are clusters. All of them are, or none.
func (h *Hook) isCluster() bool { return h.selector.Current().DB.Cluster != nil }

// known finds a database for a method of control.
func (h *Hook) known(name string) (*database.Database, error) {
	if h.isClosed() {
		return nil, ErrClosed
	}
	if db := h.selector.Find(name); db != nil {
		return db, nil
	}
	var names []string
	for _, db := range h.selector.All() {
		names = append(names, db.Name)
	}
	return nil, fmt.Errorf("%w %q (known: %q)", ErrUnknownDatabase, name, names)
}

// prepare runs before a planned switch to db.
func (h *Hook) prepare(db *database.Database) {
	now := h.selector.Current()
	if now.DB != db {
		h.preparers.Call(db.Name)
		now.Announce(h.ctx, db, h.workers.Go)
	}
}
