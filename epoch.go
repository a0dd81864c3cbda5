package multidb

import (
	"context"
	"time"
)

// epoch is the current answer to "which database?". It never changes once published: a switch publishes the next one
// and ends the context of this one. Whoever loads it before an attempt can therefore not miss the switch that comes
// during the attempt.
type epoch struct {
	db   *database
	down bool   // nothing is usable; db is only where we were last
	seq  uint64 // 1 for the first choice of a hook
	at   time.Time

	reason  Reason // why it was made; set before it is published
	planned bool   // the database before it was healthy

	ctx context.Context // done when the next choice has been published
	end context.CancelFunc
}

func newEpoch(db *database, down bool, seq uint64) *epoch {
	c := &epoch{db: db, down: down, seq: seq, at: time.Now()}
	c.ctx, c.end = context.WithCancel(context.Background())
	return c
}

// over is closed when the choice has been superseded.
func (c *epoch) over() <-chan struct{} { return c.ctx.Done() }

// superseded reports whether there is a newer choice.
func (c *epoch) superseded() bool { return c.ctx.Err() != nil }
