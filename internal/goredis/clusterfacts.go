package goredis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/redishook/multidb/internal/resp"
)

// What a hook on a ClusterClient leans on. go-redis promises none of it, so it is tried: with a client whose nodes exist in
// this process only.

// ClusterFacts are the errors of the facts that do not hold; nil where a fact holds.
type ClusterFacts struct {
	// LeavesAlone: a request that was sent and ended with the error is not sent again by the redirect loop.
	LeavesAlone error
	// PartsOnce: a node's part of a pipeline is not sent again for the sake of its first reply, if its first command forbids it.
	PartsOnce error
	// TakesAnswer: the client loads its topology by a CLUSTER SLOTS that passes the process hook of a node, and believes an
	// answer that is given there. ForEachMaster does so before it returns.
	TakesAnswer error
	// FollowsHint: an error that reads "MOVED slot address", out of the process hook of a node, leads to that address.
	FollowsHint error
	// HooksNewNodes: a hook that OnNewNode adds sees the first dial of a node.
	HooksNewNodes error
}

// Err joins what does not hold.
func (f ClusterFacts) Err() error {
	return errors.Join(f.LeavesAlone, f.PartsOnce, f.TakesAnswer, f.FollowsHint, f.HooksNewNodes)
}

// TryCluster finds the facts out. lost makes the error with which a connection ends after a request was sent.
func TryCluster(lost func() error) ClusterFacts {
	return ClusterFacts{
		LeavesAlone: triedSent("a sent request", func(n *nodes, cc *redis.ClusterClient) {
			n.lost = lost
			_ = cc.Incr(context.Background(), "n").Err()
		}),
		PartsOnce: triedSent("a part of a pipeline", func(n *nodes, cc *redis.ClusterClient) {
			n.first = "-TRYAGAIN for the first command of each batch\r\n"
			_, _ = cc.Pipelined(context.Background(), func(p redis.Pipeliner) error {
				p.Get(context.Background(), "n")
				p.Incr(context.Background(), "n")
				return nil
			})
		}),
		TakesAnswer:   triedAnswer(),
		FollowsHint:   triedHint(),
		HooksNewNodes: triedNewNode(),
	}
}

// triedSent runs one INCR and reports whether it was sent more than once.
func triedSent(what string, run func(*nodes, *redis.ClusterClient)) error {
	n := &nodes{}
	cc := n.client("a:1")
	defer cc.Close()
	run(n, cc)
	if sent := n.count("incr"); sent != 1 {
		return fmt.Errorf("go-redis has sent %s %d times", what, sent)
	}
	return nil
}

// triedAnswer changes the answer to CLUSTER SLOTS and reports whether the client has followed.
func triedAnswer() error {
	n := &nodes{}
	cc := n.client("a:1")
	defer cc.Close()
	for _, addr := range []string{"a:1", "b:1"} {
		n.setOwner(addr)
		ctx := context.Background()
		if err := cc.ForEachMaster(ctx, func(context.Context, *redis.Client) error { return nil }); err != nil {
			return fmt.Errorf("go-redis has not taken the topology that a node's hook has answered: %w", err)
		}
		node, err := cc.MasterForKey(ctx, "n")
		if err != nil || node.Options().Addr != addr {
			return errors.New("go-redis does not follow the topology that a node's hook has answered")
		}
	}
	if asked := n.count("cluster"); asked > 0 {
		return errors.New("go-redis asks for the topology past the hooks of its nodes")
	}
	return nil
}

// triedHint answers a command with MOVED and reports whether it was sent to where that leads.
func triedHint() error {
	n := &nodes{hint: "b:1"}
	cc := n.client("a:1")
	defer cc.Close()
	err := cc.Incr(context.Background(), "n").Err()
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil || n.at["incr"] != "b:1" {
		return fmt.Errorf("go-redis has not followed a redirect out of a node's hook: the command was sent to %q (%w)", n.at["incr"], errors.Join(err))
	}
	return nil
}

// triedNewNode reports whether the first dial of each node went through its hook.
func triedNewNode() error {
	n := &nodes{}
	cc := n.client("a:1")
	defer cc.Close()
	err := cc.Incr(context.Background(), "n").Err()
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil || n.unhooked > 0 || n.hooked == 0 {
		return fmt.Errorf("go-redis has dialed a node past the hook that OnNewNode adds (%w)", errors.Join(err))
	}
	return nil
}

// nodes are the nodes of a cluster without a network, of which one owns all slots.
type nodes struct {
	lost  func() error // what the read after an INCR ends with; nil: it is answered
	first string       // the reply to the first command of a batch of several; empty: as to any
	hint  string       // where the first node sends a command on

	mu               sync.Mutex
	owner            string            // Guarded by mu
	sent             map[string]int    // Guarded by mu; by the name of the command
	at               map[string]string // Guarded by mu; where it was sent last
	hooked, unhooked int               // Guarded by mu; dials
}

func (n *nodes) setOwner(addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.owner = addr
}

func (n *nodes) count(name string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sent[name]
}

// client makes a client with a hook on each node.
func (n *nodes) client(addr string) *redis.ClusterClient {
	n.owner, n.sent, n.at = addr, make(map[string]int), make(map[string]string)
	cc := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: []string{addr}, Protocol: 2, DisableIdentity: true, MinRetryBackoff: -1, MaxRetryBackoff: -1, DialerRetries: 1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.unhooked++
			return nil, errors.New("past the hook")
		},
	})
	cc.OnNewNode(func(node *redis.Client) { node.AddHook(nodeHook{n, node.Options().Addr}) })
	return cc
}

// nodeHook is the hook on one node.
type nodeHook struct {
	*nodes
	addr string
}

func (h nodeHook) DialHook(redis.DialHook) redis.DialHook {
	return func(context.Context, string, string) (net.Conn, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.hooked++
		return &nodeConn{nodeHook: h}, nil
	}
}

func (h nodeHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if slots, ok := cmd.(*redis.ClusterSlotsCmd); ok {
			h.mu.Lock()
			defer h.mu.Unlock()
			slots.SetVal([]redis.ClusterSlot{{Start: 0, End: 16383, Nodes: []redis.ClusterNode{{Addr: h.owner}}}})
			return nil
		}
		if h.hint != "" && h.addr != h.hint && cmd.Name() == "incr" {
			return Moved{Slot: 1, Addr: h.hint}
		}
		return next(ctx, cmd)
	}
}

func (h nodeHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { return next(ctx, FirstOnce(cmds)) }
}

// nodeConn answers every command with an integer, and the handshake with an error, as an old server does.
type nodeConn struct {
	nodeHook
	replies string // go-redis uses a connection from one goroutine at a time
	ends    bool
}

func (c *nodeConn) Write(p []byte) (int, error) {
	rest, batch := p, 0
	for len(rest) > 0 {
		args, more, ok := resp.Parse(rest)
		if !ok {
			return 0, errors.New("not a whole request")
		}
		name := strings.ToLower(args[0])
		c.mu.Lock()
		c.sent[name]++
		c.at[name] = c.addr
		c.mu.Unlock()
		switch {
		case name == "command":
			c.replies += "*1\r\n*6\r\n$4\r\nincr\r\n:2\r\n*1\r\n+write\r\n:1\r\n:1\r\n:1\r\n"
		case name == "hello" || name == "client":
			c.replies += "-ERR unknown command\r\n"
		case name == "incr" && c.lost != nil:
			c.ends = true
		case c.first != "" && batch == 0 && len(more) > 0:
			c.replies += c.first
		default:
			c.replies += ":1\r\n"
		}
		rest, batch = more, batch+1
	}
	return len(p), nil
}

func (c *nodeConn) Read(p []byte) (int, error) {
	if c.replies == "" && c.ends {
		return 0, c.lost()
	}
	n := copy(p, c.replies)
	c.replies = c.replies[n:]
	return n, nil
}

func (c *nodeConn) Close() error                     { return nil }
func (c *nodeConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *nodeConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *nodeConn) SetDeadline(time.Time) error      { return nil }
func (c *nodeConn) SetReadDeadline(time.Time) error  { return nil }
func (c *nodeConn) SetWriteDeadline(time.Time) error { return nil }
