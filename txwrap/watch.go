package txwrap

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/wait"
)

// Tx is one attempt of a transaction: a *redis.Tx that knows its number and its database. Not safe for concurrent use,
// like *redis.Tx, and of no use after the function has returned.
type Tx struct {
	*redis.Tx

	attempt  int
	database string
}

// Attempt returns the number of this attempt, from 1. Lost races count as well.
func (tx *Tx) Attempt() int { return tx.attempt }

// Database returns the name of the database that the keys are watched on. If there are none, it is the one that
// was active when the attempt began. Empty for a client without the hook.
func (tx *Tx) Database() string { return tx.database }

// Watch runs fn in a transaction that watches the keys, and again as the package says, with the default [Options].
func Watch(ctx context.Context, rdb redis.UniversalClient, fn func(*Tx) error, keys ...string) error {
	return Options{}.Watch(ctx, rdb, fn, keys...)
}

// Watch runs fn in a transaction that watches the keys: fn reads through tx, and writes in tx.TxPipelined. It is run
// again as the package says, and must begin from nothing each time: only the results of the last attempt count.
//
// The error is that of the last attempt: redis.TxFailedErr if the budget for races is spent, and otherwise what fn
// or the client returned. A database may have refused a transaction that it cannot serve now. Then its reply
// (READONLY) comes before the EXECABORT that go-redis makes of it. It is in an [*UnansweredError] if EXEC was sent
// and not answered, in this attempt or an earlier one. It carries the error of ctx as well if that ended between
// two attempts. Safe for concurrent use.
func (o Options) Watch(ctx context.Context, rdb redis.UniversalClient, fn func(*Tx) error, keys ...string) error {
	return o.watch(ctx, rdb, hookOf(ctx, rdb), fn, keys)
}

func (o Options) watch(
	ctx context.Context, rdb redis.UniversalClient, hook *multidb.Hook, fn func(*Tx) error, keys []string,
) error {
	r := &run{opt: o.withDefaults(), rdb: rdb, hook: hook, fn: fn, keys: keys}
	if _, r.onCluster = rdb.(*redis.ClusterClient); r.onCluster {
		var err error
		if r.slot, err = slotOf(keys); err != nil {
			return err
		}
	}
	for {
		err := r.attempt(ctx)
		pause, again := r.again(err)
		if !again {
			return r.result(err)
		}
		if !wait.For(ctx, pause) {
			return fmt.Errorf("%w: %w", ctx.Err(), r.result(err))
		}
	}
}

// hookOf finds the hook that the client follows: its own, or that of its connections if it is wrapped in another type or is a
// WithTimeout clone. Without keys, go-redis sends nothing before the function or after it.
func hookOf(ctx context.Context, rdb redis.UniversalClient) *multidb.Hook {
	hook := multidb.HookOf(rdb)
	switch rdb.(type) {
	case *redis.ClusterClient:
		return hook
	case *redis.Ring:
		return nil
	}
	if hook == nil && multidb.AnyHook() {
		_ = rdb.Watch(ctx, func(tx *redis.Tx) error {
			hook = multidb.HookOfTx(ctx, tx)
			return nil
		})
	}
	return hook
}

// run is one call of Watch.
type run struct {
	opt  Options
	rdb  redis.UniversalClient
	hook *multidb.Hook
	fn   func(*Tx) error
	keys []string

	onCluster bool
	slot      int // of the keys, on a cluster

	attempts, races, losses, pauses int

	// The first EXEC that was sent and not answered, and the number of its attempt. It may have been executed, whatever
	// becomes of the attempts after it.
	unanswered   *multidb.CommandError
	unansweredBy int

	// Of the last attempt.
	began uint64 // the choice of the hook when it began
	seen  *recorder
}

// attempt runs the function once.
func (r *run) attempt(ctx context.Context) error {
	r.attempts++
	r.seen = &recorder{hook: r.hook}
	err := r.watchOn(ctx, func(tx *redis.Tx) error {
		tx.AddHook(r.seen)
		defer func() { r.seen.over = true }()
		database, err := r.watch(ctx, tx)
		if err != nil {
			return err
		}
		return r.fn(&Tx{Tx: tx, attempt: r.attempts, database: database})
	})
	if r.unanswered == nil && r.seen.unanswered != nil {
		r.unanswered, r.unansweredBy = r.seen.unanswered, r.attempts
	}
	return err
}

// watch sends WATCH and finds out on which database. A switch in that moment leaves it open which one the connection
// belongs to, so that is a failure like any other before EXEC.
func (r *run) watch(ctx context.Context, tx *redis.Tx) (string, error) {
	if r.hook == nil {
		return "", nil
	}
	before := r.hook.Choice()
	r.began = before.Number
	if len(r.keys) == 0 {
		return before.Database, nil
	}
	if err := tx.Watch(ctx, r.keys...).Err(); err != nil {
		return "", err
	}
	if r.hook.Choice().Number != before.Number {
		return "", &multidb.CommandError{Err: errMoved}
	}
	return before.Database, nil
}

var errMoved = errors.New("txwrap: the active database changed while the keys were being watched")

// again decides about another attempt, and how long to wait before it.
func (r *run) again(err error) (pause time.Duration, again bool) {
	switch {
	case err == nil, r.seen.committed:
		return 0, false
	case r.lostRace(err):
		r.races++
		return r.opt.jitter(), r.races <= r.opt.AfterRace
	case r.hook == nil:
		return 0, false
	case r.elsewhere(err):
		if now := r.hook.Choice(); now.Number == r.began {
			r.hook.ReportMoved(now.Database)
			pause = r.backoff()
		}
		return pause, r.mayLose()
	case r.seen.unanswered != nil && !r.opt.RunUnansweredAgain:
		return 0, false
	case r.seen.unanswered == nil && !r.seen.harmless(err):
		return 0, false
	case r.seen.unanswered == nil && errors.Is(err, multidb.ErrNoDatabase):
		// The hook has waited as long as its MaxWait says, and another attempt would wait as long again.
		return 0, false
	}
	if errors.Is(err, errMoved) {
		return 0, true // once per switch, so they bound it
	}
	if r.hook.Choice().Number == r.began {
		pause = r.backoff()
	}
	return pause, r.mayLose()
}

// mayLose counts an attempt that was lost, and reports whether there may be another one. While the cluster in use replaces a master,
// attempts do not count. They end nevertheless: a cluster whose time for that is over is left, or nothing is usable.
func (r *run) mayLose() bool {
	if r.opt.AfterSwitch > 0 && r.onCluster && r.replacesMaster() {
		return true
	}
	r.losses++
	return r.losses <= r.opt.AfterSwitch
}

// replacesMaster reports whether the cluster in use is degraded.
func (r *run) replacesMaster() bool {
	now := r.hook.Choice().Database
	for _, db := range r.hook.Stats().Databases {
		if db.Name == now {
			return !db.Degraded.IsZero()
		}
	}
	return false
}

// backoff is the pause before an attempt where there was no switch.
func (r *run) backoff() time.Duration {
	r.pauses++
	return backoff(r.pauses - 1)
}

// lostRace reports that a watched key had changed. An EXEC that the function has spelled out answers with nil then.
func (r *run) lostRace(err error) bool {
	return r.seen.unanswered == nil && (errors.Is(err, redis.TxFailedErr) || r.seen.raced && errors.Is(err, redis.Nil))
}

// result is the error of the last attempt, as the caller gets it.
func (r *run) result(err error) error {
	err = r.explainSlot(r.seen.refused.explain(err))
	if r.seen.raced && errors.Is(err, redis.Nil) && !errors.Is(err, redis.TxFailedErr) {
		err = fmt.Errorf("%w (%w)", redis.TxFailedErr, err)
	}
	if lost := r.seen.lostWrite; err != nil && lost != nil && sentError(err) == nil {
		// The function has ignored it. What it returns instead may look safe to retry, and the function is not.
		err = fmt.Errorf("txwrap: a write outside the transaction: %w (then: %w)", lost, err)
	}
	if err == nil || r.unanswered == nil {
		return err
	}
	return &UnansweredError{Database: r.unanswered.Database, Attempt: r.unansweredBy, Err: err, exec: r.unanswered}
}
