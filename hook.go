package multidb

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/blocked"
	"github.com/redishook/multidb/internal/conn"
	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/hint"
	"github.com/redishook/multidb/internal/replay"
	"github.com/redishook/multidb/internal/runner"
	"github.com/redishook/multidb/internal/selector"
)

// Hook routes the connections of the clients that it is added to. Make it with [New], add it with rdb.AddHook(hook) or
// [Hook.Attach], end it with [Hook.Close]. One hook may serve several clients. Safe for concurrent use.
type Hook struct {
	opt    Options
	rules  replay.Rules
	events *dispatcher
	runner *runner.Runner

	selector *selector.Selector

	classes *conn.Table // what requests are, for the ledgers of connections

	routing  atomic.Bool   // a client has asked for a connection; before that, what passes is over others' connections
	dials    atomic.Uint64 // connections dialed for clients
	unrouted atomic.Bool   // the warning about them has been given

	startedAt time.Time

	resting     atomic.Bool   // the monitor looks seldom, because nothing is outstanding
	monitorWake chan struct{} // ends that, capacity 1

	preparers preparers
	waiting   blocked.Commands
	clusters  clusterClients

	lateRequests atomic.Uint64 // that sessions have written to a database after its place was lost, see ServedBy

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	close  sync.Once

	workers workers
}

var _ redis.Hook = (*Hook)(nil)

// New makes a hook and waits until as many databases are healthy as Options.Initial says, or until ctx ends: then it
// returns an error that says what each database answered, and nothing is left running. It reports everything that is
// wrong with the options at once, each problem with the name of its field.
func New(ctx context.Context, opt Options) (*Hook, error) {
	if err := requireContext(ctx, "New"); err != nil {
		return nil, err
	}
	if err := goredis.SelfTest(); err != nil {
		return nil, err
	}
	opt = opt.withDefaults()
	rules, err := opt.validate()
	if err != nil {
		return nil, err
	}
	if err := trySeams(opt.Databases); err != nil {
		return nil, err
	}
	h := &Hook{opt: opt, rules: rules, classes: classesOf(rules), startedAt: time.Now(), monitorWake: make(chan struct{}, 1)}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.events = newDispatcher(opt.Events, opt.Logger)
	h.selector = selector.New(selector.Config{
		Strategy: strategyOf(opt.Strategy), DryRun: opt.DryRun, DrainTimeout: opt.DrainTimeout, Checks: opt.Health.Checks,
		Listener: h.events, Moved: h.sweep,
	})
	h.runner = runner.New(runner.Config{
		Choice: h.selector, Rules: rules, Replies: opt.meaning(), Errors: commandErrors{}, Waiting: &h.waiting,
		MaxAttempts: opt.Retry.MaxAttempts, MinBackoff: opt.Retry.MinBackoff, MaxBackoff: opt.Retry.MaxBackoff,
		MaxWait: opt.MaxWait, DryRun: opt.DryRun, Owner: h, Routing: &h.routing, Ctx: h.ctx, Refused: h.events.refusal,
	})
	if err := h.start(ctx); err != nil {
		_ = h.Close()
		return nil, hint.To(err, h.opt.anyTLS())
	}
	h.warnOfSamePlaces()
	openHooks.Store(h, nil)
	return h, nil
}

// start builds the databases, begins their health checks and waits for the initial policy.
func (h *Hook) start(ctx context.Context) error {
	dbs, err := h.buildAll()
	if err != nil {
		return err
	}
	h.selector.Begin(dbs)
	h.events.Start()
	for _, db := range dbs {
		h.workers.Go(func() { db.Health.Run(db.Order) })
	}
	if err := h.awaitInitial(ctx, h.opt.Initial); err != nil {
		return err
	}
	h.workers.Go(h.monitor)
	return nil
}

// callbackPatience is how long Close waits for a callback.
const callbackPatience = 5 * time.Second

// Close stops health checks, failover and events, waits for every goroutine that the hook has started, and closes what
// it has opened for itself. The clients stay open, and with them their connections: the hook lets their commands
// through to the database that was active last. A group watched by Sentinel is the exception: new connections to it fail
// from then on, for the client that knows where its master is belongs to the hook. Further calls do nothing.
//
// It waits for callbacks of Events that are being called, and for what is left to be told, but not for ever: one that has
// not returned within 5 s is left to itself, and the error says so. Not to be called from a callback, which would wait
// for itself, or from a probe.
func (h *Hook) Close() error {
	var err error
	h.close.Do(func() {
		openHooks.Delete(h)
		h.cancel()
		h.selector.Close()
		h.workers.end()
		h.events.Close()
		// Before the wait: what a probe is waiting for comes to an end with its connection, if with nothing else.
		err = h.selector.CloseDatabases()
		h.workers.wait()
		err = errors.Join(err, h.events.Wait(callbackPatience), h.selector.CloseProbes())
	})
	return err
}

// mustExist panics with words for a hook that is nil: go-redis calls the factories while it adds the hook.
func (h *Hook) mustExist() {
	if h == nil {
		panic("multidb: the hook that is added is nil: look at the error that New has returned with it")
	}
}

func (h *Hook) isClosed() bool { return h.ctx.Err() != nil }

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
