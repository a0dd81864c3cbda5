package runner

import (
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/failure"
	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/replay"
	"github.com/redishook/multidb/internal/reply"
)

// Errors that look safe to retry and are not: a part of the work may have been executed.

// ofThisCommand makes the error of a command one that says "not sent", if it says "sent" for the sake of others: full duplex sends
// nothing again but what is harmless, and gives one error to all that it holds.
func (f failures) ofThisCommand(err error, harmless func() bool) error {
	var before *goredis.SentBefore
	if !errors.As(err, &before) || harmless() {
		return err
	}
	if failed := f.Find(err); failed != nil {
		return f.New(failed.Again(false, before.Err))
	}
	return err
}

// ofCode marks the reply of a command that runs code of a user's (a script, a function, a command that is not known) unless the
// server gave that reply before it ran the code. Such code may have written before it answered TRYAGAIN or READONLY.
func (f failures) ofCode(cmd redis.Cmder, err error) error {
	if err != redis.Nil && goredis.IsReply(err) && replay.RunsCode(cmd) && !reply.Unread(goredis.ReplyText(err)) { //nolint:errorlint // never wrapped
		return f.unsafe(err)
	}
	return err
}

// ofCodeInBatch is ofCode for each command of a batch. A transaction whose EXEC was answered with an error has run no code: its
// commands were refused when they were to be queued.
func (f failures) ofCodeInBatch(cmds []redis.Cmder) {
	if goredis.IsTxPipeline(cmds) && goredis.IsReply(cmds[len(cmds)-1].Err()) {
		return
	}
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && replay.RunsCode(cmd) {
			cmd.SetErr(f.ofCode(cmd, err))
		}
	}
}

// ofBatch marks the error of a batch, which is that of one of its commands, if any other command may have written.
func (r *Runner) ofBatch(cmds []redis.Cmder, err error) error {
	if failure.SafeToRetry(r.errors, err) && r.wrote(cmds) {
		return r.errors.unsafe(err)
	}
	return err
}

// wrote reports whether a command of a batch may have written. What is between MULTI and EXEC has, if EXEC was answered.
func (r *Runner) wrote(cmds []redis.Cmder) bool {
	queued, inside := false, false // between MULTI and EXEC; and there is a write there
	for _, cmd := range cmds {
		switch cmd.Name() {
		case "multi":
			queued, inside = cmd.Err() == nil, false
			continue
		case "discard":
			queued = false
			continue
		case "exec":
			if queued && inside && cmd.Err() == nil {
				return true
			}
			queued = false
			continue
		}
		rung := r.cfg.Rules.Rung(cmd)
		switch reads := rung >= replay.Connection && rung <= replay.Read; {
		case reads || !r.errors.executed(cmd.Err()):
		case !queued:
			return true
		default:
			inside = true
		}
	}
	return false
}

// executed reports whether the command that ended with err may have been executed: it was answered, and the answer is not one
// that says otherwise.
func (f failures) executed(err error) bool {
	return err == nil || !failure.SafeToRetry(f, err) && !errors.Is(err, redis.TxFailedErr)
}
