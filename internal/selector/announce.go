package selector

import (
	"context"
	"time"

	"github.com/redishook/multidb/internal/conn"
	"github.com/redishook/multidb/internal/database"
)

// announceTime bounds how long a planned switch waits for the connections of PubSubs. Those that are late miss what is published
// before they are subscribed.
const announceTime = time.Second

// Announce gets the connections of PubSubs ready for a planned switch to another database, and returns when they are.
func (c *Epoch) Announce(life context.Context, to *database.Database, run func(func()) bool) {
	if c.Down || c.DB.Cluster != nil || to.Cluster != nil || !to.Health.Usable() {
		return
	}
	ctx, cancel := context.WithTimeout(life, announceTime)
	defer cancel()
	c.DB.Conns.Announce(ctx, life, &c.Term, to.Conns, run)
}

// Successor returns where the connections of PubSubs of a database move while the choice stands: see conn.Config.
func (c *Epoch) Successor(of *database.Database, closed bool) (*conn.Set, *conn.Term) {
	switch {
	case closed:
		return of.Conns, &c.Term
	case c.Down, c.DB.Cluster != nil:
		return nil, nil
	}
	return c.DB.Conns, &c.Term
}
