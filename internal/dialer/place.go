package dialer

import (
	"context"
	"errors"

	"github.com/redishook/multidb/internal/clusterclient"
	"github.com/redishook/multidb/internal/conn"
	"github.com/redishook/multidb/internal/selector"
)

// Where a connection leads if the databases are clusters.

// ErrNotAttached says that a hook whose databases are clusters was given to a client by AddHook.
var ErrNotAttached = errors.New("the databases of this hook are clusters: use Hook.Attach with a *redis.ClusterClient")

// nodePlace is where a connection leads for a node of a ClusterClient: see clusterclient.Node.Place. It is the zero place for a
// single database. Only clients of the right kind are attached; AddHook alone does not ask, so this does.
func nodePlace(ctx context.Context, now *selector.Epoch, node *clusterclient.Node) (conn.Place, error) {
	switch {
	case now.Cluster == nil:
		return conn.Place{}, nil
	case node == nil:
		return conn.Place{}, ErrNotAttached
	}
	addr, detour, err := node.Place(ctx, now.Cluster)
	return conn.Place{Addr: addr, Detour: detour, Shards: shards{now, node.Client()}}, err
}

// shards has a client find the right node for shard channels.
type shards struct {
	now    *selector.Epoch
	client *clusterclient.Client
}

func (s shards) Elsewhere() { s.client.Await(s.now.Ctx, s.now.Cluster) }

func (s shards) Moved() {
	s.now.DB.Cluster.Suspect()
	s.client.Reload()
}
