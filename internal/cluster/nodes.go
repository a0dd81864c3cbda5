package cluster

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Which node a connection that stays is made to, and until when it may stay there.

// errAsking says that what is known of a cluster is too old.
var errAsking = errors.New("the topology is being asked for")

// NodeFor finds the master of a slot, or any that has answered lately if slot is negative, by what the cluster has told since a
// time. If that is older, the cluster is asked beside, and there is an error.
func (c *Cluster) NodeFor(slot int, since time.Time) (string, error) {
	t := c.Topology()
	switch {
	case t == nil:
		return "", errors.New("nothing is known about the cluster yet")
	case c.Learned().Before(since):
		c.Suspect()
		return "", errAsking
	case slot >= 0:
		addr, served := t.Owner(slot)
		if !served {
			return "", fmt.Errorf("nobody serves slot %d", slot)
		}
		return addr, nil
	}
	addr := t.AnyMaster()
	for range 2 * len(t.Masters()) {
		if !c.IsSilent(addr) {
			break
		}
		addr = t.AnyMaster()
	}
	return addr, nil
}

// Replaced reports whether a node must not be used any more: another node has the slot, or if slot is negative the node has none
// and has not answered the last survey, or the cluster does not have the node.
func (c *Cluster) Replaced(addr string, slot int) bool {
	t := c.Topology()
	switch {
	case t == nil:
		return false
	case !t.Has(addr):
		return true
	case slot >= 0:
		owner, served := t.Owner(slot)
		return served && owner != addr
	}
	return !slices.Contains(t.Masters(), addr) && c.IsSilent(addr)
}
