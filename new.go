package multidb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/clusterhook"
	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/dialer"
	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/hint"
	"github.com/redishook/multidb/internal/monitor"
	"github.com/redishook/multidb/internal/prepare"
	"github.com/redishook/multidb/internal/runner"
	"github.com/redishook/multidb/internal/selector"
	"github.com/redishook/multidb/internal/switchover"
)

// The life of a hook: how it is put together, begins and ends.

// New makes a hook and waits until as many databases are healthy as Options.Initial says. If ctx ends first, it
// returns an error that says what each database answered, and nothing is left running. It reports everything that
// is wrong with the options at once, each problem with the name of its field.
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
	h := &Hook{opt: opt, rules: rules, classes: classesOf(rules), startedAt: time.Now()}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.events = newDispatcher(opt.Events, opt.Logger)
	h.selector = selector.New(selector.Config{
		Strategy: strategyOf(opt.Strategy), DryRun: opt.DryRun, DrainTimeout: opt.DrainTimeout, Checks: opt.Health.Checks,
		Listener: h.events,
		Moved: func(old *selector.Epoch, to *database.Database, down, planned, drains bool) {
			h.switchover.Moved(old, to, down, planned, drains)
		},
	})
	h.dialer = dialer.New(dialer.Config{
		Choice: h.selector, Errors: commandErrors{}, DryRun: opt.DryRun, MaxWait: opt.MaxWait, Ctx: h.ctx, OwnFault: h.events.ownFault,
	})
	h.runner = runner.New(runner.Config{
		Choice: h.selector, Rules: rules, Replies: opt.meaning(), Errors: commandErrors{}, Waiting: &h.waiting,
		MaxAttempts: opt.Retry.MaxAttempts, MinBackoff: opt.Retry.MinBackoff, MaxBackoff: opt.Retry.MaxBackoff,
		MaxWait: opt.MaxWait, DryRun: opt.DryRun, Owner: h, Routing: h.dialer.Routing, Ctx: h.ctx, Refused: h.events.refusal,
	})
	h.monitor = monitor.New(monitor.Config{
		Choice: h.selector, Listener: h.events, DryRun: opt.DryRun, Limits: limitsOf(&opt), Dials: h.dialer.Dials, Ctx: h.ctx,
	})
	h.clusters = clusterhook.New(clusterhook.Config{
		Choice: h.selector, Runner: h.runner, Dialer: h.dialer, Errors: commandErrors{}, Old: oldConns(h.ctx), Waiting: &h.waiting,
		Ctx: h.ctx, Go: h.workers.Go,
	})
	h.switchover = switchover.New(switchover.Config{
		Choice: h.selector, Waiting: &h.waiting, DrainTimeout: opt.DrainTimeout, FollowEpoch: h.clusters.FollowEpoch, Listener: h.events,
		Limits: limitsOf(&opt), Ctx: h.ctx, Go: h.workers.Go,
	})
	h.preparers = prepare.New(prepare.Config{Contain: h.events.Contain, Ctx: h.ctx, Go: h.workers.Go})
	if err := h.start(ctx); err != nil {
		_ = h.Close()
		return nil, hint.To(err, h.opt.anyTLS())
	}
	warnOfSamePlaces(opt.Databases, h.events)
	openHooks.Store(h, nil)
	return h, nil
}

// limitsOf are how long a database may owe something.
func limitsOf(opt *Options) database.Limits {
	return database.Limits{Stall: opt.Health.StallTimeout, Total: opt.Health.Timeout, Pause: opt.Health.ActiveInterval}
}

// start builds the databases, begins their health checks and waits for the initial policy.
func (h *Hook) start(ctx context.Context) error {
	dbs, err := builder{h}.buildAll()
	if err != nil {
		return err
	}
	h.selector.Begin(dbs)
	h.events.Start()
	for _, db := range dbs {
		h.workers.Go(func() { db.Health.Run(db.Order) })
	}
	first := initial{h.selector, h.events, h.opt.Initial, h.opt.Health.Timeout}
	if err := first.await(ctx); err != nil {
		return err
	}
	h.workers.Go(h.monitor.Run)
	return nil
}

// callbackPatience is how long Close waits for a callback.
const callbackPatience = 5 * time.Second

// Close stops health checks, failover and events, waits for every goroutine that the hook has started, and closes what
// it has opened for itself. The clients stay open, and with them their connections: the hook lets their commands
// through to the database that was active last. A group watched by Sentinel is the exception: new connections to
// it fail from then on. The client that knows where its master is belongs to the hook. Further calls do nothing.
//
// It waits for callbacks of Events that are being called, and for what is left to be told, but for no longer than
// 5 s. A callback that has not returned by then is left to itself, and the error says so. Not to be called from a
// callback, which would wait for itself, or from a probe.
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
		err = errors.Join(err, h.events.Wait(callbackPatience))
	})
	return err
}

// meaning is Options.Replies as the runner asks it.
func (o *Options) meaning() func(error, runner.Meaning) runner.Meaning {
	if o.Replies == nil {
		return nil
	}
	return func(err error, known runner.Meaning) runner.Meaning {
		return runner.Meaning(o.Replies(err, ReplyMeaning(known)))
	}
}

// warnOfSamePlaces finds databases that are one and the same. What a Dialer leads to is not known, nor who is master of a group.
func warnOfSamePlaces(dbs []Database, events *dispatcher) {
	seen := make(map[string]string)
	for _, db := range dbs {
		opt := db.Options
		if db.URL != "" {
			opt, _ = redis.ParseURL(db.URL) // it has been validated
		}
		if opt == nil || opt.Dialer != nil || opt.Addr == "" {
			continue
		}
		place := fmt.Sprint(opt.Network, " ", opt.Addr, " ", opt.DB)
		if first, ok := seen[place]; ok {
			events.Push(func() {
				events.Log.Warn("multidb: two databases have the same address and index: a failover between them changes nothing",
					"database", first, "other", db.Name)
			})
			continue
		}
		seen[place] = db.Name
	}
}
