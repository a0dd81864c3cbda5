package failure

import (
	"errors"
	"net"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/goredis"
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

// Unsafe marks an error, if SafeToRetry would hold for it.
func Unsafe(known Errors, err error) error {
	if !SafeToRetry(known, err) {
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
