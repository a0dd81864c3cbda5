package multidb

import (
	"context"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"
)

// settlePipeline decides what becomes of a pipeline or transaction that did not go through. What has been answered
// keeps its answer; only the unanswered tail is looked at, and it is run again, in order, only if all of it may be.
func (h *Hook) settlePipeline(
	ctx context.Context, cmds []redis.Cmder, next redis.ProcessPipelineHook, now *choice, err error,
) error {
	tail, first := h.judgeBatch(ctx, now, cmds, err)
	if first == nil || first.final {
		return h.finishBatch(cmds, err)
	}
	err = h.runAgain(ctx, first, func(now *choice) *attempt {
		setErrors(tail, nil) // a stale error would outlive the success
		err := next(ctx, tail)
		if err == nil {
			now.db.succeeded(0)
			return nil
		}
		var result *attempt
		tail, result = h.judgeBatch(ctx, now, tail, err)
		return result
	})
	if errors.Is(err, ErrNoDatabase) {
		setErrors(tail, err)
	}
	return h.finishBatch(cmds, err)
}

// judgeBatch counts the failure of a batch once, and returns the tail that is not answered with the decision about it;
// nil if everything is answered.
func (h *Hook) judgeBatch(ctx context.Context, now *choice, cmds []redis.Cmder, err error) ([]redis.Cmder, *attempt) {
	from := unanswered(ctx, cmds)
	if from == len(cmds) {
		if !classify(ctx, err).failed() {
			// Replies, or an error that was made on this side (another hook, an argument): not the database's.
			return nil, h.judge(ctx, now, err, func() bool { return false })
		}
		from = 0
	}
	if !isTransaction(cmds) {
		tail := cmds[from:]
		return tail, h.judge(ctx, now, firstError(tail, err), func() bool { return h.rules.may(ctx, tail...) })
	}
	// A transaction is one unit. If any of its commands has a result, EXEC was executed.
	executed := false
	for _, cmd := range cmds[1 : len(cmds)-1] {
		executed = executed || cmd.Err() == nil
	}
	result := h.judge(ctx, now, firstError(cmds[from:], err), func() bool { return !executed && h.rules.may(ctx, cmds...) })
	if result != nil && isReply(result.err) {
		// "Cannot serve" as an answer to MULTI or to a queued command proves nothing about the others.
		result.final = true
	}
	return cmds, result
}

// unanswered returns the index of the first command of the unanswered tail, or len(cmds). Commands that the server
// answered with "cannot serve now" are as good as unanswered if they are the whole rest: one of them between two that
// were executed is left alone, for running it after the second would change the order.
func unanswered(ctx context.Context, cmds []redis.Cmder) int {
	from := len(cmds)
	for i := len(cmds) - 1; i >= 0; i-- {
		err := cmds[i].Err()
		if err == nil {
			break
		}
		if kind := classify(ctx, err); kind != lost && kind != notSent && kind != cannotServe {
			break
		}
		from = i
	}
	return from
}

// firstError is the error that decides about the tail: a lost reply, if there is one, is worse than anything else in it.
func firstError(tail []redis.Cmder, otherwise error) error {
	var first error
	for _, cmd := range tail {
		err := cmd.Err()
		if first == nil {
			first = err
		}
		var failed *CommandError
		if errors.As(err, &failed) && failed.Sent {
			return err
		}
	}
	if first == nil {
		return otherwise
	}
	return first
}

// finishBatch makes the causes of failures visible again, on each command and in the error of the batch.
func (h *Hook) finishBatch(cmds []redis.Cmder, err error) error {
	var first error
	for _, cmd := range cmds {
		if e := cmd.Err(); e != nil {
			if r := reveal(e); r != e { //nolint:errorlint // the same value, not the same kind
				cmd.SetErr(r)
				e = r
			}
			if first == nil {
				first = e
			}
		}
	}
	if err != nil && first == nil {
		// The batch failed as a whole and go-redis left the commands as they were.
		return reveal(err)
	}
	return first
}

// settleHandshake finishes a batch that is never run again.
func (h *Hook) settleHandshake(cmds []redis.Cmder, err error) error {
	if err == nil {
		return nil
	}
	return h.finishBatch(cmds, err)
}

// isTransaction tells the batch of a TxPipeline, which go-redis wraps in MULTI and EXEC.
func isTransaction(cmds []redis.Cmder) bool {
	return len(cmds) > 1 && strings.EqualFold(cmds[0].Name(), "multi") && strings.EqualFold(cmds[len(cmds)-1].Name(), "exec")
}
