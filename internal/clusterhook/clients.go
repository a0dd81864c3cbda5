// Package clusterhook is the hook on ClusterClients. Each has two hooks of ours: one on the client, which sees commands as their
// callers do, and one on each of its nodes (package internal/clusterclient), which dials.
package clusterhook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/blocked"
	"github.com/redishook/multidb/internal/clusterclient"
	"github.com/redishook/multidb/internal/conn"
	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/dialer"
	"github.com/redishook/multidb/internal/failure"
	"github.com/redishook/multidb/internal/oldconns"
	"github.com/redishook/multidb/internal/runner"
	"github.com/redishook/multidb/internal/selector"
)

// Config is what the clients of a hook have in common. It must not be changed.
type Config struct {
	Choice *selector.Selector
	Runner *runner.Runner
	Dialer *dialer.Dialer
	Errors failure.Errors
	Old    oldconns.Replacer
	// Waiting are the commands that wait for something to come.
	Waiting *blocked.Commands
	// Ctx ends when the hook is closed. Go starts a goroutine that the hook joins; false: it is closed.
	Ctx context.Context
	Go  func(func()) bool
}

// Clients are the ClusterClients that follow a hook. Safe for concurrent use.
type Clients struct {
	cfg Config

	mu   sync.Mutex
	list []*clusterclient.Client // Guarded by mu
}

// New makes the clients of a hook: none yet.
func New(cfg Config) *Clients { return &Clients{cfg: cfg} }

// all returns the clients that somebody has still.
func (c *Clients) all() []*clusterclient.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = slices.DeleteFunc(c.list, func(client *clusterclient.Client) bool { return client.Value() == nil })
	return slices.Clone(c.list)
}

// Has reports whether a client follows.
func (c *Clients) Has(cc *redis.ClusterClient) bool {
	return slices.ContainsFunc(c.all(), func(client *clusterclient.Client) bool { return client.Value() == cc })
}

// Attachable reports options of a client that would defeat the hook, and what to do about them.
func Attachable(cc *redis.ClusterClient) error {
	opt := cc.Options()
	switch {
	case opt.ClusterSlots != nil:
		return errors.New("multidb: Attach: the client has ClusterSlots (redis.NewFailoverClusterClient sets it), so its topology " +
			"cannot be changed in a switch; leave it nil, and let the client ask its nodes")
	case opt.StreamingCredentialsProvider != nil:
		return errors.New("multidb: Attach: the client has a StreamingCredentialsProvider, which would send its credentials " +
			"to every database; give each Database a CredentialsProviderContext instead")
	case opt.MinIdleConns > 0 && !clusterclient.Prepared(cc):
		return fmt.Errorf("multidb: Attach: the client has MinIdleConns = %d: go-redis would dial the nodes of every database before "+
			"the hook is on them, with the credentials of the client; make the client with hook.ClusterOptions(opt), or leave "+
			"MinIdleConns at 0", opt.MinIdleConns)
	}
	return nil
}

// Follow makes a client follow the hook, with the connections that the client has already. The client must be Attachable.
func (c *Clients) Follow(cc *redis.ClusterClient) error {
	client, err := clusterclient.Follow(host{c}, cc)
	if err != nil {
		return fmt.Errorf("multidb: Attach: %w", err)
	}
	c.mu.Lock()
	c.list = append(c.list, client)
	c.mu.Unlock()
	cc.AddHook(hook{c, client})
	ctx, cancel := context.WithTimeout(c.cfg.Ctx, 2*time.Second)
	defer cancel()
	// An error says that the client has no topology yet: then it has no nodes that are older than the hook.
	_ = client.Adopt(ctx, func(node *redis.Client, n *clusterclient.Node) {
		c.cfg.Old.Purge(node)
		traits, _ := n.Own.(*conn.Client)
		c.cfg.Go(c.cfg.Old.Later(node, traits))
	})
	client.Await(ctx, c.cfg.Choice.Current().Cluster)
	return nil
}

// Options returns a copy of the options of a client with which every connection of a node follows the hook from the first on.
func (c *Clients) Options(opt *redis.ClusterOptions) *redis.ClusterOptions {
	return clusterclient.Prepare(host{c}, opt)
}

// Await waits until a client has the topology of the cluster in use, for a second at most.
func (c *Clients) Await(ctx context.Context, cc *redis.ClusterClient) {
	now := c.cfg.Choice.Current()
	if now.Cluster == nil || now.Down {
		return
	}
	for _, client := range c.all() {
		if client.Value() == cc {
			client.Await(ctx, now.Cluster)
		}
	}
}

// FollowEpoch makes all clients follow the current choice.
func (c *Clients) FollowEpoch() {
	now := c.cfg.Choice.Current()
	if now.Cluster == nil || now.Down {
		return
	}
	var wg sync.WaitGroup
	for _, client := range c.all() {
		wg.Go(func() { client.Await(c.cfg.Ctx, now.Cluster) })
	}
	wg.Wait()
}

// FollowTopology makes all clients have the topology that the cluster in use has now, and ends what is left of the one before:
//
//  1. Connections to a node that was replaced because it is dead: it will not answer. A node that lives (CLUSTER FAILOVER)
//     answers what it owes.
//  2. Subscriptions to shard channels: they stay with the node that had the slot, which sends nothing any more.
func (c *Clients) FollowTopology(db *database.Database) {
	now := c.cfg.Choice.Current()
	t := db.Cluster.Topology()
	if now.DB != db || now.Down || t == nil {
		return
	}
	for _, client := range c.all() {
		client.Renew(c.cfg.Ctx, now.Cluster)
	}
	db.Conns.CutNodes(true, func(addr string) bool { return !slices.Contains(t.Masters(), addr) && db.Cluster.IsSilent(addr) })
}
