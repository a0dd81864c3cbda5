package multidb

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/cluster"
	"github.com/redishook/multidb/probes"
)

// A database that is a whole Redis Cluster: who is asked about it, and what follows from the answers.

// clusterDatabase is what a database has that is a cluster. It is nil for others.
type clusterDatabase struct {
	*cluster.Cluster
	nodes   *clusterNodes
	timeout time.Duration        // of one survey
	whole   *redis.ClusterClient // for checks of a user's
	hook    atomic.Pointer[Hook] // nil before the hook has begun

	judging judging
}

// clusterNodes asks the nodes of a cluster, each through a client of its own.
type clusterNodes struct {
	db   *database
	base *redis.Options // of a probing client, but for the address

	mu      sync.Mutex
	clients map[string]*redis.Client // Guarded by mu
	closed  bool                     // Guarded by mu
}

// nodeOptions are the options by which a single node of the cluster is reached, at the first seed.
func nodeOptions(opt *redis.ClusterOptions) *redis.Options {
	return &redis.Options{
		Addr: opt.Addrs[0], Dialer: opt.Dialer, Protocol: opt.Protocol, TLSConfig: opt.TLSConfig,
		Username: opt.Username, Password: opt.Password,
		CredentialsProvider: opt.CredentialsProvider, CredentialsProviderContext: opt.CredentialsProviderContext,
		IdentitySuffix: opt.IdentitySuffix, DisableIdentity: opt.DisableIdentity, ClientName: opt.ClientName,
	}
}

// beCluster makes a database that is being built one that is a cluster.
func (db *database) beCluster(spec *redis.ClusterOptions, opt *Options) {
	nodes := &clusterNodes{db: db, base: probeOptions(nodeOptions(spec)), clients: make(map[string]*redis.Client)}
	db.cluster = &clusterDatabase{nodes: nodes, timeout: opt.Health.Timeout}
	db.cluster.Cluster = cluster.New(cluster.Config{
		Seeds: append([]string(nil), spec.Addrs...), Asker: nodes, Takeover: opt.Health.Takeover,
		NodeTimeout: nodes.nodeTimeout, Timeout: opt.Health.Timeout,
		Changed: func(*cluster.Topology) { db.topologyChanged() },
		Failed:  db.takeoverFailed,
		Healed:  func() { db.clusterHealed() },
	})
	checker := checkerOptions(nodes.base)
	db.cluster.whole = redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: spec.Addrs, Dialer: checker.Dialer, Protocol: checker.Protocol, TLSConfig: checker.TLSConfig,
		Username: checker.Username, Password: checker.Password,
		CredentialsProvider: checker.CredentialsProvider, CredentialsProviderContext: checker.CredentialsProviderContext,
		MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true, DialTimeout: checker.DialTimeout,
		ReadTimeout: checker.ReadTimeout, WriteTimeout: checker.WriteTimeout, PoolSize: checker.PoolSize,
		MaxIdleConns: checker.MaxIdleConns, PoolTimeout: checker.PoolTimeout, DisableIdentity: true,
		MaintNotificationsConfig: maintenanceOff(),
	})
	db.cluster.whole.OnNewNode(func(node *redis.Client) { node.AddHook(probeDial{db}) })
}

// client returns the client of a node.
func (n *clusterNodes) client(addr string) (*redis.Client, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, ErrClosed
	}
	if client := n.clients[addr]; client != nil {
		return client, nil
	}
	opt := *n.base
	opt.Addr = addr
	client := redis.NewClient(&opt)
	client.AddHook(probeDial{n.db})
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
	t := n.db.cluster.Topology()
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
func (c *clusterDatabase) close() error {
	err := errors.Join(c.nodes.close(), c.whole.Close())
	c.Cluster.Close()
	return err
}

// degraded is why the cluster is no place to go to, although commands may go there; nil if it is whole.
func (c *clusterDatabase) degraded() error {
	if since := c.Degraded(); !since.IsZero() {
		return fmt.Errorf("%w since %s", cluster.ErrDegraded, since.Format(time.RFC3339))
	}
	return nil
}

// gate is why a database is left out of a choice that has others; nil if it is not.
func (db *database) gate() error {
	if err := db.gateErr.Load(); err != nil {
		return *err
	}
	if db.cluster != nil {
		return db.cluster.degraded()
	}
	return nil
}

// clusterCheck is the default check of a cluster, and its quick probe.
type clusterCheck struct{ db *database }

func (clusterCheck) String() string { return "cluster" }

// Check asks the masters. A cluster that commands go to may replace a master of its own meanwhile; one that is not usable must
// be whole to be used.
func (p clusterCheck) Check(ctx context.Context, _ probes.Target) error {
	ctx, cancel := context.WithTimeout(ctx, p.db.scaled(p.db.cluster.timeout))
	defer cancel()
	return p.db.cluster.Check(ctx, !p.db.usable())
}

// topologyChanged makes clients follow what has changed within the cluster. It is called from a survey, so it only starts that.
func (db *database) topologyChanged() {
	if h := db.cluster.hook.Load(); h != nil {
		h.spawn(func() { h.followTopology(db) })
	}
}

// takeoverFailed makes a cluster suspect that has not replaced a master in time. It is enough once the cluster is not used.
func (db *database) takeoverFailed(err error) (enough bool) {
	h := db.cluster.hook.Load()
	if h == nil || !db.usable() || !h.inUse(db) {
		return true
	}
	h.suspect(db, err)
	return false
}

// clusterHealed has the choice looked at again: the cluster may be returned to.
func (db *database) clusterHealed() {
	if h := db.cluster.hook.Load(); h != nil {
		h.opt.Logger.Info("multidb: cluster is whole again", "database", db.name)
		recheckAll([]*database{db})
	}
}
