package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/clusterclient"
	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/failure"
	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/ownfault"
	"github.com/redishook/multidb/internal/replay"
	"github.com/redishook/multidb/internal/selector"
)

// What happens to work that failed. Nothing here runs on the healthy path: the failsafe-go executor costs a microsecond
// and 20 allocations, so it is entered after a failure, and given that failure as its first attempt. From there on the
// number of attempts, backoff and jitter are failsafe-go's.

// verdictPatience bounds the wait for the verdict on a suspected database; a confirmation takes Health.Timeout.
const verdictPatience = 5 * time.Second

func newRetry(attempts int, least, most time.Duration) failsafe.Executor[any] {
	policy := retrypolicy.NewBuilder[any]().
		WithMaxAttempts(max(1, attempts)).
		WithBackoff(least, most).
		WithJitterFactor(0.2).
		WithDelayFunc(func(exec failsafe.ExecutionAttempt[any]) time.Duration {
			if errors.Is(exec.LastError(), errMoved) {
				return 0
			}
			return -1 // the backoff
		}).
		AbortIf(func(_ any, err error) bool {
			var a *attempt
			return errors.As(err, &a) && a.final
		}).
		ReturnLastFailure().
		Build()
	return failsafe.With[any](policy)
}

// AfterFailure decides what becomes of a command whose first attempt failed.
func (r *Runner) AfterFailure(ctx context.Context, cmd redis.Cmder, next redis.ProcessHook, now *selector.Epoch, err error) error {
	if !r.cfg.Routing() {
		return err // another's client, over connections of its own: nothing of it is about our databases
	}
	if cmd.Name() == "shutdown" && errors.Is(err, io.EOF) {
		return io.EOF // that very value means success to go-redis
	}
	err = r.errors.ofThisCommand(err, func() bool { return r.cfg.Rules.May(ctx, cmd) })
	first := r.classifyCommand(ctx, now, cmd, r.withoutSetup(now, err))
	if first.final || goredis.OnlyLooksOn() {
		return r.errors.ofSetup(r.errors.ofCode(cmd, r.countUnknown(ctx, now, first.err)))
	}
	return r.errors.ofSetup(r.errors.ofCode(cmd, r.countUnknown(ctx, now, r.runAgain(ctx, first, func(ctx context.Context, now *selector.Epoch) *attempt {
		// The error of the last attempt stays on the command: go-redis overwrites it in the end, and where next does
		// not run anything (the full-duplex autopipeliner lets hooks only look on) a cleared one would turn the
		// failure into a success.
		again := next(ctx, cmd)
		if again == nil {
			now.DB.Traffic.Succeeded()
			return nil
		}
		if !goredis.IsReply(err) && sameError(again, err) { // nothing was run. (Replies of one text are always the same.)
			return &attempt{err: goredis.Cause(err), final: true}
		}
		err = again
		return r.classifyCommand(ctx, now, cmd, r.withoutSetup(now, err))
	}))))
}

// countUnknown counts an error that leaves a caller in doubt, and returns it. A caller that gave up, or has closed its client,
// counts only if something was wrong with the database, or every short deadline would look like an incident.
func (r *Runner) countUnknown(ctx context.Context, now *selector.Epoch, err error) error {
	sent := r.errors.sent(err)
	if sent == nil {
		return err
	}
	db := database.Find(sent.ID)
	if db == nil {
		return err
	}
	own := failure.GaveUp(ctx) || errors.Is(err, net.ErrClosed)
	if own && !now.Superseded() && db.Health.Pending() == nil && db.Health.Usable() {
		return err
	}
	db.Traffic.Unknown.Add(1)
	return err
}

// classifyCommand is classifyAttempt for a single command.
func (r *Runner) classifyCommand(ctx context.Context, now *selector.Epoch, cmd redis.Cmder, err error) *attempt {
	r.databaseOf(now, err).Replies.Add(err, nil)
	a := r.classifyAttempt(ctx, now, cmd, err, func() bool { return r.cfg.Rules.May(ctx, cmd) })
	a.waits = replay.Waits(cmd)
	return a
}

// classifyAttempt counts the failure against the database it happened on and says whether the work may be run again. An error that
// is an answer like any other is final, and it is what the caller gets. cmd is nil for several commands.
func (r *Runner) classifyAttempt(ctx context.Context, now *selector.Epoch, cmd redis.Cmder, err error, replayable func() bool) *attempt {
	kind := r.replies.classify(ctx, cmd, err)
	db := r.databaseOf(now, err)
	if db.Cluster != nil && clusterclient.Misrouted(err) {
		kind = misrouted
		db.Cluster.Suspect()
	}
	switch {
	case kind == answered:
		db.Traffic.Succeeded()
		return &attempt{err: goredis.Cause(err), kind: kind, db: db, final: true}
	case kind == refusedHere:
		failedAs(db, kind)
		db.Traffic.Failures.Add(1) // and no detector is told: the database keeps its place
		r.logRefusal(db, cmd, err)
	case kind == lost && impatient(cmd, err):
	case kind.failed() && !ourDoing(err):
		failedAs(db, kind)
		if goredis.IsReply(err) {
			r.logRefusal(db, cmd, err)
		}
		db.Health.Failed(err)
	}
	a := &attempt{err: goredis.Cause(clusterclient.InsteadOf(err)), kind: kind, db: db, moved: now.Superseded()}
	switch kind {
	case notSent, cannotServe, misrouted:
		a.final = failure.GaveUp(ctx) || r.isClosed() || cmd != nil && vetoed(err, cmd) || ownfault.Is(err)
	case lost, cannotServeInside:
		a.final = failure.GaveUp(ctx) || r.isClosed() || !replayable()
	case sessionDead:
		a.final = true
		a.err = r.errors.deadSession(db, err)
	default:
		a.final = true
	}
	a.final = a.final || r.cfg.DryRun // there is no switch to wait for, and go-redis has made its own attempts
	return a
}

// vetoed reports whether one of the commands must not be retried (NoRetry), not even where nothing was executed. It may
// still have its first run, if the gate has let nothing of it pass.
func vetoed(err error, cmds ...redis.Cmder) bool {
	return !ourDoing(err) && slices.ContainsFunc(cmds, redis.Cmder.NoRetry)
}

// runAgain runs failed work again until it is answered, may not be run again, or has used up its attempts. It returns the
// error of the answer, if the answer is one.
func (r *Runner) runAgain(ctx context.Context, first *attempt, run func(context.Context, *selector.Epoch) *attempt) error {
	last, sent := first, r.errors.sent(first.err)
	doubt := false // an attempt may have executed it
	hangs := first.hangs()
	ctx = r.withTakeover(ctx)
	var refused refusals
	refused.add(r, r.choice.Current().DB, first)
	attempts := func(exec failsafe.Execution[any]) (any, error) {
		if exec.IsFirstAttempt() {
			return nil, r.beforeNext(ctx, last)
		}
		now := r.choice.Current()
		if now.Down {
			var err error
			if now, err = r.awaitDatabase(ctx, now, last.err); err != nil {
				last = &attempt{err: err, final: true}
				return nil, last
			}
		}
		if last.kind == lost || last.kind == cannotServeInside {
			last.db.Traffic.Replayed.Add(1)
			doubt = true
		}
		result := run(withAttempt(ctx, exec.Attempts(), last), now)
		if result == nil {
			last = nil
			return nil, nil
		}
		last = result
		if hangs += last.hangs(); hangs > 1 {
			last.final = true
		}
		refused.add(r, now.DB, last)
		if sent == nil {
			sent = r.errors.sent(last.err)
		}
		if last.final {
			return nil, last
		}
		return nil, r.beforeNext(ctx, last)
	}
	_, err := r.retry.WithContext(ctx).GetWithExecution(attempts)
	for last != nil && last.resumes(ctx) {
		_, err = r.retry.WithContext(ctx).GetWithExecution(attempts)
	}
	if last == nil {
		// The work is done, even if the caller's context ended meanwhile and failsafe-go says so.
		return nil
	}
	if err = r.errors.finish(ctx, last, sent, err); doubt {
		return r.errors.unsafe(err)
	}
	return err
}

// finish is the error that the caller gets after all attempts. If one of them was sent, the last one's "not sent" is not
// the whole truth; and if the caller gave up meanwhile, that shows as well. An answer is the whole truth.
func (f failures) finish(ctx context.Context, ending *attempt, sent *failure.Failure, ended error) error {
	last := ending.err
	if ending.kind.told() {
		return last
	}
	if sent != nil && f.sent(last) == nil {
		if ending.kind == sessionDead {
			last = f.New(sent.Again(true, sent.Err)) // which is why the session is dead
		} else {
			last = f.New(sent.Again(true, fmt.Errorf("%w; a later attempt: %w", sent.Err, last)))
		}
	}
	if gaveUp := ctx.Err(); gaveUp != nil && errors.Is(ended, gaveUp) && !errors.Is(last, gaveUp) {
		return fmt.Errorf("%w: %w", gaveUp, last)
	}
	return last
}
