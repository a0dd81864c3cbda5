// Package clustertest runs real Redis Clusters of redis-server processes that a test can break node by node, fail over and
// reshard.
//
// [Start] is for tests; [Run] is the same without a testing.TB, for programs.
package clustertest

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/testkit/redistest"
)

// Config says what kind of cluster to run.
type Config struct {
	// Masters is the number of masters, among which all slots are split evenly. Default: 3.
	Masters int
	// Replicas is the number of replicas of each master. Default: none.
	Replicas int
	// NodeTimeout is cluster-node-timeout. Default: 2 s.
	NodeTimeout time.Duration
	// Node is what all nodes have in common; its Port must be 0. With TLS there can be no replicas, because each node trusts
	// itself only.
	Node redistest.Config
}

// Group is the processes of one cluster. Safe for concurrent use.
type Group struct {
	// Nodes are the masters of the beginning, in the order of their slots, then the replicas of all of them in that order,
	// one each, then the second replicas.
	Nodes   []*Node
	Masters int // how many of the Nodes were masters in the beginning

	cfg     Config
	proxies proxies
}

// Node is one node of a cluster.
type Node struct {
	*redistest.Server
	ID string // its name in the cluster
}

// Run starts a cluster and returns when every node says that it is up, which takes a little more than 2 s. It fails with
// [redistest.ErrNotInstalled] when there is no redis-server on PATH. The context bounds the start only; [Group.Close] ends
// the cluster.
func Run(ctx context.Context, cfg Config) (*Group, error) {
	if cfg.Masters == 0 {
		cfg.Masters = 3
	}
	if cfg.NodeTimeout == 0 {
		cfg.NodeTimeout = 2 * time.Second
	}
	if cfg.Node.TLS && cfg.Replicas > 0 {
		return nil, errors.New("clustertest: a cluster with TLS cannot have replicas")
	}
	g := &Group{Masters: cfg.Masters, cfg: cfg}
	ctx, cancel := context.WithTimeout(ctx, formTimeout)
	defer cancel()
	err := g.startNodes(ctx)
	if err == nil {
		err = g.form(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// Close ends all nodes and proxies and removes their files. Calling it again does nothing.
func (g *Group) Close() error {
	g.proxies.close()
	return g.each(func(n *Node) error { return n.Server.Close() })
}

// each calls f for every node at once and joins the errors.
func (g *Group) each(f func(*Node) error) error {
	errs := make([]error, len(g.Nodes))
	var wg sync.WaitGroup
	for i, n := range g.Nodes {
		wg.Go(func() { errs[i] = f(n) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Addrs are the addresses of the first masters: seeds for a client.
func (g *Group) Addrs() []string {
	var addrs []string
	for _, n := range g.Nodes[:g.Masters] {
		addrs = append(addrs, n.Addr())
	}
	return addrs
}

// Options returns new options of a client for an administrator who may do everything, see [redistest.Server.Options].
// Every node has an administrator's password of its own, so these are for clusters whose nodes ask for none.
func (g *Group) Options() *redis.ClusterOptions {
	return &redis.ClusterOptions{
		Addrs: g.Addrs(), Password: g.cfg.Node.Password, TLSConfig: g.Nodes[0].TLSConfig(),
		DisableIdentity: true, MaintNotificationsConfig: g.Nodes[0].Options().MaintNotificationsConfig,
	}
}

// ByAddr returns the node of an address, or nil.
func (g *Group) ByAddr(addr string) *Node {
	i := slices.IndexFunc(g.Nodes, func(n *Node) bool { return n.Addr() == addr })
	if i < 0 {
		return nil
	}
	return g.Nodes[i]
}

// ReplicaOf returns a node that was made a replica of the given one of the first masters in the beginning.
func (g *Group) ReplicaOf(master int) *Node { return g.Nodes[g.Masters+master] }

// Cluster is a [Group] that belongs to a test: what goes wrong with it fails the test, and it ends with the test. Safe for
// concurrent use.
type Cluster struct {
	*Group
	tb testing.TB
}

// Option changes a [Config].
type Option func(*Config)

// Masters sets the number of masters, and of the replicas of each.
func Masters(n, replicas int) Option {
	return func(c *Config) { c.Masters, c.Replicas = n, replicas }
}

// NodeTimeout sets cluster-node-timeout.
func NodeTimeout(d time.Duration) Option { return func(c *Config) { c.NodeTimeout = d } }

// Nodes changes what all nodes have in common.
func Nodes(opts ...redistest.Option) Option {
	return func(c *Config) {
		for _, opt := range opts {
			opt(&c.Node)
		}
	}
}

// Start starts a cluster for a test. It skips the test when redis-server is not on PATH, and fails it instead when the
// environment variable CI is set.
func Start(tb testing.TB, opts ...Option) *Cluster {
	tb.Helper()
	c, err := startFor(tb, opts)
	switch {
	case errors.Is(err, redistest.ErrNotInstalled) && os.Getenv("CI") == "":
		tb.Skip("needs a real server: ", err)
	case err != nil:
		tb.Fatal(err)
	}
	return c
}

// StartAll starts several clusters at once.
func StartAll(tb testing.TB, opts ...[]Option) []*Cluster {
	tb.Helper()
	if len(opts) == 0 {
		return nil
	}
	clusters := make([]*Cluster, len(opts))
	var wg sync.WaitGroup
	for i, of := range opts[1:] {
		wg.Go(func() { clusters[i+1], _ = startFor(tb, of) })
	}
	clusters[0] = Start(tb, opts[0]...)
	wg.Wait()
	for i, of := range opts {
		if clusters[i] == nil { // what went wrong is told by the goroutine of the test
			clusters[i] = Start(tb, of...)
		}
	}
	return clusters
}

// check uses Errorf and not Fatalf: a test may break its clusters from any goroutine.
func (c *Cluster) check(what string, err error) {
	c.tb.Helper()
	if err != nil {
		c.tb.Errorf("clustertest: %s: %v", what, err)
	}
}
