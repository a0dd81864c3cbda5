package multidb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/cluster"
	"github.com/redishook/multidb/internal/clusterclient"
	"github.com/redishook/multidb/internal/conn"
	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/selector"
)

// A ClusterClient has two hooks of ours: one on the client, which sees commands as their callers do, and one on each of its
// nodes (package internal/clusterclient), which dials.

// clusterClients are the ClusterClients that follow.
type clusterClients struct {
	mu   sync.Mutex
	list []*clusterclient.Client // Guarded by mu
}

// all returns the clients that somebody has still.
func (c *clusterClients) all() []*clusterclient.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = slices.DeleteFunc(c.list, func(client *clusterclient.Client) bool { return client.Value() == nil })
	return slices.Clone(c.list)
}

// has reports whether a client follows.
func (c *clusterClients) has(cc *redis.ClusterClient) bool {
	return slices.ContainsFunc(c.all(), func(client *clusterclient.Client) bool { return client.Value() == cc })
}

// attachCluster is Attach for a ClusterClient.
func (h *Hook) attachCluster(cc *redis.ClusterClient) error {
	if cc == nil || reflect.ValueOf(cc).Elem().IsZero() {
		return errors.New("multidb: Attach: the client is nil or was not made by redis.NewClusterClient")
	}
	if !h.isCluster() {
		return errors.New("multidb: Attach: the client is a *redis.ClusterClient and the databases are single ones; " +
			"use a *redis.Client, or give each Database a Cluster")
	}
	if err := attachable(cc); err != nil {
		return err
	}
	if h.isClosed() {
		return ErrClosed
	}
	switch HookOf(cc) {
	case nil:
	case h:
		return nil
	default:
		return errors.New("multidb: Attach: the client follows another hook already")
	}
	client, err := clusterclient.Follow(clusterHost{h}, cc)
	if err != nil {
		return fmt.Errorf("multidb: Attach: %w", err)
	}
	h.clusters.mu.Lock()
	h.clusters.list = append(h.clusters.list, client)
	h.clusters.mu.Unlock()
	cc.AddHook(clusterHook{h, client})
	ctx, cancel := context.WithTimeout(h.ctx, 2*time.Second)
	defer cancel()
	// An error says that the client has no topology yet: then it has no nodes that are older than the hook.
	_ = client.Adopt(ctx, func(node *redis.Client, hook *clusterclient.Node) {
		h.oldConns().Purge(node)
		traits, _ := hook.Own.(*conn.Client)
		h.workers.Go(h.oldConns().Later(node, traits))
	})
	client.Await(ctx, h.selector.Current().Cluster)
	return nil
}

// attachable reports options of a client that would defeat the hook, and what to do about them.
func attachable(cc *redis.ClusterClient) error {
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

// isCluster reports whether the databases are clusters. All of them are, or none.
func (h *Hook) isCluster() bool { return h.selector.Current().DB.Cluster != nil }

// clusterHost is the hook as its ClusterClients have it.
type clusterHost struct{ *Hook }

func (h clusterHost) Choice() *clusterclient.Choice { return h.selector.Current().Cluster }
func (h clusterHost) Done() <-chan struct{}         { return h.ctx.Done() }
func (h clusterHost) Go(f func()) bool              { return h.workers.Go(f) }
func (h clusterHost) NewNode() any                  { return conn.NewClient() }

// Claimed asks the topologies of the other databases.
func (h clusterHost) Claimed(addr string, by *cluster.Cluster) bool {
	return slices.ContainsFunc(h.selector.All(), func(db *database.Database) bool {
		if db.Cluster == nil || db.Cluster == by {
			return false
		}
		t := db.Cluster.Topology()
		return t != nil && t.Has(addr)
	})
}

func (h clusterHost) Dial(ctx context.Context, n *clusterclient.Node) (net.Conn, error) {
	traits, _ := n.Own.(*conn.Client)
	return h.dial(ctx, traits, n)
}

// Handshake passes on what belongs to one connection.
func (h clusterHost) Handshake(ctx context.Context, cmd redis.Cmder, next redis.ProcessHook) (bool, error) {
	if !goredis.IsHandshake(cmd) {
		return false, nil
	}
	return true, h.runner.Handshake(ctx, cmd, next)
}

func (h clusterHost) HandshakeBatch(ctx context.Context, cmds []redis.Cmder, next redis.ProcessPipelineHook) (bool, error) {
	if len(cmds) > 0 && !goredis.IsHandshakeBatch(cmds) {
		return false, nil
	}
	return true, h.runner.HandshakeBatch(ctx, cmds, next)
}

// Refused reports a refusal at the gate of a connection, before the first byte.
func (h clusterHost) Refused(err error) bool {
	var gate conn.Refusal
	failed := commandErrors{}.Find(err)
	return !goredis.IsReply(err) && (failed == nil || !failed.Sent) && errors.As(err, &gate)
}

// clusterHook is the hook on a ClusterClient itself. Its methods are go-redis'; they are pure, and what they return is safe
// for concurrent use.
type clusterHook struct {
	*Hook
	client *clusterclient.Client
}

// DialHook changes nothing: a ClusterClient does not dial, its nodes do.
func (clusterHook) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook is [Hook.ProcessHook], behind the client's change to the cluster in use.
func (c clusterHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	split := clusterclient.Whole(next)
	return func(ctx context.Context, cmd redis.Cmder) error {
		now := c.selector.Current()
		if goredis.IsHandshake(cmd) {
			return c.runner.Handshake(ctx, cmd, next)
		}
		run := next
		if c.client.Splits(ctx, cmd) {
			run = split
		}
		if now.Down {
			return c.runner.Later(ctx, cmd, c.following(run), now)
		}
		if !c.client.Synced(now.Cluster) {
			c.client.Await(ctx, now.Cluster)
		}
		err := run(ctx, cmd)
		if err == nil {
			now.DB.Traffic.Succeeded()
			return nil
		}
		return c.runner.AfterFailure(ctx, cmd, c.following(run), now, err)
	}
}

// following runs a command once the client follows the choice of that moment.
func (c clusterHook) following(run redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if now := c.selector.Current(); !c.client.Synced(now.Cluster) {
			c.client.Await(ctx, now.Cluster)
		}
		return run(ctx, cmd)
	}
}

// ProcessPipelineHook is ProcessHook for pipelines and transactions.
func (c clusterHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	run := func(ctx context.Context, cmds []redis.Cmder) error {
		if now := c.selector.Current(); !c.client.Synced(now.Cluster) {
			c.client.Await(ctx, now.Cluster)
		}
		return next(ctx, cmds)
	}
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if len(cmds) == 0 {
			return next(ctx, cmds)
		}
		now, err := c.runner.Awaited(ctx, cmds)
		if err != nil {
			return err
		}
		err = run(ctx, cmds)
		switch {
		case err == nil:
			now.DB.Traffic.Succeeded()
			return nil
		case goredis.IsTxPipeline(cmds):
			return c.runner.AfterBatchFailure(ctx, cmds, run, now, err)
		}
		return c.runner.AfterPartsFailure(ctx, cmds, run, now, err)
	}
}

// followEpoch makes all clients follow the current choice.
func (h *Hook) followEpoch() {
	now := h.selector.Current()
	if now.Cluster == nil || now.Down {
		return
	}
	var wg sync.WaitGroup
	for _, client := range h.clusters.all() {
		wg.Go(func() { client.Await(h.ctx, now.Cluster) })
	}
	wg.Wait()
}

// followTopology makes all clients have the topology that the cluster in use has now, and ends what is left of the one before:
//
//  1. Connections to a node that was replaced because it is dead: it will not answer. A node that lives (CLUSTER FAILOVER)
//     answers what it owes.
//  2. Subscriptions to shard channels: they stay with the node that had the slot, which sends nothing any more.
func (h *Hook) followTopology(db *database.Database) {
	now := h.selector.Current()
	t := db.Cluster.Topology()
	if now.DB != db || now.Down || t == nil {
		return
	}
	for _, client := range h.clusters.all() {
		client.Renew(h.ctx, now.Cluster)
	}
	db.Conns.CutNodes(true, func(addr string) bool { return !slices.Contains(t.Masters(), addr) && db.Cluster.IsSilent(addr) })
}

// nodePlace is where a connection leads for a node of a ClusterClient: see clusterclient.Node.Place. It is the zero place for a
// single database. Only clients of the right kind are attached; AddHook alone does not ask, so this does.
func nodePlace(ctx context.Context, now *selector.Epoch, node *clusterclient.Node) (conn.Place, error) {
	switch {
	case now.Cluster == nil:
		return conn.Place{}, nil
	case node == nil:
		return conn.Place{}, errNotAttached
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
