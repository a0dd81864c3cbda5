package prober

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/cluster"
	"github.com/redishook/multidb/probes"
)

// clusterProber asks a database that is a whole Redis Cluster: its nodes, each through a client of its own.
type clusterProber struct {
	topology *cluster.Cluster
	nodes    *clusterNodes
	whole    *redis.ClusterClient // for checks of a user's
}

// clusterNodes asks the nodes of a cluster, each through a client of its own.
type clusterNodes struct {
	prober *Prober
	base   *redis.Options // of a probing client, but for the address

	mu      sync.Mutex
	clients map[string]*redis.Client // Guarded by mu
	closed  bool                     // Guarded by mu
}

// newClusterProber makes what asks a cluster.
func newClusterProber(p *Prober) *clusterProber {
	nodes := &clusterNodes{prober: p, base: NodeOptions(p.cfg.Cluster), clients: make(map[string]*redis.Client)}
	c := &clusterProber{nodes: nodes}
	c.topology = cluster.New(cluster.Config{
		Seeds: slices.Clone(p.cfg.Cluster.Addrs), Asker: nodes, Takeover: p.cfg.Takeover,
		NodeTimeout: nodes.nodeTimeout, Timeout: p.cfg.Timeout,
		Changed: p.cfg.Changed, Failed: p.cfg.Failed, Degraded: p.cfg.Degraded, Healed: p.cfg.Healed,
	})
	c.whole = redis.NewClusterClient(wholeOptions(p.cfg.Cluster.Addrs, nodes.base))
	c.whole.OnNewNode(func(node *redis.Client) { node.AddHook(dialHook{p}) })
	return c
}

// client returns the client of a node.
func (n *clusterNodes) client(addr string) (*redis.Client, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, redis.ErrClosed
	}
	if client := n.clients[addr]; client != nil {
		return client, nil
	}
	opt := *n.base
	opt.Addr = addr
	client := redis.NewClient(&opt)
	client.AddHook(dialHook{n.prober})
	n.clients[addr] = client
	return client, nil
}

// Ask asks one node. A node that has not answered long after its time is left to itself: it may be in a credentials provider
// of a user's.
func (n *clusterNodes) Ask(ctx context.Context, addr string, full bool) cluster.View {
	client, err := n.client(addr)
	if err != nil {
		return cluster.View{Addr: addr, Err: err}
	}
	answer := make(chan cluster.View, 1)
	go func() { answer <- cluster.Look(ctx, client, addr, full) }()
	select {
	case v := <-answer:
		return v
	case <-ctx.Done():
		select {
		case v := <-answer:
			return v
		case <-time.After(probeGrace):
			return cluster.View{Addr: addr, Err: ctx.Err()}
		}
	}
}

// nodeTimeout asks any master for its node timeout.
func (n *clusterNodes) nodeTimeout(ctx context.Context) (time.Duration, error) {
	t := n.prober.cluster.topology.Topology()
	if t == nil {
		return 0, errors.New("not known")
	}
	client, err := n.client(t.AnyMaster())
	if err != nil {
		return 0, err
	}
	config, err := client.ConfigGet(ctx, "cluster-node-timeout").Result()
	if err != nil {
		return 0, err
	}
	ms, err := strconv.Atoi(config["cluster-node-timeout"])
	return time.Duration(ms) * time.Millisecond, err
}

// close closes all clients.
func (n *clusterNodes) close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	var errs []error
	for _, client := range n.clients {
		errs = append(errs, client.Close())
	}
	return errors.Join(errs...)
}

// close ends all that asks the cluster.
func (c *clusterProber) close() error {
	err := errors.Join(c.nodes.close(), c.whole.Close())
	c.topology.Close()
	return err
}

// Cluster returns the topology of a database that is a cluster; nil for others.
func (p *Prober) Cluster() *cluster.Cluster {
	if p.cluster == nil {
		return nil
	}
	return p.cluster.topology
}

// Degraded is why a cluster is no place to go to, although commands may go there. It is nil if the cluster is whole, and for
// any other database.
func (p *Prober) Degraded() error {
	if p.cluster == nil {
		return nil
	}
	if since := p.cluster.topology.Degraded(); !since.IsZero() {
		return fmt.Errorf("%w since %s", cluster.ErrDegraded, since.Format(time.RFC3339))
	}
	return nil
}

// clusterCheck is the default check of a cluster, and its quick probe.
type clusterCheck struct{ prober *Prober }

func (clusterCheck) String() string { return "cluster" }

// Check asks the masters. A cluster that commands go to may replace a master of its own meanwhile; one that is not usable must
// be whole to be used.
func (c clusterCheck) Check(ctx context.Context, _ probes.Target) error {
	p := c.prober
	ctx, cancel := context.WithTimeout(ctx, p.Scaled(p.cfg.Timeout))
	defer cancel()
	return p.cluster.topology.Check(ctx, !p.cfg.Usable())
}
