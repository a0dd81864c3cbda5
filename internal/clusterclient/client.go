// Package clusterclient makes a *redis.ClusterClient follow one cluster after the other, without a change of its options: it
// answers the CLUSTER SLOTS by which go-redis loads its topology, and turns what comes to a node of another cluster into a
// redirect. It knows nothing of health, accounting and connections: those are the host's.
package clusterclient

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/cluster"
)

// Choice is one answer to "which cluster?". It never changes; two are the same if their addresses are.
type Choice struct {
	Cluster *cluster.Cluster
	Down    bool            // nothing is usable; Cluster is where commands went last
	Over    <-chan struct{} // closed once there is a newer choice
}

func (c *Choice) isOver() bool {
	select {
	case <-c.Over:
		return true
	default:
		return false
	}
}

// Host decides, and has the connections. Safe for concurrent use.
type Host interface {
	// Choice returns the current choice: one atomic load.
	Choice() *Choice
	// Claimed reports whether an address is known as that of a node of another cluster than the given one.
	Claimed(addr string, by *cluster.Cluster) bool
	// Dial dials for a node: see [Node.Place].
	Dial(ctx context.Context, n *Node) (net.Conn, error)
	// Handshake runs a command of go-redis' handshake; false says that it is none.
	Handshake(ctx context.Context, cmd redis.Cmder, next redis.ProcessHook) (bool, error)
	// HandshakeBatch is Handshake for a batch.
	HandshakeBatch(ctx context.Context, cmds []redis.Cmder, next redis.ProcessPipelineHook) (bool, error)
	// Refused reports whether err says that nothing was sent because the connection belongs to no current choice.
	Refused(err error) bool
	// NotExecuted makes an error of which go-redis knows nothing, and which says that nothing was executed.
	NotExecuted(why error) error
	// NewNode makes what the host has for each node, see [Node.Own]. It is called under a lock of go-redis'.
	NewNode() any
	// Go runs a function beside; false if the host is closed.
	Go(f func()) bool
	// Done is closed with the host.
	Done() <-chan struct{}
}

// Client is one ClusterClient that follows. It does not keep the client alive. Safe for concurrent use.
type Client struct {
	host     Host
	client   atomic.Pointer[weak.Pointer[redis.ClusterClient]] // nil: see Prepare
	prepared bool

	synced atomic.Pointer[Choice] // the choice whose topology the client has
	forced atomic.Int64           // loads under way that are answered from what is known, whichever node is asked
	turn   chan struct{}          // held by a load, capacity 1

	mu      sync.Mutex
	pending *loading // Guarded by mu; the load that is under way, or the last

	syncs, stale atomic.Uint64

	watches watches
}

// loading is one change of the client's topology.
type loading struct {
	choice *Choice
	done   chan struct{} // closed when the client has the topology, or will not get it
}

const (
	// syncPatience bounds how long a command or a switch waits for a client: it goes on by way of redirects then.
	syncPatience = time.Second
	// loadTimeout bounds one load.
	loadTimeout = 2 * time.Second
	// loadTries is how often the topology is loaded before it is left to redirects.
	loadTries = 50
)

func newClient(host Host) *Client { return &Client{host: host, turn: make(chan struct{}, 1)} }

// Value returns the client, or nil if nobody else has it any more.
func (c *Client) Value() *redis.ClusterClient {
	if client := c.client.Load(); client != nil {
		return client.Value()
	}
	return nil
}

// Adopt hooks the nodes that the client had before, and calls found with each. Nodes that the client knows under a name that
// its topology does not have are not found; go-redis drops them after a minute.
func (c *Client) Adopt(ctx context.Context, found func(node *redis.Client, hook *Node)) error {
	cc := c.Value()
	if cc == nil {
		return nil
	}
	c.forced.Add(1)
	defer c.forced.Add(-1)
	return cc.ForEachShard(ctx, func(_ context.Context, node *redis.Client) error {
		if hookOf(node) == nil {
			c.hook(node)
			found(node, hookOf(node))
		}
		return nil
	})
}

// Synced reports whether the client has the topology of a choice: one atomic load.
func (c *Client) Synced(choice *Choice) bool { return c.synced.Load() == choice }

// Counts returns how often the topology was changed, and how often a load that was under way has undone that.
func (c *Client) Counts() (syncs, stale uint64) { return c.syncs.Load(), c.stale.Load() }

// Await makes the client load the topology of a choice, without a request to any node, and waits until it has that. It waits
// no longer than a second, and not beyond ctx and the choice. A load of go-redis' own that was under way may undo it: that is
// put right within milliseconds, and redirects lead commands meanwhile.
func (c *Client) Await(ctx context.Context, choice *Choice) {
	if choice.Down || c.Synced(choice) {
		return
	}
	l := c.begin(choice)
	timer := time.NewTimer(syncPatience)
	defer timer.Stop()
	select {
	case <-l.done:
	case <-choice.Over:
	case <-ctx.Done():
	case <-c.host.Done():
	case <-timer.C:
	}
}

// Renew is Await for a choice whose cluster has another topology now.
func (c *Client) Renew(ctx context.Context, choice *Choice) {
	c.mu.Lock()
	c.pending = nil
	c.mu.Unlock()
	c.synced.CompareAndSwap(choice, nil)
	c.Await(ctx, choice)
}

// Reload makes the client load its topology beside, from a node.
func (c *Client) Reload() {
	if cc := c.Value(); cc != nil {
		cc.ReloadState(context.Background())
	}
}

// begin starts a load, unless it has been started.
func (c *Client) begin(choice *Choice) *loading {
	c.mu.Lock()
	if l := c.pending; l != nil && l.choice == choice {
		c.mu.Unlock()
		return l
	}
	l := &loading{choice: choice, done: make(chan struct{})}
	c.pending = l
	c.mu.Unlock()
	if !c.host.Go(func() { c.run(l) }) {
		close(l.done)
	}
	return l
}

// run loads, and looks afterwards whether that holds, because a load of go-redis' own may undo it:
//
//  1. go-redis' load is answered with the topology of the cluster in use;
//  2. the choice changes, and our load stores the new topology;
//  3. go-redis stores the topology of step 1. Nothing outside of go-redis sees that.
//
// Until we look, each command goes to a node of the cluster before, and its hook makes a redirect of it.
func (c *Client) run(l *loading) {
	c.load(l.choice)
	close(l.done)
	for _, after := range []time.Duration{time.Millisecond, 4 * time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond} {
		if !c.pause(after, l.choice) {
			return
		}
		if cc := c.Value(); cc != nil && c.synced.Load() == l.choice && !follows(cc, l.choice) {
			c.stale.Add(1)
			c.load(l.choice)
		}
	}
}

// load changes the topology of the client to that of the choice.
func (c *Client) load(choice *Choice) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-choice.Over:
		return
	case <-c.host.Done():
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), loadTimeout)
	defer cancel()
	for range loadTries {
		cc := c.Value()
		if cc == nil || choice.isOver() || ctx.Err() != nil {
			break
		}
		c.forced.Add(1)
		_ = cc.ForEachMaster(ctx, func(context.Context, *redis.Client) error { return nil }) // what it has done is looked at
		c.forced.Add(-1)
		if follows(cc, choice) {
			break
		}
		if !c.pause(time.Millisecond, choice) {
			return
		}
	}
	c.syncs.Add(1)
	if !choice.isOver() {
		c.synced.Store(choice) // even if the client does not follow: redirects lead it, and nobody must wait for ever
	}
}

// pause waits, and reports whether the choice still holds.
func (c *Client) pause(d time.Duration, choice *Choice) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-choice.Over:
	case <-c.host.Done():
	}
	return false
}

// samples are keys whose slots are spread over all slots.
var samples = sync.OnceValue(func() []string {
	const n = 16
	keys := make([]string, n)
	for i, missing := 0, n; missing > 0; i++ {
		key := "sample" + string(rune('a'+i%26)) + string(rune('a'+i/26%26))
		if at := cluster.KeySlot(key) * n / cluster.Slots; keys[at] == "" {
			keys[at] = key
			missing--
		}
	}
	return keys
})

// follows reports whether a client sends samples of keys to where they belong. It sends nothing.
func follows(cc *redis.ClusterClient, choice *Choice) bool {
	t := choice.Cluster.Topology()
	if t == nil {
		return false
	}
	for _, key := range samples() {
		owner, served := t.Owner(cluster.KeySlot(key))
		if !served {
			continue
		}
		node, err := cc.MasterForKey(context.Background(), key)
		if err != nil || node.Options().Addr != owner {
			return false
		}
	}
	return true
}
