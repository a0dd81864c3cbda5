package multidb

import (
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/callback"
	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/replay"
	"github.com/redishook/multidb/internal/reply"
)

// What an error reply says about the database, and the user's word about it.

// ReplyMeaning is what an error reply says about the command and about the database that has sent it.
type ReplyMeaning int

const (
	// ReplyAnswer: the database has done its part, whatever it says. The caller gets the reply.
	ReplyAnswer ReplyMeaning = iota
	// ReplyRefused: the database cannot serve now, and the command was certainly not executed. It is run again, and a
	// database that goes on refusing is left.
	ReplyRefused
	// ReplyRefusedHere: the command was certainly not executed, and the caller gets the reply at once. It is counted, and the
	// database keeps its place. OOM means this by default: a full database refuses writes and serves reads.
	ReplyRefusedHere
	// ReplyDoubtful: the database cannot serve now, and the command may have been executed: a proxy has lost its server. It
	// is run again if its rung allows that, see Options.Replay. A database that goes on answering so is left.
	ReplyDoubtful
)

// String returns the name of the constant.
func (m ReplyMeaning) String() string {
	switch m {
	case ReplyAnswer:
		return "ReplyAnswer"
	case ReplyRefused:
		return "ReplyRefused"
	case ReplyRefusedHere:
		return "ReplyRefusedHere"
	case ReplyDoubtful:
		return "ReplyDoubtful"
	}
	return "ReplyMeaning(?)"
}

// replyJudge is Options.Replies.
type replyJudge func(reply error, known ReplyMeaning) ReplyMeaning

// replyVerdict is what a reply means for the hook.
type replyVerdict struct {
	code    string // counted and logged by this
	meaning ReplyMeaning
	scope   reply.Scope
}

// of decides what a reply means as the end of cmd, or of one among several commands if that is nil. err must be a reply.
func (ask replyJudge) of(cmd redis.Cmder, err error) replyVerdict {
	text := goredis.ReplyText(err)
	row, known := lookUp(cmd, text)
	v := replyVerdict{meaning: ReplyAnswer}
	if known {
		v = replyVerdict{code: row.Code, meaning: meaningOf(row), scope: row.Scope}
	}
	if ask == nil || errors.Is(err, redis.Nil) || errors.Is(err, redis.TxFailedErr) {
		return v
	}
	meaning := ask.contained(err, v.meaning)
	if v.meaning == ReplyAnswer && meaning != ReplyAnswer {
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

func meaningOf(row *reply.Row) ReplyMeaning {
	switch {
	case row.Meaning == reply.Doubtful:
		return ReplyDoubtful
	case row.Stay:
		return ReplyRefusedHere
	}
	return ReplyRefused
}

// contained asks the user's function. One that panics, or says what is no meaning, has no opinion.
func (ask replyJudge) contained(err error, known ReplyMeaning) (meaning ReplyMeaning) {
	meaning = callback.Ask(func() ReplyMeaning { return ask(err, known) }, known)
	if meaning < ReplyAnswer || meaning > ReplyDoubtful {
		return known
	}
	return meaning
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

// logRefusal logs the first reply of its code that says "cannot serve now", and one a minute after that: the traffic of a
// database that refuses everything would fill the log.
func (h *Hook) logRefusal(db *database.Database, cmd redis.Cmder, err error) {
	counted := db.Replies.Count(err)
	code := h.replies.of(cmd, err).code
	if code == "" {
		code = counted // a login that was refused
	}
	if db.Refusals.Due(code, time.Now()) {
		h.events.refusal(db.Name, code, db.Locate(err))
	}
}
