package multidb

import (
	"context"
	"time"

	"github.com/redishook/multidb/internal/clusterclient"
	"github.com/redishook/multidb/internal/conn"
)

// epoch is the current answer to "which database?". It never changes once published: a switch publishes the next one
// and ends the context of this one. Whoever loads it before an attempt can therefore not miss the switch that comes
// during the attempt.
type epoch struct {
	// The number is 1 for the first epoch of a hook. The context is done when the next epoch has been published.
	conn.Term
	end context.CancelFunc

	cluster *clusterclient.Choice // the same for ClusterClients; nil if the databases are no clusters

	db   *database
	down bool // nothing is usable; db is only where we were last
	at   time.Time

	reason  Reason // why it was made; set before it is published
	planned bool   // the database before it was healthy
}

func newEpoch(db *database, down bool, number uint64) *epoch {
	c := &epoch{Term: conn.Term{Number: number}, db: db, down: down, at: time.Now()}
	c.Ctx, c.end = context.WithCancel(context.Background())
	if db.cluster != nil {
		c.cluster = &clusterclient.Choice{Cluster: db.cluster, Down: down, Over: c.over()}
	}
	return c
}

// over is closed when the choice has been superseded.
func (c *epoch) over() <-chan struct{} { return c.Ctx.Done() }

// superseded reports whether there is a newer choice.
func (c *epoch) superseded() bool { return c.Ctx.Err() != nil }
