package runner

import (
	"context"
	"errors"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/replay"
	"github.com/redishook/multidb/internal/selector"
)

// AfterBatchFailure decides what becomes of a pipeline or transaction that did not go through. What has been answered
// keeps its answer; only the unanswered tail is looked at, and it is run again, in order, only if all of it may be.
func (r *Runner) AfterBatchFailure(
	ctx context.Context, cmds []redis.Cmder, next redis.ProcessPipelineHook, now *selector.Epoch, err error,
) error {
	if !r.cfg.Routing() {
		return err // see AfterFailure
	}
	err = r.batchWithoutSetup(now, cmds, err)
	r.errors.stampUnanswered(cmds, err)
	tail, first := r.classifyBatch(ctx, now, cmds, err)
	switch {
	case first != nil && first.kind == sessionDead:
		goredis.SetErrors(cmds, first.err)
		return first.err
	case first.kind == answered && first.err == nil:
		return nil // a transaction whose commands have their answers: the error is of go-redis' attempt before
	case first.final:
		return r.errors.ofSetup(r.finishFailedBatch(ctx, now, cmds, err))
	}
	again, doubt := tail, false // what is run again, and whether an earlier attempt may have executed it
	err = r.runAgain(ctx, first, func(ctx context.Context, now *selector.Epoch) *attempt {
		doubt = doubt || first.kind == lost || first.kind == cannotServeInside
		goredis.SetErrors(tail, nil) // a stale error would outlive the success
		err := next(ctx, tail)
		if err == nil {
			now.DB.Traffic.Succeeded()
			return nil
		}
		err = r.batchWithoutSetup(now, tail, err)
		r.errors.stampUnanswered(tail, err)
		asked := tail
		if tail, first = r.classifyBatch(ctx, now, tail, err); first.kind == sessionDead {
			tail = asked // go-redis leaves it without an error, if what the session died of is a reply
		}
		return first
	})
	for _, cmd := range tail {
		if err != nil && (first.kind == sessionDead || !r.replies.classify(ctx, cmd, cmd.Err()).told()) {
			cmd.SetErr(err)
		}
	}
	for _, cmd := range again {
		if doubt && cmd.Err() != nil {
			cmd.SetErr(r.errors.unsafe(cmd.Err()))
		}
	}
	return r.errors.ofSetup(r.finishFailedBatch(ctx, now, cmds, err))
}

// classifyBatch counts the failure of a batch once, and returns the tail that is not answered with the decision about it. If
// everything is answered, there is no tail, or it is a transaction with its answer.
func (r *Runner) classifyBatch(ctx context.Context, now *selector.Epoch, cmds []redis.Cmder, err error) ([]redis.Cmder, *attempt) {
	r.countReplies(now, cmds)
	if goredis.IsTxPipeline(cmds) {
		return r.classifyTransaction(ctx, now, cmds, err)
	}
	from := r.replies.unanswered(ctx, cmds)
	if from == len(cmds) {
		// Every command has its answer, or an error that was made on this side (another hook, an argument).
		cmd := commandOf(cmds, err)
		if e := r.replies.cannotServeAmong(cmds); e != nil {
			cmd, err = commandOf(cmds, e), e
		}
		result := r.classifyAttempt(ctx, now, cmd, err, func() bool { return false })
		result.final = true
		return nil, result
	}
	tail := cmds[from:]
	if goredis.IsReply(err) && len(tail) > 0 && tail[0].Err() != nil {
		err = tail[0].Err() // the first error of a batch may be an answer before the tail
	}
	result := r.classifyAttempt(ctx, now, nil, r.errors.decidingError(err, tail), func() bool { return r.cfg.Rules.May(ctx, tail...) })
	for _, cmd := range cmds[:from] {
		if goredis.IsHandshake(cmd) {
			// A SELECT or AUTH before the tail has changed its connection. On another one the tail would run elsewhere.
			result.final = true
		}
	}
	if vetoed(err, tail...) || from > 0 && !replay.WholeTransactions(tail) {
		result.final = true
	}
	return tail, result
}

// countReplies counts the replies in a batch by which the server refuses: each code once, because one reply may be the error
// of many commands.
func (r *Runner) countReplies(now *selector.Epoch, cmds []redis.Cmder) {
	var seen uint32
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil {
			r.databaseOf(now, err).Replies.Add(err, &seen)
		}
	}
}

// commandOf returns the command whose own error err is, or nil. What a reply means depends on the command: a script makes up
// its own.
func commandOf(cmds []redis.Cmder, err error) redis.Cmder {
	if !goredis.IsReply(err) {
		return nil
	}
	for _, cmd := range cmds {
		if e := cmd.Err(); e != nil && sameError(e, err) {
			return cmd
		}
	}
	return nil
}

// stampUnanswered puts the error of a batch that broke off on the commands that have no answer, where go-redis has not. A
// login that was refused is a reply, and go-redis leaves a batch as it is for the sake of one.
func (f failures) stampUnanswered(cmds []redis.Cmder, err error) {
	if failed := f.Find(err); failed != nil && !failed.Sent && !slices.ContainsFunc(cmds, func(cmd redis.Cmder) bool { return cmd.Err() != nil }) {
		goredis.SetErrors(cmds, err)
		return
	}
	goredis.StampUnanswered(cmds, err)
}

// classifyTransaction is classifyBatch for MULTI … EXEC, which is one unit.
func (r *Runner) classifyTransaction(ctx context.Context, now *selector.Epoch, cmds []redis.Cmder, err error) ([]redis.Cmder, *attempt) {
	inside := cmds[1 : len(cmds)-1]
	executed, failed := false, false
	for _, cmd := range inside {
		executed = executed || cmd.Err() == nil || errors.Is(cmd.Err(), redis.Nil)
		failed = failed || cmd.Err() != nil && !goredis.IsReply(cmd.Err())
	}
	if executed && !failed && cmds[0].Err() != nil && r.errors.Find(err) != nil {
		// A failure of the connection is put on every command that has no answer, so here EXEC has answered all of
		// them. The error is a stale one on MULTI itself, of an attempt of go-redis' own before this one. (A reply as
		// the error of the batch proves nothing: a refused login leaves the commands without an error. And if MULTI has
		// none, this is a caller's own of the same types: the answers say "queued", and it is EXEC that has none.)
		cmds[0].SetErr(nil)
		cmds[len(cmds)-1].SetErr(nil)
		now.DB.Traffic.Succeeded()
		return nil, &attempt{kind: answered, db: now.DB, final: true}
	}
	if e := r.replies.cannotServeAmong(inside); e != nil && goredis.IsReply(err) {
		err = e // EXECABORT hides why
	}
	executed = executed && failed
	result := r.classifyAttempt(ctx, now, nil, r.errors.decidingError(err, inside), func() bool { return !executed && r.cfg.Rules.May(ctx, cmds...) })
	if executed || result.kind != notSent && goredis.IsReply(result.err) {
		// "Cannot serve" as an answer to MULTI or to a queued command proves nothing about the others; and if one
		// command has a result, EXEC was executed. A reply to the login is none of these.
		result.final = true
	}
	return cmds, result
}

// unanswered returns the index of the first command of the unanswered tail, or len(cmds). Commands that the server
// answered with "cannot serve now" are as good as unanswered if they are the whole rest: one of them between two that
// were executed is left alone, for running it after the second would change the order.
func (j judge) unanswered(ctx context.Context, cmds []redis.Cmder) int {
	from := len(cmds)
	for i := len(cmds) - 1; i >= 0; i-- {
		err := cmds[i].Err()
		if err == nil {
			break
		}
		if kind := j.classify(ctx, cmds[i], err); kind != lost && kind != notSent && kind != cannotServe {
			break
		}
		from = i
	}
	return from
}

// cannotServeAmong finds a reply by which the database says that it cannot serve now.
func (j judge) cannotServeAmong(cmds []redis.Cmder) error {
	for _, cmd := range cmds {
		err := cmd.Err()
		if err == nil || !goredis.IsReply(err) {
			continue
		}
		if m := j.of(cmd, err).meaning; m == Refused || m == Doubtful {
			return err
		}
	}
	return nil
}

// decidingError is the error that decides about a batch: that a part of it was sent, if anything says so. The error of the batch
// is asked first: go-redis' own second attempt leaves the errors of the first one on the commands.
func (f failures) decidingError(batch error, cmds []redis.Cmder) error {
	if f.sent(batch) != nil {
		return batch
	}
	for _, cmd := range cmds {
		if err := cmd.Err(); f.sent(err) != nil {
			return err
		}
	}
	return batch
}

// finishFailedBatch is finishBatch with what is known of the execution on each error.
func (r *Runner) finishFailedBatch(ctx context.Context, now *selector.Epoch, cmds []redis.Cmder, err error) error {
	r.errors.ofCodeInBatch(cmds)
	return r.ofBatch(cmds, r.countUnknown(ctx, now, r.errors.finishBatch(cmds, err)))
}
