package multidb

import (
	"time"
)

// What follows for the choice, and for clients, from what happens within a database that is a cluster.

// topologyChanged makes clients follow what has changed within the cluster. It is called from a survey, so it only starts that.
func (f fleet) topologyChanged() {
	if f.h.selector.Current() != nil {
		f.h.workers.Go(func() { f.h.clusters.FollowTopology(f.db) })
	}
}

// takeoverFailed makes a cluster suspect that has not replaced a master in time. It is enough once the cluster is not used.
func (f fleet) takeoverFailed(err error) (enough bool) {
	if active, down := f.Role(); !active || down || !f.db.Health.Usable() {
		return true
	}
	f.db.Health.Suspect(err)
	return false
}

// clusterHealed has the choice looked at again: the cluster may be returned to.
func (f fleet) clusterHealed(after time.Duration) {
	if after > 0 {
		f.h.events.degraded(Degraded{Database: f.db.Name, Lasted: after})
	}
	f.db.Health.Recheck()
}
