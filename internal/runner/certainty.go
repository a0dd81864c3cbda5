package runner

import (
	"errors"
	"net"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/replay"
	"github.com/redishook/multidb/internal/reply"
)

// Errors that say "not executed" by themselves, of work of which a part may have been executed. They are marked, because
// SafeToRetry is given an error and nothing else.

// SafeToRetry reports whether the command that failed with err was certainly not executed. The root says it in full.
func SafeToRetry(known Errors, err error) bool {
	if err == nil || err == redis.Nil { //nolint:errorlint // the most common answer, before the long way
		return false
	}
	// A chain may hold the errors of several attempts: one that was sent decides.
	sent, unsent := false, errors.Is(err, database.ErrNone)
	goredis.Walk(err, func(e error) bool {
		if goredis.IsBadConn(e) {
			unsent = true // the session was lost before, and what is behind this is the request that it was lost with
			return false
		}
		if failed := known.Of(e); failed != nil {
			sent = sent || failed.Sent
			unsent = unsent || !failed.Sent
		} else if _, marked := e.(interface{ unsafe() }); marked { // see maybeExecuted
			sent = true
		}
		return true
	})
	if sent {
		return false
	}
	return unsent || notExecuted(err)
}

// notExecuted reports a reply that says for certain that the command was not executed, without knowing which command it was.
func notExecuted(err error) bool {
	if !goredis.IsReply(err) {
		return false
	}
	text := goredis.ReplyText(err)
	row, ok := reply.OfCode(text)
	if !ok {
		row, ok = reply.Of(text)
		ok = ok && row.Code == "UNBLOCKED"
	}
	return ok && row.Meaning == reply.Refused && !reply.Inside(text)
}

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

// unsafe marks an error, if SafeToRetry would hold for it.
func (f failures) unsafe(err error) error {
	if !SafeToRetry(f, err) {
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

// ofThisCommand makes the error of a command one that says "not sent", if it says "sent" for the sake of others: full duplex sends
// nothing again but what is harmless, and gives one error to all that it holds.
func (f failures) ofThisCommand(err error, harmless func() bool) error {
	var before *goredis.SentBefore
	if !errors.As(err, &before) || harmless() {
		return err
	}
	if failed := f.Find(err); failed != nil {
		return f.New(failed.on(false, before.Err))
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
	if SafeToRetry(r.errors, err) && r.wrote(cmds) {
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
	return err == nil || !SafeToRetry(f, err) && !errors.Is(err, redis.TxFailedErr)
}
