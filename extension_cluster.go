package multidb

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// What txwrap and pubsubwrap need where the databases are clusters: which node serves a slot.

// IsCluster reports whether the databases are clusters. Safe for concurrent use.
func (h *Hook) IsCluster() bool { return h.isCluster() }

// NodeOptions is DatabaseOptions for one node of a database that is a cluster: for the master that serves a slot, or for any
// master that has answered lately if slot is negative. What the hook knows must be what the cluster has told since a time;
// otherwise NodeOptions has the cluster asked beside, and returns an error: try again soon. The error is ErrUnknownDatabase or
// ErrClosed, or says that nothing is known about the cluster or that nobody serves the slot. Safe for concurrent use.
func (h *Hook) NodeOptions(name string, slot int, since time.Time) (*redis.Options, error) {
	db, err := h.known(name)
	if err != nil {
		return nil, err
	}
	addr, err := db.nodeFor(slot, since)
	if err != nil {
		return nil, err
	}
	return db.userOptions(addr), nil
}

// NodesChanged is closed when slots of a database that is a cluster have other nodes, or when the cluster is whole again. It is
// nil for another database. Safe for concurrent use.
func (h *Hook) NodesChanged(name string) <-chan struct{} {
	db, err := h.known(name)
	if err != nil || db.cluster == nil {
		return nil
	}
	return db.cluster.News()
}

// NodeReplaced reports whether a node of a cluster must not be used any more: another node has the slot, or if slot is negative the
// node has none and has not answered the hook lately, or the cluster does not have the node. Safe for concurrent use.
func (h *Hook) NodeReplaced(name, addr string, slot int) bool {
	db, err := h.known(name)
	if err != nil || db.cluster == nil {
		return false
	}
	t := db.cluster.Topology()
	switch {
	case t == nil:
		return false
	case !t.Has(addr):
		return true
	case slot >= 0:
		owner, served := t.Owner(slot)
		return served && owner != addr
	}
	return !slices.Contains(t.Masters(), addr) && db.cluster.IsSilent(addr)
}

// NodeForKey returns the node that serves a key, of a client that follows the hook: like the client's MasterForKey, but it waits
// until the client has the topology of the cluster in use, for a second at most. Safe for concurrent use.
func (h *Hook) NodeForKey(ctx context.Context, cc *redis.ClusterClient, key string) (*redis.Client, error) {
	if now := h.active.Load(); now.cluster != nil && !now.down {
		for _, client := range h.clusters.all() {
			if client.Value() == cc {
				client.Await(ctx, now.cluster)
			}
		}
	}
	return cc.MasterForKey(ctx, key)
}

// ReportMoved tells the hook that a node of a cluster does not serve what it should serve as far as the hook knows. The hook asks
// the cluster beside, every 200 ms at most. Safe for concurrent use.
func (h *Hook) ReportMoved(name string) {
	if db, err := h.known(name); err == nil && db.cluster != nil {
		db.cluster.Suspect()
	}
}

// nodeFor finds the master of a slot, or any that answers, by what the cluster has told since a time.
func (db *database) nodeFor(slot int, since time.Time) (string, error) {
	if db.cluster == nil {
		return "", fmt.Errorf("multidb: database %q is no cluster", db.name)
	}
	t := db.cluster.Topology()
	if t == nil {
		return "", fmt.Errorf("multidb: nothing is known about the cluster %q yet", db.name)
	}
	if db.cluster.Learned().Before(since) {
		db.cluster.Suspect()
		return "", fmt.Errorf("multidb: the topology of the cluster %q is being asked for", db.name)
	}
	if slot >= 0 {
		addr, served := t.Owner(slot)
		if !served {
			return "", fmt.Errorf("multidb: nobody serves slot %d of the cluster %q", slot, db.name)
		}
		return addr, nil
	}
	addr := t.AnyMaster()
	for range 2 * len(t.Masters()) {
		if !db.cluster.IsSilent(addr) {
			break
		}
		addr = t.AnyMaster()
	}
	return addr, nil
}
