package prober

import (
	"context"
	"sync/atomic"

	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/reply"
)

// nobodysKey is a key that nobody has. SETRANGE with an empty value changes nothing, whether there is such a key or not.
const nobodysKey = "multidb:nobody"

// Serve asks whether the database would do what another one has refused with that reply: a write that changes nothing. It returns the
// refusal. Where the user of the database has no right to the question, nothing can be learnt this way, and the answer is nil.
func (p *Prober) Serve(ctx context.Context, refused error) error {
	if p.cluster != nil {
		return p.Ping(ctx)
	}
	return p.beside(ctx, func() error {
		err := p.quick.SetRange(ctx, nobodysKey, 0, "").Err()
		if err != nil && goredis.IsReply(err) && !sameTrouble(goredis.ReplyText(err), goredis.ReplyText(refused)) {
			return nil
		}
		return err
	})
}

// sameTrouble reports whether a database that gives the reply mine is no better than one that gives the reply its.
func sameTrouble(mine, its string) bool {
	row, known := reply.Of(mine)
	if !known {
		return false
	}
	other, _ := reply.Of(its)
	if other != nil && row.Code == other.Code {
		return true
	}
	if row.Stay {
		return false
	}
	return row.Scope != reply.Writes || other != nil && other.Scope == reply.Writes
}

// refusal is what the last PING was answered with by a database that refuses writes and serves reads. Redis answers PING with MISCONF
// while it cannot save its data.
type refusal struct{ reply atomic.Pointer[error] }

// learn takes the answer to a PING, and returns what it means as an answer to the question whether the database is there.
func (r *refusal) learn(err error) error {
	if err != nil && goredis.IsReply(err) {
		if row, ok := reply.Of(goredis.ReplyText(err)); ok && row.Scope == reply.Writes {
			r.reply.Store(&err)
			return nil
		}
	}
	if err == nil {
		r.reply.Store(nil)
	}
	return err
}

// RefusesWrites is the reply by which the last PING was refused like a write; nil if it was not.
func (p *Prober) RefusesWrites() error {
	if err := p.refusal.reply.Load(); err != nil {
		return *err
	}
	return nil
}
