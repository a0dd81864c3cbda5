package selector

import (
	"context"
	"time"

	"github.com/redishook/multidb/internal/clusterclient"
	"github.com/redishook/multidb/internal/conn"
	"github.com/redishook/multidb/internal/database"
)

// Epoch is the current answer to "which database?". It never changes once published: a switch publishes the next one
// and ends the context of this one. Whoever loads it before an attempt can therefore not miss the switch that comes
// during the attempt.
type Epoch struct {
	// The number is 1 for the first epoch of a hook. The context is done when the next epoch has been published.
	conn.Term
	end context.CancelFunc

	Cluster *clusterclient.Choice // the same for ClusterClients; nil if the databases are no clusters

	DB   *database.Database
	Down bool // nothing is usable; DB is only where we were last
	At   time.Time

	Reason  Reason // why it was made; set before it is published
	Planned bool   // the database before it was healthy
}

// NewEpoch makes an epoch that begins now.
func NewEpoch(db *database.Database, down bool, number uint64) *Epoch {
	c := &Epoch{Term: conn.Term{Number: number}, DB: db, Down: down, At: time.Now()}
	c.Ctx, c.end = context.WithCancel(context.Background())
	if db.Cluster != nil {
		c.Cluster = &clusterclient.Choice{Cluster: db.Cluster, Down: down, Over: c.Over()}
	}
	return c
}

// Over is closed when the choice has been superseded.
func (c *Epoch) Over() <-chan struct{} { return c.Ctx.Done() }

// Superseded reports whether there is a newer choice.
func (c *Epoch) Superseded() bool { return c.Ctx.Err() != nil }

// Await waits for the first of: a newer epoch than this one, the verdict, the end of ctx, patience. It reports whether waiting was
// worth while: false says that the caller is gone or nothing was decided.
func (c *Epoch) Await(ctx context.Context, verdict <-chan struct{}, patience time.Duration) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-c.Over():
		return true
	case <-verdict:
		return true
	case <-ctx.Done():
	case <-timer.C:
	}
	return false
}
