package runner

import (
	"context"
	"errors"
	"net"
	"reflect"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/conn"
	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/failure"
	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/ownfault"
	"github.com/redishook/multidb/internal/replay"
	"github.com/redishook/multidb/internal/reply"
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
	// cannotServeInside: the same, but out of a script or a transaction, which may have been applied in part, or from a proxy
	// that has lost its server after it had sent the request.
	cannotServeInside
	// refusedHere: the server has refused this request and serves others (OOM): not executed, told to the caller at once.
	refusedHere
	// misrouted: a redirect within a cluster that go-redis has not followed to its end: certainly not executed.
	misrouted
	// lost: the request was sent, the reply never came. Nobody knows whether it was executed.
	lost
	// sessionDead: the connection of a Conn or a Tx had died before; the next request on it will fail as well.
	sessionDead
)

// failed reports whether the outcome counts against the database.
func (o outcome) failed() bool {
	return o == notSent || o == cannotServe || o == cannotServeInside || o == lost
}

// told reports whether the caller gets the reply that it was answered with, as it is.
func (o outcome) told() bool { return o == answered || o == refusedHere }

// failedAs counts a failure by its kind.
func failedAs(db *database.Database, kind outcome) {
	switch kind {
	case notSent:
		db.Traffic.NotSent.Add(1)
	case cannotServe, cannotServeInside, refusedHere:
		db.Traffic.CannotServe.Add(1)
	case lost:
		db.Traffic.Unanswered.Add(1)
	}
}

// classify decides what err means as the end of cmd, or of several commands if that is nil. The order matters: what the
// caller did itself comes first, because a cancelled context surfaces as any of the errors below it.
func (j judge) classify(ctx context.Context, cmd redis.Cmder, err error) outcome {
	if err == nil {
		return answered
	}
	if goredis.IsSessionDead(err) {
		return sessionDead
	}
	if failure.GaveUp(ctx) && !goredis.IsReply(err) {
		return excluded
	}
	failed := j.errors.Find(err)
	switch {
	case failed != nil:
		if failed.Sent {
			return lost
		}
		return notSent
	case errors.Is(err, redis.Nil), errors.Is(err, redis.TxFailedErr):
		return answered
	case goredis.IsReply(err):
		return j.outcome(cmd, err)
	}
	// Pool timeout, pool exhausted, closed client, an argument that cannot be marshalled, another hook's own error.
	return excluded
}

// outcome is what an error reply means as the end of cmd.
func (j judge) outcome(cmd redis.Cmder, err error) outcome {
	switch text := goredis.ReplyText(err); j.of(cmd, err).meaning {
	case Refused:
		if reply.Inside(text) || cmd != nil && replay.RunsCode(cmd) && !reply.Unread(text) {
			return cannotServeInside
		}
		return cannotServe
	case RefusedHere:
		return refusedHere
	case Doubtful:
		return cannotServeInside
	}
	return answered
}

// ourDoing reports a failure that says nothing about the database: the gate refused the request, the connection was
// closed by a switch or by the pool, there was no database to begin with, or this process could not make a connection.
func ourDoing(err error) bool {
	var gate conn.Refusal
	err = goredis.Cause(err)
	return errors.Is(err, database.ErrNone) || errors.Is(err, net.ErrClosed) || errors.As(err, &gate) || ownfault.Is(err)
}

// sameError reports whether two errors are one value. Either may be nil.
func sameError(a, b error) bool {
	return a != nil && reflect.TypeOf(a).Comparable() && a == b //nolint:errorlint // the same value, not the same kind
}
