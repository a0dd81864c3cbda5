package clusterclient_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/cluster"
	"github.com/redishook/multidb/internal/clusterclient"
	"github.com/redishook/multidb/internal/testkit/clustertest"
	"github.com/redishook/multidb/internal/testkit/testmain"
)

func TestMain(m *testing.M) { testmain.Run(m) }

// host is the least that a client can follow: it dials, and its connections refuse what comes after a switch. It runs nothing
// again, so what a caller is spared is the work of the client's side.
type host struct {
	choice   atomic.Pointer[clusterclient.Choice]
	end      func()
	clusters []*cluster.Cluster
	groups   map[*cluster.Cluster]*clustertest.Cluster
	done     chan struct{}
	wg       sync.WaitGroup
	detours  atomic.Int64
	onWatch  atomic.Pointer[func() (reply string)] // called for each WATCH, which is refused if it returns nothing
}

func newHost(t *testing.T, groups ...*clustertest.Cluster) *host {
	h := &host{done: make(chan struct{}), groups: make(map[*cluster.Cluster]*clustertest.Cluster)}
	for _, g := range groups {
		nodes := make(map[string]*redis.Client)
		for _, n := range g.Nodes {
			nodes[n.Addr()] = n.Client()
		}
		c := cluster.New(cluster.Config{Seeds: g.Addrs(), Asker: asker(nodes)})
		t.Cleanup(c.Close)
		_, err := c.Refresh(t.Context())
		require.NoError(t, err)
		h.clusters = append(h.clusters, c)
		h.groups[c] = g
	}
	if len(groups) > 0 {
		h.use(0)
	}
	t.Cleanup(func() { close(h.done); h.wg.Wait() })
	return h
}

type asker map[string]*redis.Client

func (a asker) Ask(ctx context.Context, addr string, full bool) cluster.View {
	if a[addr] == nil {
		return cluster.View{Addr: addr, Err: errors.New("nobody is there")}
	}
	return cluster.Look(ctx, a[addr], addr, full)
}

// use switches.
func (h *host) use(i int) *clusterclient.Choice {
	over := make(chan struct{})
	next := &clusterclient.Choice{Cluster: h.clusters[i], Over: over}
	h.choice.Store(next)
	if h.end != nil {
		h.end()
	}
	h.end = func() { close(over) }
	return next
}

func (h *host) Choice() *clusterclient.Choice { return h.choice.Load() }

func (h *host) Claimed(addr string, by *cluster.Cluster) bool {
	for _, c := range h.clusters {
		if t := c.Topology(); c != by && t != nil && t.Has(addr) {
			return true
		}
	}
	return false
}

func (h *host) Dial(ctx context.Context, n *clusterclient.Node) (net.Conn, error) {
	choice := h.Choice()
	addr, detour, err := n.Place(ctx, choice)
	if err != nil {
		return nil, err
	}
	if detour {
		h.detours.Add(1)
	}
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	return &gate{Conn: nc, host: h, choice: choice, detour: detour}, err
}

func (h *host) Handshake(ctx context.Context, cmd redis.Cmder, next redis.ProcessHook) (bool, error) {
	if name := cmd.Name(); name != "hello" && name != "client" {
		return false, nil
	}
	return true, next(ctx, cmd)
}

func (h *host) HandshakeBatch(ctx context.Context, cmds []redis.Cmder, next redis.ProcessPipelineHook) (bool, error) {
	if name := cmds[0].Name(); name != "hello" && name != "client" {
		return false, nil
	}
	return true, next(ctx, cmds)
}

func (h *host) NewNode() any { return nil }

func (h *host) Go(f func()) bool {
	select {
	case <-h.done:
		return false
	default:
		h.wg.Go(f)
		return true
	}
}

func (h *host) Done() <-chan struct{} { return h.done }

var errRefused = errors.New("refused before the first byte")

func (h *host) Refused(err error) bool { return errors.Is(err, errRefused) }

func (h *host) NotExecuted(why error) error { return fmt.Errorf("not executed: %w", why) }

// gate is a connection that takes no request but the handshake once its cluster is not in use.
type gate struct {
	net.Conn
	host   *host
	choice *clusterclient.Choice
	detour bool
	reply  string // to a request that was not passed on
}

func (g *gate) Write(p []byte) (int, error) {
	text := strings.ToLower(string(p))
	if strings.Contains(text, "hello") || strings.Contains(text, "setinfo") {
		return g.Conn.Write(p)
	}
	if f := g.host.onWatch.Load(); f != nil && strings.Contains(text, "\r\nwatch\r\n") {
		if g.reply = (*f)(); g.reply == "" {
			return 0, errRefused
		}
		return len(p), nil
	}
	if g.detour || g.host.Choice().Cluster != g.choice.Cluster {
		return 0, errRefused
	}
	return g.Conn.Write(p)
}

func (g *gate) Read(p []byte) (int, error) {
	if g.reply != "" {
		n := copy(p, g.reply)
		g.reply = g.reply[n:]
		return n, nil
	}
	return g.Conn.Read(p)
}

func pair(t *testing.T) (*host, []*clustertest.Cluster) {
	groups := clustertest.StartAll(t, []clustertest.Option{clustertest.Masters(3, 1)}, []clustertest.Option{clustertest.Masters(4, 0)})
	return newHost(t, groups...), groups
}

func follow(t *testing.T, h *host, opt *redis.ClusterOptions) (*redis.ClusterClient, *clusterclient.Client) {
	cc := redis.NewClusterClient(opt)
	t.Cleanup(func() { _ = cc.Close() })
	c, err := clusterclient.Follow(h, cc)
	require.NoError(t, err)
	return cc, c
}

// TestClientFollows: the topology of a client is that of the cluster in use when Await returns, without a request to any node,
// and commands that are under way in that moment are led to where they belong by redirects. If a load of go-redis' own undoes
// that, the client is put right while the choice holds.
func TestClientFollows(t *testing.T) {
	t.Parallel()
	h, groups := pair(t)
	for name, change := range map[string]func(*redis.ClusterOptions){
		"as it is":      func(*redis.ClusterOptions) {},
		"other seeds":   func(o *redis.ClusterOptions) { o.Addrs = []string{"localhost:1"} },
		"no routing":    func(o *redis.ClusterOptions) { o.DisableRoutingPolicies = true },
		"from replicas": func(o *redis.ClusterOptions) { o.ReadOnly = true },
		"small pools":   func(o *redis.ClusterOptions) { o.PoolSize = 3 },
	} {
		t.Run(name, func(t *testing.T) {
			opt := groups[0].Options()
			change(opt)
			cc, c := follow(t, h, opt)
			prefix := "n:" + strings.ReplaceAll(name, " ", "") + ":"
			var confirmed atomic.Int64
			var stop atomic.Bool
			var wg sync.WaitGroup
			failures := make(chan error, 100)
			for g := range 8 {
				wg.Go(func() {
					for i := 0; !stop.Load(); i++ {
						err := cc.Incr(context.Background(), prefix+strconv.Itoa((g*7919+i)%300)).Err()
						// A refusal comes from a cluster that was in use again a moment later. A redirect is left where one switch
						// after the other meets the same command, on a busy machine; the hook on the client runs it again.
						if errors.Is(err, errRefused) || err != nil && strings.HasPrefix(err.Error(), "MOVED ") {
							continue
						}
						if err != nil {
							select {
							case failures <- err:
							default:
							}
							continue
						}
						confirmed.Add(1)
					}
				})
			}
			var slowest time.Duration
			for i := range 30 {
				time.Sleep(10 * time.Millisecond)
				choice := h.use((i + 1) % 2)
				began := time.Now()
				c.Await(t.Context(), choice)
				slowest = max(slowest, time.Since(began))
				require.True(t, c.Synced(choice))
				for _, key := range []string{"a", "b", "c", "d"} {
					owner, _ := choice.Cluster.Topology().Owner(cluster.KeySlot(key))
					for undone := 0; ; undone++ {
						node, err := cc.MasterForKey(t.Context(), key)
						require.NoError(t, err)
						if node.Options().Addr == owner {
							break
						}
						require.Less(t, undone, 2000, "%s instead of %s, and nobody puts that right", node.Options().Addr, owner)
						time.Sleep(time.Millisecond) // between two looks
					}
				}
			}
			stop.Store(true)
			wg.Wait()
			close(failures)
			for err := range failures {
				t.Error(err)
			}
			a, b := groups[0].Sum(prefix), groups[1].Sum(prefix)
			syncs, stale := c.Counts()
			t.Logf("%d confirmed, %d + %d counted; slowest change %v, %d changes, %d undone, %d detours",
				confirmed.Load(), a, b, slowest, syncs, stale, h.detours.Load())
			require.Equal(t, confirmed.Load(), a+b)
			require.Positive(t, a)
			require.Positive(t, b)
		})
	}
}

// TestClientThatWasInUse: the nodes that it has had before are found and hooked.
func TestClientThatWasInUse(t *testing.T) {
	t.Parallel()
	h, groups := pair(t)
	cc := redis.NewClusterClient(groups[0].Options())
	defer cc.Close()
	for i := range 50 {
		require.NoError(t, cc.Set(t.Context(), strconv.Itoa(i), 1, 0).Err())
	}
	c, err := clusterclient.Follow(h, cc)
	require.NoError(t, err)
	require.Same(t, cc, c.Value())
	found := 0
	var mu sync.Mutex
	count := func(*redis.Client, *clusterclient.Node) { mu.Lock(); defer mu.Unlock(); found++ }
	require.NoError(t, c.Adopt(t.Context(), count))
	require.Equal(t, 6, found)
	require.NoError(t, c.Adopt(t.Context(), count))
	require.Equal(t, 6, found, "each is hooked once")
	asked := func() (calls int64) {
		for _, g := range groups {
			for _, n := range g.Nodes {
				calls += n.Calls("cluster|slots")
			}
		}
		return calls
	}
	before := asked()
	require.Positive(t, before)
	c.Await(t.Context(), h.use(1))
	require.Equal(t, before, asked(), "no node is asked for the topology")
	for i := range 50 {
		require.NoError(t, cc.Set(t.Context(), fmt.Sprintf("later:%d", i), 1, 0).Err())
	}
	for _, n := range groups[0].Nodes {
		require.Empty(t, n.Client().Keys(t.Context(), "later:*").Val())
	}
}

// TestWatchFollows: go-redis' Watch never asks for the topology again; a redirect leads it.
func TestWatchFollows(t *testing.T) {
	t.Parallel()
	h, groups := pair(t)
	cc, c := follow(t, h, groups[0].Options())
	for i := range 20 {
		choice := h.use(i % 2)
		if i%4 < 2 {
			c.Await(t.Context(), choice) // else the client has the topology of before
		}
		err := cc.Watch(t.Context(), func(tx *redis.Tx) error {
			_, err := tx.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
				p.Incr(t.Context(), "n:w")
				return nil
			})
			return err
		}, "n:w")
		require.NoError(t, err)
	}
	require.EqualValues(t, 10, groups[0].Sum("n:w"))
	require.EqualValues(t, 10, groups[1].Sum("n:w"))
}

// TestSplitCommandsAreWhole: an MGET over slots whose client has the topology of before has all values, and no nil for a key
// that nobody was asked for.
func TestSplitCommandsAreWhole(t *testing.T) {
	t.Parallel()
	h, groups := pair(t)
	cc, c := follow(t, h, groups[0].Options())
	cc.SetCommandInfoResolver(cc.NewDynamicResolver())
	keys := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	for i, g := range groups {
		c.Await(t.Context(), h.use(i))
		for _, key := range keys {
			require.NoError(t, cc.Set(t.Context(), key, fmt.Sprint(key, g.Masters), 0).Err())
		}
	}
	mget := redis.NewSliceCmd(t.Context(), "mget", "a", "b")
	require.True(t, c.Splits(t.Context(), mget))
	require.False(t, c.Splits(t.Context(), redis.NewCmd(t.Context(), "get", "a")))
	whole := clusterclient.Whole(func(ctx context.Context, cmd redis.Cmder) error { return cc.Process(ctx, cmd) })
	for i := range 20 {
		choice := h.use(i % 2) // nobody waits for the client
		args := []any{"mget"}
		for _, key := range keys {
			args = append(args, key)
		}
		cmd := redis.NewSliceCmd(t.Context(), args...)
		require.NoError(t, whole(t.Context(), cmd))
		for k, value := range cmd.Val() {
			require.Equal(t, fmt.Sprint(keys[k], len(choice.Cluster.Topology().Masters())), value)
		}
	}
	require.NoError(t, groups[1].Nodes[0].Kill())
	cmd := redis.NewSliceCmd(t.Context(), "mget", "a", "b", "c", "d", "e", "f", "g", "h")
	require.Error(t, whole(t.Context(), cmd), "what a part has failed with is not dropped")
}

// TestAwaitEnds: with ctx, with the choice, with the host, and after a second in any case.
func TestAwaitEnds(t *testing.T) {
	t.Parallel()
	g := clustertest.Start(t)
	h := newHost(t, g)
	never := cluster.New(cluster.Config{Seeds: []string{"192.0.2.1:1"}, Asker: asker(nil)})
	defer never.Close()
	h.clusters = append(h.clusters, never)
	_, c := follow(t, h, g.Options())
	choice := h.use(1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c.Await(ctx, choice)
	require.False(t, c.Synced(choice))
	began := time.Now()
	c.Await(t.Context(), choice)
	require.Less(t, time.Since(began), 3*time.Second)
	time.AfterFunc(20*time.Millisecond, func() { h.use(0) })
	choice = h.use(1)
	began = time.Now()
	c.Await(t.Context(), choice)
	require.Less(t, time.Since(began), time.Second)
	down := &clusterclient.Choice{Cluster: never, Down: true, Over: make(chan struct{})}
	c.Await(t.Context(), down)
}

// TestTopologyChangesWithinTheCluster: Renew makes the client have it.
func TestTopologyChangesWithinTheCluster(t *testing.T) {
	t.Parallel()
	g := clustertest.Start(t, clustertest.Masters(3, 1))
	h := newHost(t, g)
	cc, c := follow(t, h, g.Options())
	choice := h.Choice()
	c.Await(t.Context(), choice)
	require.NoError(t, cc.Set(t.Context(), "a", 1, 0).Err())
	owner := g.Owner(cluster.KeySlot("a"))
	var replica *clustertest.Node
	for i, n := range g.Nodes[:3] {
		if n == owner {
			replica = g.ReplicaOf(i)
		}
	}
	g.Failover(replica)
	_, err := choice.Cluster.Refresh(t.Context())
	require.NoError(t, err)
	c.Renew(t.Context(), choice)
	node, err := cc.MasterForKey(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, replica.Addr(), node.Options().Addr)
}
