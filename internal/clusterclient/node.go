package clusterclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/cluster"
	"github.com/redishook/multidb/internal/goredis"
)

// Node is the hook on one node of a client. Its methods are go-redis'; they are pure, and what they return is safe for
// concurrent use.
type Node struct {
	// Own is the host's: what its NewNode has returned.
	Own any

	client *Client
	addr   string
	last   atomic.Pointer[membership]
}

// membership says whether a node belongs to the cluster of a choice. It is void with either.
type membership struct {
	choice   *Choice
	topology *cluster.Topology
	member   bool
}

// hook adds a hook to a node.
func (c *Client) hook(node *redis.Client) { node.AddHook(c.newNode(node.Options().Addr)) }

func (c *Client) newNode(addr string) *Node {
	return &Node{Own: c.host.NewNode(), client: c, addr: addr}
}

// Client returns the client that the node belongs to.
func (n *Node) Client() *Client { return n.client }

// Addr returns the address under which go-redis has the node.
func (n *Node) Addr() string { return n.addr }

// errUnknown says that a cluster has never answered.
var errUnknown = errors.New("the topology of the cluster is not known")

// member reports whether the node belongs to the cluster of a choice.
func (n *Node) member(ctx context.Context, choice *Choice) bool {
	c := choice.Cluster
	topology := c.Topology()
	if m := n.last.Load(); m != nil && m.choice == choice && m.topology == topology {
		return m.member
	}
	member := c.Belongs(ctx, n.addr, func(addr string) bool { return n.client.host.Claimed(addr, c) })
	n.last.Store(&membership{choice, c.Topology(), member})
	return member
}

// Place is where a connection for the node leads under a choice: to the node itself if it belongs to the cluster of the
// choice; else to any master of that cluster, as a detour, on which nothing may be sent but subscriptions, which can be had at
// any node.
func (n *Node) Place(ctx context.Context, choice *Choice) (addr string, detour bool, err error) {
	if n.member(ctx, choice) {
		return n.addr, false, nil
	}
	t, err := choice.Cluster.Known(ctx)
	if t == nil {
		return "", true, errors.Join(errUnknown, err)
	}
	return t.AnyMaster(), true, nil
}

// DialHook has the host dial. The next hook ends in the dialer of the client, which knows one cluster only.
func (n *Node) DialHook(redis.DialHook) redis.DialHook {
	return func(ctx context.Context, _, _ string) (net.Conn, error) { return n.dial(ctx) }
}

// ProcessHook answers what loads the topology, and redirects what has come to a node of another cluster. Everything else goes
// on to next: in full duplex, hooks only look on, and a command that was answered here would be executed all the same.
func (n *Node) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if query, ok := cmd.(*nodeQuery); ok {
			query.node = n
			return nil
		}
		if done, err := n.client.host.Handshake(ctx, cmd, next); done {
			return err
		}
		if slots, ok := cmd.(*redis.ClusterSlotsCmd); ok {
			return n.clusterSlots(ctx, slots, next)
		}
		err := next(ctx, cmd)
		if err == nil {
			n.client.watches.succeeded(cmd)
			return nil
		}
		err = n.redirected(ctx, cmd, err)
		if f := fanOf(ctx); f != nil {
			return f.failed(ctx, n, cmd, err)
		}
		return err
	}
}

// ProcessPipelineHook keeps go-redis from sending a part of a pipeline again for the sake of its first reply.
func (n *Node) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if done, err := n.client.host.HandshakeBatch(ctx, cmds, next); done {
			return err
		}
		if len(cmds) > 0 && !beginsTransaction(cmds) {
			cmds = goredis.FirstOnce(cmds)
		}
		return next(ctx, cmds)
	}
}

// beginsTransaction reports whether the batch is that of a TxPipeline, for which go-redis has a loop of its own.
func beginsTransaction(cmds []redis.Cmder) bool {
	if cmds[0].Name() == "asking" && len(cmds) > 1 {
		cmds = cmds[1:]
	}
	return cmds[0].Name() == "multi"
}

// clusterSlots answers where the client gets its topology from. A node of the cluster in use is asked itself, unless the
// client is to have at once what is known.
func (n *Node) clusterSlots(ctx context.Context, cmd *redis.ClusterSlotsCmd, next redis.ProcessHook) error {
	host := n.client.host
	choice := host.Choice()
	if choice.Down || n.client.forced.Load() == 0 && n.member(ctx, choice) {
		err := next(ctx, cmd)
		if after := host.Choice(); after == choice || choice.Down {
			if err == nil && !choice.Down {
				n.compare(choice, cmd)
			}
			return err
		}
		choice = host.Choice() // what was answered is about another cluster
	}
	t, err := choice.Cluster.Known(ctx)
	if t == nil {
		return errors.Join(errUnknown, err)
	}
	t.Answer(cmd)
	return nil
}

// compare has the cluster asked if a node has answered something else than what is known: slots may have moved.
func (n *Node) compare(choice *Choice, cmd *redis.ClusterSlotsCmd) {
	said, err := cluster.NewTopology(cluster.Resolve(cmd.Val(), n.addr), 0)
	if known := choice.Cluster.Topology(); err == nil && (known == nil || !known.SameOwners(said)) {
		choice.Cluster.Suspect()
	}
}

// redirected makes a redirect of a refusal by a connection that belongs to another cluster, where go-redis follows one: nobody does
// for a command of a Conn or a Tx, but for the WATCH with which a ClusterClient begins a Watch.
func (n *Node) redirected(ctx context.Context, cmd redis.Cmder, err error) error {
	if cmd.Name() == "watch" && goredis.BeginsClusterWatch() {
		return n.watchFailed(ctx, cmd, err)
	}
	if !n.client.host.Refused(err) || goredis.OnSession() {
		return err
	}
	if hint, leads := n.hint(ctx, cmd, err, false); leads {
		return hint
	}
	return err
}

// hint is a redirect to where a command belongs under the current choice, if that is known. It leads back to the node itself only if
// back is set: for other commands the hook on the client sees to that.
func (n *Node) hint(ctx context.Context, cmd redis.Cmder, err error, back bool) (hint goredis.Moved, leads bool) {
	choice := n.client.host.Choice()
	t := choice.Cluster.Topology()
	if choice.Down || t == nil || !back && n.member(ctx, choice) {
		return hint, false
	}
	slot := cluster.SlotOf(cmd)
	if addr, served := t.Owner(slot); served {
		return goredis.Moved{Slot: slot, Addr: addr, Instead: err}, true
	}
	return goredis.Moved{Slot: 0, Addr: t.AnyMaster(), Instead: err}, true
}

// watchFailed is what go-redis' Watch gets for the WATCH that it has sent: a redirect, where that leads on. A refusal by the node
// itself, which was left and is in use again, leads to the same node.
func (n *Node) watchFailed(ctx context.Context, cmd redis.Cmder, err error) error {
	host, w, goroutine := n.client.host, &n.client.watches, goredis.Goroutine()
	refused := host.Refused(err)
	if !refused && goredis.Find(err) != nil {
		w.end(goroutine) // go-redis does not go on
		return err
	}
	cc := n.client.Value()
	last := cc == nil || goroutine == "" || w.failed(ctx, goroutine) > cc.Options().MaxRedirects
	hint, leads := n.hint(ctx, cmd, err, true)
	switch {
	case !last && refused && leads:
		return hint
	case refused:
		w.end(goroutine)
		return err
	case last && forgotten(err):
		w.end(goroutine)
		return host.NotExecuted(fmt.Errorf("%w: %s", errRedirects, err.Error()))
	}
	return err
}

var errRedirects = errors.New("the client has followed as many redirects as its MaxRedirects says")

// forgotten reports an error after which go-redis' Watch looks for another node.
func forgotten(err error) bool {
	return Misrouted(err) || redis.IsReadOnlyError(err) || err == redis.ErrClosed //nolint:errorlint // go-redis compares it so
}

// nodeQuery asks a node for its hook. It has the name of a command that changes nothing, in case there is none.
type nodeQuery struct {
	*redis.Cmd
	node *Node
}

// hookOf returns the hook of a node, or nil. It sends nothing.
func hookOf(node *redis.Client) *Node {
	conn := node.Conn()
	defer conn.Close()
	conn.AddHook(goredis.Wall{})
	query := &nodeQuery{Cmd: redis.NewCmd(context.Background(), "client", "id")}
	_ = conn.Process(context.Background(), query)
	return query.node
}
