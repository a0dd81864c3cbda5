package multidb

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// What txwrap and pubsubwrap need where the databases are clusters: which node serves a slot.

// IsCluster reports whether the databases are clusters. Safe for concurrent use.
func (h *Hook) IsCluster() bool { return h.isCluster() }

// NodeOptions is DatabaseOptions for one node of a database that is a cluster: for the master that serves a slot.
// If slot is negative, it is for any master that has answered lately. What the hook knows must be what the cluster
// has told since that time. Otherwise NodeOptions has the cluster asked beside, and returns an error: try again
// soon. The error is ErrUnknownDatabase or ErrClosed, or says that nothing is known about the cluster or that
// nobody serves the slot. Safe for concurrent use.
func (h *Hook) NodeOptions(name string, slot int, since time.Time) (*redis.Options, error) {
	db, err := h.known(name)
	switch {
	case err != nil:
		return nil, err
	case db.Cluster == nil:
		return nil, fmt.Errorf("multidb: database %q is no cluster", name)
	}
	addr, err := db.Cluster.NodeFor(slot, since)
	if err != nil {
		return nil, fmt.Errorf("multidb: database %q: %w", name, err)
	}
	return userOptions(db, addr), nil
}

// NodesChanged is closed when slots of a database that is a cluster have other nodes, or when the cluster is whole again. It is
// nil for another database. Safe for concurrent use.
func (h *Hook) NodesChanged(name string) <-chan struct{} {
	db, err := h.known(name)
	if err != nil || db.Cluster == nil {
		return nil
	}
	return db.Cluster.News()
}

// NodeReplaced reports whether a node of a cluster must not be used any more. Either another node has the slot, or
// the cluster does not have the node. If slot is negative, the node has no slot and has not answered the hook
// lately. Safe for concurrent use.
func (h *Hook) NodeReplaced(name, addr string, slot int) bool {
	db, err := h.known(name)
	return err == nil && db.Cluster != nil && db.Cluster.Replaced(addr, slot)
}

// NodeForKey returns the node that serves a key, of a client that follows the hook. It is the client's
// MasterForKey, but first waits, for a second at most, until the client has the topology of the cluster in use.
// Safe for concurrent use.
func (h *Hook) NodeForKey(ctx context.Context, cc *redis.ClusterClient, key string) (*redis.Client, error) {
	h.clusters.Await(ctx, cc)
	return cc.MasterForKey(ctx, key)
}

// ReportMoved tells the hook that a node of a cluster does not serve what it should serve as far as the hook knows. The hook asks
// the cluster beside, every 200 ms at most. Safe for concurrent use.
func (h *Hook) ReportMoved(name string) {
	if db, err := h.known(name); err == nil && db.Cluster != nil {
		db.Cluster.Suspect()
	}
}

// ClusterOptions returns a copy of the options of a ClusterClient with which every connection of a node follows the hook from the
// first on. Only a client with MinIdleConns needs that, because go-redis dials those before a hook can be added:
//
//	rdb := redis.NewClusterClient(hook.ClusterOptions(opt))
//	err := hook.Attach(rdb)
//
// Call it for each client. The client cannot dial before Attach. A NewClient in the options is called for each node with a Dialer
// of the hook's, and must use that. Safe for concurrent use.
func (h *Hook) ClusterOptions(opt *redis.ClusterOptions) *redis.ClusterOptions {
	h.mustExist()
	return h.clusters.Options(opt)
}
