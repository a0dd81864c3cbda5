package runner

import (
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/callback"
	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/replay"
	"github.com/redishook/multidb/internal/reply"
)

// What an error reply says about the database, and the user's word about it.

// Meaning is what an error reply says about the command and about the database that has sent it. The constants are those of the
// root, in the same order.
type Meaning int

// The meanings: those of the root that begin with Reply.
const (
	Answer      Meaning = iota // the database has done its part
	Refused                    // not executed; run again
	RefusedHere                // not executed; the caller is told at once
	Doubtful                   // cannot serve now, and may have executed it
)

// judge says what a reply means, and what the end of an attempt means.
type judge struct {
	errors failures
	user   func(reply error, known Meaning) Meaning // nil: the table alone
}

// verdict is what a reply means for the hook.
type verdict struct {
	code    string // counted and logged by this
	meaning Meaning
	scope   reply.Scope
}

// of decides what a reply means as the end of cmd, or of one among several commands if that is nil. err must be a reply.
func (j judge) of(cmd redis.Cmder, err error) verdict {
	text := goredis.ReplyText(err)
	row, known := lookUp(cmd, text)
	v := verdict{meaning: Answer}
	if known {
		v = verdict{code: row.Code, meaning: meaningOf(row), scope: row.Scope}
	}
	if j.user == nil || errors.Is(err, redis.Nil) || errors.Is(err, redis.TxFailedErr) {
		return v
	}
	meaning := j.contained(err, v.meaning)
	if v.meaning == Answer && meaning != Answer {
		v.code, v.scope = database.OtherCode, reply.Everything
	}
	v.meaning = meaning
	return v
}

// lookUp finds the row of a reply. Code of a user's makes up replies of its own, so less is believed there.
func lookUp(cmd redis.Cmder, text string) (*reply.Row, bool) {
	if cmd == nil {
		return reply.Of(text)
	}
	if replay.RunsCode(cmd) {
		return reply.OfCode(text)
	}
	row, ok := reply.Of(text)
	if ok && row.Code == "UNBLOCKED" && strings.HasPrefix(cmd.Name(), "wait") {
		// WAIT is about writes made before on this connection. On another connection it would answer about none.
		return nil, false
	}
	return row, ok
}

func meaningOf(row *reply.Row) Meaning {
	switch {
	case row.Meaning == reply.Doubtful:
		return Doubtful
	case row.Stay:
		return RefusedHere
	}
	return Refused
}

// contained asks the user's function. One that panics, or says what is no meaning, has no opinion.
func (j judge) contained(err error, known Meaning) (meaning Meaning) {
	meaning = callback.Ask(func() Meaning { return j.user(err, known) }, known)
	if meaning < Answer || meaning > Doubtful {
		return known
	}
	return meaning
}
