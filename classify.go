package multidb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/replay"
)

// outcome is what the end of one attempt says about the database it ran on, and about running it again.
type outcome int

const (
	// answered: the database did its part, whatever it answered (redis.Nil, WRONGTYPE, a lost race).
	answered outcome = iota
	// excluded: says nothing about the database: the caller gave up, the client's own pool is full, the client is closed.
	excluded
	// notSent: the request certainly never reached the database.
	notSent
	// cannotServe: the server answered that it cannot serve now (LOADING, READONLY, ...): certainly not executed.
	cannotServe
	// cannotServeInside: the same, but out of a script or a transaction, which may have been applied in part.
	cannotServeInside
	// lost: the request was sent, the reply never came. Nobody knows whether it was executed.
	lost
	// sessionDead: the connection of a Conn or a Tx had died before; the next request on it will fail as well.
	sessionDead
)

// failed reports whether the outcome counts against the database.
func (o outcome) failed() bool {
	return o == notSent || o == cannotServe || o == cannotServeInside || o == lost
}

// classify decides what err means as the end of cmd, or of several commands if that is nil. The order matters: what the
// caller did itself comes first, because a cancelled context surfaces as any of the errors below it.
func classify(ctx context.Context, cmd redis.Cmder, err error) outcome {
	if err == nil {
		return answered
	}
	if isSessionDead(err) {
		return sessionDead
	}
	if callerGaveUp(ctx) && !isReply(err) {
		return excluded
	}
	var failed *CommandError
	switch {
	case errors.As(err, &failed):
		if failed.Sent {
			return lost
		}
		return notSent
	case errors.Is(err, redis.Nil), errors.Is(err, redis.TxFailedErr):
		return answered
	case unavailable(err):
		if insideScript(err) || cmd != nil && replay.RunsCode(cmd) && !refusedUnread(err) {
			return cannotServeInside
		}
		return cannotServe
	case isReply(err):
		return answered
	}
	// Pool timeout, pool exhausted, closed client, an argument that cannot be marshalled, another hook's own error.
	return excluded
}

// ourDoing reports a failure that says nothing about the database: the gate refused the request, the connection was
// closed by a switch or by the pool, or there was no database to begin with.
func ourDoing(err error) bool {
	var gate refusal
	err = causeOf(err)
	return errors.Is(err, ErrNoDatabase) || errors.Is(err, net.ErrClosed) || errors.As(err, &gate)
}

// callerGaveUp reports whether the caller's context is over. The deadline is asked as well as the error: with
// ContextTimeoutEnabled the socket times out at the caller's deadline, which may be before the context's own timer has run.
func callerGaveUp(ctx context.Context) bool {
	if ctx.Err() != nil {
		return true
	}
	deadline, ok := ctx.Deadline()
	return ok && !time.Now().Before(deadline)
}

// unavailable reports a reply that means "this database cannot serve now", in whatever form: typed, with a proxy's ERR
// before it, or quoted by a script that failed on it. Each is one of go-redis' own retryable replies, and MISCONF
// (the server cannot persist and refuses writes).
func unavailable(err error) bool {
	if !isReply(err) {
		return false
	}
	switch {
	case redis.IsLoadingError(err), redis.IsReadOnlyError(err), redis.IsClusterDownError(err),
		redis.IsTryAgainError(err), redis.IsMasterDownError(err), redis.IsMaxClientsError(err), redis.IsNoReplicasError(err):
		return true
	}
	text := replyText(err)
	for _, code := range unavailableCodes {
		if strings.HasPrefix(text, code) {
			return true
		}
	}
	return quotesReadOnly(text)
}

var unavailableCodes = []string{
	"LOADING ", "READONLY ", "CLUSTERDOWN ", "TRYAGAIN ", "MASTERDOWN ", "NOREPLICAS ", "MISCONF ",
	"max number of clients reached",
}

// replyText is the server's text, without the ERR that some proxies and forks put before a code.
func replyText(err error) string {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return ""
	}
	return strings.TrimPrefix(reply.Error(), "ERR ")
}

// quotesReadOnly finds the READONLY that a script met, which older servers quote inside an error of their own.
func quotesReadOnly(text string) bool {
	return strings.Contains(text, "-READONLY You can't write against a read only replica")
}

// insideScript reports that the reply comes out of a script or a transaction: what was executed before it stays.
func insideScript(err error) bool {
	text := replyText(err)
	return quotesReadOnly(text) || strings.Contains(text, "script: ") || strings.HasPrefix(text, "EXECABORT")
}

// refusedUnread finds the replies that a server gives before it looks at what a script does, and never out of one.
func refusedUnread(err error) bool {
	text := replyText(err)
	return strings.HasPrefix(text, "LOADING ") && strings.HasSuffix(text, " is loading the dataset in memory") ||
		strings.HasPrefix(text, "MASTERDOWN Link with MASTER is down") ||
		strings.HasPrefix(text, "max number of clients reached")
}

// isSessionDead finds go-redis' BadConnError, which a Conn or a Tx returns for every request after its connection has
// died.
func isSessionDead(err error) bool {
	found := false
	walk(err, func(e error) bool {
		found = found || isBadConn(e)
		return !found
	})
	return found
}

// isBadConn tells a BadConnError. Its type is internal to go-redis, so it is told by name; a test fails if the name changes.
func isBadConn(err error) bool { return fmt.Sprintf("%T", err) == "pool.BadConnError" }
