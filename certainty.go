package multidb

import (
	"errors"
	"net"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/replay"
	"github.com/redishook/multidb/internal/reply"
)

// Errors that say "not executed" by themselves, of work of which a part may have been executed. They are marked, because
// [SafeToRetry] is given an error and nothing else.

// maybeExecuted is such an error. Its text, its cause and the types behind it are those of the error that it marks.
type maybeExecuted struct{ err error }

func (e *maybeExecuted) Error() string { return e.err.Error() }
func (e *maybeExecuted) Unwrap() error { return e.err }
func (e *maybeExecuted) unsafe()       {}

// maybeExecutedReply marks a reply, and stays one for err.(redis.Error).
type maybeExecutedReply struct{ maybeExecuted }

// RedisError makes it a redis.Error.
func (*maybeExecutedReply) RedisError() {}

// maybeExecutedNet marks a net.Error, and stays one for err.(net.Error).
type maybeExecutedNet struct {
	maybeExecuted
	net net.Error
}

func (e *maybeExecutedNet) Timeout() bool   { return e.net.Timeout() }
func (e *maybeExecutedNet) Temporary() bool { return goredis.Temporary(e.net) }

// unsafeToRetry marks an error, if SafeToRetry would hold for it.
func unsafeToRetry(err error) error {
	if !SafeToRetry(err) {
		return err
	}
	mark := maybeExecuted{err}
	switch e := err.(type) { //nolint:errorlint // a mark keeps the type itself; what is behind is found by errors.As
	case redis.Error:
		return &maybeExecutedReply{mark}
	case net.Error:
		return &maybeExecutedNet{mark, e}
	}
	return &mark
}

// ofCode marks the reply of a command that runs code of a user's (a script, a function, a command that is not known) unless the
// server gave that reply before it ran the code. Such code may have written before it answered TRYAGAIN or READONLY.
func ofCode(cmd redis.Cmder, err error) error {
	if err != redis.Nil && goredis.IsReply(err) && replay.RunsCode(cmd) && !reply.Unread(goredis.ReplyText(err)) { //nolint:errorlint // never wrapped
		return unsafeToRetry(err)
	}
	return err
}

// ofCodeInBatch is ofCode for each command of a batch. A transaction whose EXEC was answered with an error has run no code: its
// commands were refused when they were to be queued.
func ofCodeInBatch(cmds []redis.Cmder) {
	if goredis.IsTxPipeline(cmds) && goredis.IsReply(cmds[len(cmds)-1].Err()) {
		return
	}
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && replay.RunsCode(cmd) {
			cmd.SetErr(ofCode(cmd, err))
		}
	}
}

// ofBatch marks the error of a batch, which is that of one of its commands, if any other command may have written.
func (h *Hook) ofBatch(cmds []redis.Cmder, err error) error {
	if SafeToRetry(err) && h.wrote(cmds) {
		return unsafeToRetry(err)
	}
	return err
}

// wrote reports whether a command of a batch may have written. What is between MULTI and EXEC has, if EXEC was answered.
func (h *Hook) wrote(cmds []redis.Cmder) bool {
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
		rung := h.rules.Rung(cmd)
		switch reads := rung >= replay.Connection && rung <= replay.Read; {
		case reads || !executed(cmd.Err()):
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
func executed(err error) bool {
	return err == nil || !SafeToRetry(err) && !errors.Is(err, redis.TxFailedErr)
}
