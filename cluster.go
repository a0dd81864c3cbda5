package multidb

import (
	"time"

	"github.com/redishook/multidb/internal/database"
)

// What follows for the choice, and for clients, from what happens within a database that is a cluster.

// topologyChanged makes clients follow what has changed within the cluster. It is called from a survey, so it only starts that.
func (h *Hook) topologyChanged(db *database.Database) {
	if h.selector.Current() != nil {
		h.workers.Go(func() { h.followTopology(db) })
	}
}

// takeoverFailed makes a cluster suspect that has not replaced a master in time. It is enough once the cluster is not used.
func (h *Hook) takeoverFailed(db *database.Database, err error) (enough bool) {
	if active, down := (fleet{h, db}).Role(); !active || down || !db.Health.Usable() {
		return true
	}
	db.Health.Suspect(err)
	return false
}

// clusterHealed has the choice looked at again: the cluster may be returned to.
func (h *Hook) clusterHealed(db *database.Database, after time.Duration) {
	if after > 0 {
		h.events.degraded(Degraded{Database: db.Name, Lasted: after})
	}
	db.Health.Recheck()
}
