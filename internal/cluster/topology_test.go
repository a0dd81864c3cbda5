package cluster_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/redishook/multidb/internal/cluster"
	"github.com/redishook/multidb/internal/testkit/testmain"
)

func TestMain(m *testing.M) { testmain.Run(m) }

// nodes makes the nodes of one range; the name of a node is "id" and its port.
func nodes(addrs ...string) []redis.ClusterNode {
	var all []redis.ClusterNode
	for _, addr := range addrs {
		all = append(all, redis.ClusterNode{Addr: addr, ID: "id" + addr})
	}
	return all
}

// thirds are the slots of three masters a, b and c with a replica each.
func thirds() []redis.ClusterSlot {
	return []redis.ClusterSlot{
		{Start: 10923, End: 16383, Nodes: nodes("c:1", "cr:1")},
		{Start: 0, End: 5461, Nodes: nodes("a:1", "ar:1")},
		{Start: 5462, End: 10922, Nodes: nodes("b:1", "br:1")},
	}
}

func topology(t *testing.T, slots []redis.ClusterSlot, epoch int64) *cluster.Topology {
	topo, err := cluster.NewTopology(slots, epoch)
	require.NoError(t, err)
	return topo
}

func owner(t *testing.T, topo *cluster.Topology, slot int) string {
	addr, ok := topo.Owner(slot)
	require.True(t, ok, "slot %d", slot)
	return addr
}

func TestTopologyKnowsWhoServesWhat(t *testing.T) {
	topo := topology(t, thirds(), 7)
	for slot, want := range map[int]string{0: "a:1", 5461: "a:1", 5462: "b:1", 10922: "b:1", 10923: "c:1", 16383: "c:1"} {
		require.Equal(t, want, owner(t, topo, slot))
	}
	for _, slot := range []int{-1, 16384} {
		_, ok := topo.Owner(slot)
		require.False(t, ok)
	}
	require.EqualValues(t, 7, topo.Epoch())
	require.Equal(t, []string{"a:1", "b:1", "c:1"}, topo.Masters())
	require.Equal(t, []string{"br:1"}, topo.Replicas("b:1"))
	require.Equal(t, []string{"ar:1", "br:1", "cr:1"}, topo.AllReplicas())
	require.Equal(t, []string{"a:1", "ar:1", "b:1", "br:1", "c:1", "cr:1"}, topo.Members())
	require.True(t, topo.Has("cr:1"))
	require.False(t, topo.Has("d:1"))
	require.Equal(t, cluster.Slots, topo.Covered())
	require.Contains(t, topo.Masters(), topo.AnyMaster())
}

func TestTopologyWithHoles(t *testing.T) {
	slots := thirds()[:2]
	slots = append(slots, redis.ClusterSlot{Start: 6000, End: 6001}) // nobody serves these
	topo := topology(t, slots, 1)
	_, ok := topo.Owner(6000)
	require.False(t, ok)
	require.Equal(t, cluster.Slots-5461, topo.Covered())
}

func TestTopologyRefusesWhatMakesNoSense(t *testing.T) {
	for name, slots := range map[string][]redis.ClusterSlot{
		"nothing":       nil,
		"nobody":        {{Start: 0, End: 1}},
		"two owners":    {{Start: 0, End: 10, Nodes: nodes("a:1")}, {Start: 10, End: 11, Nodes: nodes("b:1")}},
		"too large":     {{Start: 0, End: 16384, Nodes: nodes("a:1")}},
		"negative":      {{Start: -1, End: 3, Nodes: nodes("a:1")}},
		"reversed":      {{Start: 4, End: 3, Nodes: nodes("a:1")}},
		"no address":    {{Start: 0, End: 3, Nodes: nodes("a")}},
		"empty address": {{Start: 0, End: 3, Nodes: nodes("")}},
	} {
		_, err := cluster.NewTopology(slots, 1)
		require.Error(t, err, name)
	}
}

// TestTopologyBelongsToNobodyElse: what it was made of, and what it has answered, may be changed by who has it.
func TestTopologyBelongsToNobodyElse(t *testing.T) {
	slots := thirds()
	topo := topology(t, slots, 1)
	slots[0].Nodes[0].Addr = "evil:1"
	cmd := redis.NewClusterSlotsCmd(context.Background(), "cluster", "slots")
	cmd.SetErr(redis.Nil)
	topo.Answer(cmd)
	require.NoError(t, cmd.Err())
	cmd.Val()[0].Nodes[0].Addr = "evil:2"
	require.Equal(t, "a:1", owner(t, topo, 0))
	again := redis.NewClusterSlotsCmd(context.Background(), "cluster", "slots")
	topo.Answer(again)
	require.Equal(t, "a:1", again.Val()[0].Nodes[0].Addr)
}

func TestTopologiesAreCompared(t *testing.T) {
	a := topology(t, thirds(), 1)
	require.True(t, a.Equal(topology(t, thirds(), 2)), "the epoch does not count")
	fewer := thirds()
	fewer[0].Nodes = fewer[0].Nodes[:1]
	b := topology(t, fewer, 1)
	require.True(t, a.SameOwners(b))
	require.False(t, a.Equal(b))
	moved := thirds()
	moved[1].Nodes = nodes("ar:1", "a:1")
	c := topology(t, moved, 1)
	require.False(t, a.SameOwners(c))
	require.Equal(t, a.Members(), c.Members())
	require.False(t, a.Equal(c))
}

func TestAddressesAreWhatGoRedisMakesOfThem(t *testing.T) {
	for _, c := range []struct{ said, origin, want string }{
		{"10.0.0.1:7000", "seed:6379", "10.0.0.1:7000"},
		{"127.0.0.1:7000", "seed:6379", "seed:7000"},
		{"[::1]:7000", "10.0.0.9:6379", "10.0.0.9:7000"},
		{"127.0.0.1:7000", "localhost:6379", "127.0.0.1:7000"},
		{"127.0.0.1:7000", "127.0.0.1:6379", "127.0.0.1:7000"},
		{"10.0.0.1:0", "seed:6379", "10.0.0.1:6379"},
		{":7000", "seed:6379", "seed:7000"},
		{"nonsense", "seed:6379", "nonsense"},
		{"10.0.0.1:7000", "nonsense", "10.0.0.1:7000"},
	} {
		got := cluster.Resolve([]redis.ClusterSlot{{Nodes: nodes(c.said)}}, c.origin)
		require.Equal(t, c.want, got[0].Nodes[0].Addr, "%+v", c)
	}
}

func TestKeySlot(t *testing.T) {
	for key, want := range map[string]int{
		"": 0, "123456789": 12739, "foo": 12182, "{user1000}.following": cluster.KeySlot("user1000"),
		"foo{}{bar}": cluster.KeySlot("foo{}{bar}"), "foo{{bar}}zap": cluster.KeySlot("{bar"), "foo{bar}{zap}": cluster.KeySlot("bar"),
	} {
		require.Equal(t, want, cluster.KeySlot(key), "%q", key)
	}
	require.NotEqual(t, cluster.KeySlot("foo{}{bar}"), cluster.KeySlot("bar"))
}

func TestSlotOfACommand(t *testing.T) {
	k := cluster.KeySlot("k")
	for _, c := range []struct {
		args []any
		want int
	}{
		{[]any{"get", "k"}, k},
		{[]any{"GET", []byte("k")}, k},
		{[]any{"spublish", "k", "x"}, k},
		{[]any{"get"}, cluster.NoSlot},
		{[]any{"get", 17}, cluster.NoSlot},
		{[]any{"ping", "k"}, cluster.NoSlot},
		{[]any{"eval", "return 1", 0}, cluster.NoSlot},
		{[]any{"eval", "return 1", "0"}, cluster.NoSlot},
		{[]any{"evalsha", "abc", 1, "k"}, k},
		{[]any{"fcall", "f", 1, "k", "x"}, k},
		{[]any{"xread", "count", 2, "streams", "k", "0"}, k},
		{[]any{"xreadgroup", "group", "streams", "c", "STREAMS", "k", ">"}, k},
		{[]any{"object", "encoding", "k"}, k},
		{[]any{"bitop", "and", "k", "b"}, k},
		{[]any{"zunion", 1, "k"}, k},
		{[]any{"blmpop", 0, 1, "k", "left"}, k},
		{[]any{"migrate", "h", 1, "k", 0, 5}, k},
		{[]any{"migrate", "h", 1, "", 0, 5, "keys", "k"}, k},
	} {
		require.Equal(t, c.want, cluster.SlotOf(redis.NewCmd(context.Background(), c.args...)), "%v", c.args)
	}
}

func view(addr string, epoch, own int64, slots []redis.ClusterSlot) cluster.View {
	return cluster.View{Addr: addr, ID: "id" + addr, OK: true, Epoch: epoch, MyEpoch: own, Slots: slots}
}

func views(all ...cluster.View) map[string]cluster.View {
	m := make(map[string]cluster.View)
	for _, v := range all {
		m[v.Addr] = v
	}
	return m
}

func TestMergeBelievesWhoServesTheSlot(t *testing.T) {
	// Slot 100 moves from a to b: b knows first, and has the younger epoch of its own.
	moved := []redis.ClusterSlot{
		{Start: 0, End: 99, Nodes: nodes("a:1", "ar:1")}, {Start: 100, End: 100, Nodes: nodes("b:1", "br:1")},
		{Start: 101, End: 5461, Nodes: nodes("a:1", "ar:1")}, {Start: 5462, End: 10922, Nodes: nodes("b:1", "br:1")},
		{Start: 10923, End: 16383, Nodes: nodes("c:1", "cr:1")},
	}
	topo, err := cluster.Merge(views(view("a:1", 4, 1, thirds()), view("b:1", 4, 4, moved), view("c:1", 4, 3, thirds())))
	require.NoError(t, err)
	require.Equal(t, "b:1", owner(t, topo, 100))
	require.Equal(t, "a:1", owner(t, topo, 99))
	require.Equal(t, "a:1", owner(t, topo, 101))
	require.Equal(t, cluster.Slots, topo.Covered())
}

// TestMergeDoesNotBelieveTheReplaced: a master that was cut off while it was replaced still thinks that it serves its slots.
func TestMergeDoesNotBelieveTheReplaced(t *testing.T) {
	after := thirds()
	after[1].Nodes = nodes("ar:1")
	old := view("a:1", 3, 1, thirds())
	old.OK = false
	for range 20 {
		topo, err := cluster.Merge(views(old, view("ar:1", 4, 4, after), view("b:1", 4, 2, after), view("c:1", 4, 3, after)))
		require.NoError(t, err)
		require.Equal(t, "ar:1", owner(t, topo, 0))
		require.False(t, topo.Has("a:1"), "a node that was replaced is none of the cluster")
	}
}

func TestMergeSaysWhyThereIsNothing(t *testing.T) {
	_, err := cluster.Merge(views(
		cluster.View{Addr: "a:1", Err: context.DeadlineExceeded}, cluster.View{Addr: "b:1", Limited: true}, view("c:1", 1, 1, nil)))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "node b:1")
	_, err = cluster.Merge(nil)
	require.Error(t, err)
}

// TestMergeOfAnything: whatever nodes say, there is either an error or a topology in which every slot has at most one owner
// that somebody has named.
func TestMergeOfAnything(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all := make(map[string]cluster.View)
		for i := range rapid.IntRange(0, 4).Draw(rt, "views") {
			var slots []redis.ClusterSlot
			for range rapid.IntRange(0, 5).Draw(rt, "ranges") {
				s := redis.ClusterSlot{Start: rapid.IntRange(-2, 16400).Draw(rt, "start"), End: rapid.IntRange(-2, 16400).Draw(rt, "end")}
				for range rapid.IntRange(0, 2).Draw(rt, "nodes") {
					s.Nodes = append(s.Nodes, nodes(rapid.SampledFrom([]string{"a:1", "b:1", "c:1", "", "x", ":0"}).Draw(rt, "addr"))...)
				}
				slots = append(slots, s)
			}
			addr := fmt.Sprintf("%c:1", 'a'+i)
			v := view(addr, rapid.Int64Range(0, 3).Draw(rt, "epoch"), rapid.Int64Range(0, 3).Draw(rt, "own"), cluster.Resolve(slots, addr))
			v.OK = rapid.Bool().Draw(rt, "ok")
			all[addr] = v
		}
		topo, err := cluster.Merge(all)
		if err != nil {
			return
		}
		covered := 0
		for slot := range cluster.Slots {
			if addr, ok := topo.Owner(slot); ok {
				covered++
				if !slices.Contains(topo.Masters(), addr) || !topo.Has(addr) {
					rt.Fatalf("slot %d is served by a stranger %q", slot, addr)
				}
			}
		}
		if covered != topo.Covered() {
			rt.Fatalf("%d slots have an owner, Covered is %d", covered, topo.Covered())
		}
	})
}
