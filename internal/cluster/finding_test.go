package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/cluster"
)

var errRefused = errors.New("refused")

// TestJudge is the table of what a survey is worth.
func TestJudge(t *testing.T) {
	topo := topology(t, thirds(), 1)
	up := func(addrs ...string) map[string]cluster.View {
		m := make(map[string]cluster.View)
		for _, addr := range addrs {
			m[addr] = cluster.View{Addr: addr, OK: true}
		}
		return m
	}
	with := func(m map[string]cluster.View, others ...cluster.View) map[string]cluster.View {
		m = maps.Clone(m)
		for _, v := range others {
			m[v.Addr] = v
		}
		return m
	}
	dead := func(addr string) cluster.View { return cluster.View{Addr: addr, Err: errRefused} }
	fails := func(addr string) cluster.View { return cluster.View{Addr: addr} }
	for name, c := range map[string]struct {
		views    map[string]cluster.View
		state    cluster.State
		hopeless bool
	}{
		"all answer":                    {up("a:1", "b:1", "c:1"), cluster.Whole, false},
		"one says fail":                 {with(up("a:1", "b:1"), fails("c:1")), cluster.Whole, false},
		"two say fail":                  {with(up("a:1"), fails("b:1"), fails("c:1")), cluster.Degraded, false},
		"all say fail":                  {with(up(), fails("a:1"), fails("b:1"), fails("c:1")), cluster.Degraded, false},
		"one may not say":               {with(up("a:1"), cluster.View{Addr: "b:1", Limited: true}, fails("c:1")), cluster.Whole, false},
		"one is dead, its replica not":  {with(up("b:1", "c:1", "ar:1"), dead("a:1")), cluster.Degraded, false},
		"one and its replica are dead":  {with(up("b:1", "c:1"), dead("a:1"), dead("ar:1")), cluster.Degraded, true},
		"one is dead, nobody was asked": {with(up("b:1", "c:1"), dead("a:1")), cluster.Degraded, true},
		"one was not asked":             {up("b:1", "c:1", "ar:1"), cluster.Degraded, false},
		"two are dead":                  {with(up("c:1", "ar:1", "br:1"), dead("a:1"), dead("b:1")), cluster.Down, false},
		"nobody":                        {with(up(), dead("a:1"), dead("b:1"), dead("c:1")), cluster.Down, true},
	} {
		f := cluster.Judge(topo, c.views)
		require.Equal(t, c.state, f.State, name)
		require.Equal(t, c.hopeless, f.Hopeless, name)
		require.Equal(t, c.views["a:1"].Err != nil, f.Silent["a:1"], name)
	}
	holes := topology(t, thirds()[:2], 1)
	require.Equal(t, cluster.Degraded, cluster.Judge(holes, up("a:1", "c:1")).State, "slots that nobody serves")
}

// group is a cluster that answers as it is told. It takes no time unless a node hangs.
type group struct {
	mu    sync.Mutex
	slots []redis.ClusterSlot
	epoch int64
	state map[string]string // "dead", "hangs", "fail"; nothing: well
	asked map[string]int
	full  map[string]int
}

func newGroup() *group {
	return &group{slots: thirds(), epoch: 1, state: make(map[string]string), asked: make(map[string]int), full: make(map[string]int)}
}

func (g *group) Ask(ctx context.Context, addr string, full bool) cluster.View {
	g.mu.Lock()
	state, epoch, slots := g.state[addr], g.epoch, g.slots
	g.asked[addr]++
	if full {
		g.full[addr]++
	}
	g.mu.Unlock()
	switch state {
	case "dead":
		return cluster.View{Addr: addr, Err: errRefused}
	case "hangs":
		<-ctx.Done()
		return cluster.View{Addr: addr, Err: ctx.Err()}
	}
	v := cluster.View{Addr: addr, ID: "id" + addr, OK: state != "fail", Epoch: epoch, MyEpoch: epoch}
	if full {
		v.Slots = slots
	}
	return v
}

// set puts nodes into a state.
func (g *group) set(state string, addrs ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, addr := range addrs {
		g.state[addr] = state
	}
}

// promote makes the replica of a the master of its slots.
func (g *group) promote() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.slots = thirds()
	g.slots[1].Nodes = nodes("ar:1")
	g.epoch++
}

// told is what a cluster has told.
type told struct {
	mu      sync.Mutex
	changed []*cluster.Topology
	failed  []error
	healed  int
	deaf    int // how often nothing comes of a failure that is told
}

func (o *told) fail(err error) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failed = append(o.failed, err)
	return len(o.failed) > o.deaf
}

func (o *told) counts() (changed, failed, healed int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.changed), len(o.failed), o.healed
}

func watched(t *testing.T, g *group, takeover time.Duration) (*cluster.Cluster, *told) {
	o := &told{}
	c := cluster.New(cluster.Config{
		Seeds: []string{"a:1", "b:1"}, Asker: g, Takeover: takeover,
		NodeTimeout: func(context.Context) (time.Duration, error) { return 2 * time.Second, nil },
		Changed:     func(topo *cluster.Topology) { o.mu.Lock(); defer o.mu.Unlock(); o.changed = append(o.changed, topo) },
		Failed:      o.fail,
		Healed:      func(time.Duration) { o.mu.Lock(); defer o.mu.Unlock(); o.healed++ },
	})
	t.Cleanup(c.Close)
	return c, o
}

// check is one check with the timeout of a suspicion.
func check(t *testing.T, c *cluster.Cluster, whole bool) error {
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	err := c.Check(ctx, whole)
	require.NoError(t, ctx.Err(), "a check ends before its deadline")
	return err
}

func TestWholeClusterIsAskedForItsSlotsByOneNodeOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup()
		c, o := watched(t, g, 0)
		require.NoError(t, check(t, c, true))
		g.mu.Lock()
		clear(g.asked)
		clear(g.full)
		g.mu.Unlock()
		for range 3 {
			require.NoError(t, check(t, c, true))
		}
		require.Equal(t, map[string]int{"a:1": 3, "b:1": 3, "c:1": 3}, g.asked, "replicas are left alone")
		require.Equal(t, map[string]int{"a:1": 1, "b:1": 1, "c:1": 1}, g.full, "each tells its slots in turn")
		changed, failed, healed := o.counts()
		require.Zero(t, changed+failed+healed)
		require.Zero(t, c.Degraded())
	})
}

// TestTakeoverIsWaitedFor: a master dies, its replica is promoted after 4.7 s. Nothing fails, and the change is known 50 ms
// after the promotion, by the cluster's own watch.
func TestTakeoverIsWaitedFor(t *testing.T) {
	for _, how := range []string{"dead", "hangs"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGroup()
				c, o := watched(t, g, 0)
				require.NoError(t, check(t, c, false))
				g.set(how, "a:1")
				require.NoError(t, check(t, c, false))
				require.ErrorIs(t, check(t, c, true), cluster.ErrDegraded, "it is no place to go to")
				require.False(t, c.Degraded().IsZero())
				require.True(t, c.IsSilent("a:1"))
				require.False(t, c.IsSilent("b:1"))
				time.Sleep(4 * time.Second)
				g.set("fail", "b:1", "c:1", "ar:1") // the last second of a takeover
				time.Sleep(700 * time.Millisecond)
				news := c.News()
				at := time.Now()
				g.set("", "b:1", "c:1", "ar:1")
				g.promote()
				<-news
				require.LessOrEqual(t, time.Since(at), 50*time.Millisecond, "a silent node is not waited for")
				require.Equal(t, "ar:1", owner(t, c.Topology(), 0))
				require.False(t, c.Topology().Has("a:1"))
				time.Sleep(time.Second)
				require.Zero(t, c.Degraded())
				changed, failed, healed := o.counts()
				require.Equal(t, []int{1, 0, 1}, []int{changed, failed, healed})
				g.mu.Lock()
				before := g.asked["b:1"]
				g.mu.Unlock()
				time.Sleep(time.Minute)
				g.mu.Lock()
				defer g.mu.Unlock()
				require.Equal(t, before, g.asked["b:1"], "the watch has ended")
			})
		})
	}
}

// TestNewsComeOnceTheClusterServes: some masters refuse commands for a moment after a promotion, because they know of it later. And
// whoever waits for news is led to the new master already.
func TestNewsComeOnceTheClusterServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup()
		var led atomic.Bool
		c := cluster.New(cluster.Config{
			Seeds: []string{"a:1", "b:1"}, Asker: g, Takeover: time.Minute,
			Changed: func(*cluster.Topology) { time.Sleep(5 * time.Millisecond); led.Store(true) },
		})
		t.Cleanup(c.Close)
		require.NoError(t, check(t, c, false))
		g.set("hangs", "a:1")
		g.set("fail", "b:1", "c:1", "ar:1")
		require.NoError(t, check(t, c, false))
		time.Sleep(time.Second)
		news := c.News()
		g.set("", "ar:1")
		g.promote()
		<-news
		require.True(t, led.Load())
		require.Equal(t, "ar:1", owner(t, c.Topology(), 0))
		time.Sleep(time.Second)
		news = c.News()
		at := time.Now()
		g.set("", "b:1", "c:1")
		<-news
		require.LessOrEqual(t, time.Since(at), 50*time.Millisecond)
	})
}

// TestTakeoverThatDoesNotCome: after its time the cluster is down, and that is told once. The time is that of its node
// timeout, or what was set.
func TestTakeoverThatDoesNotCome(t *testing.T) {
	for takeover, want := range map[time.Duration]time.Duration{0: 6 * time.Second, 3 * time.Second: 3 * time.Second, -1: 0} {
		synctest.Test(t, func(t *testing.T) {
			g := newGroup()
			c, o := watched(t, g, takeover)
			require.NoError(t, check(t, c, false))
			g.set("dead", "a:1")
			at := time.Now()
			for check(t, c, false) == nil {
				time.Sleep(30 * time.Millisecond)
			}
			require.InDelta(t, want, time.Since(at), float64(60*time.Millisecond), "takeover %v", takeover)
			time.Sleep(time.Minute)
			_, failed, _ := o.counts()
			require.Equal(t, map[bool]int{true: 1}[takeover >= 0], failed, "there is nothing to watch without patience")
			g.set("", "a:1")
			require.NoError(t, check(t, c, true))
			_, _, healed := o.counts()
			require.Equal(t, 1, healed)
		})
	}
}

// TestFailureIsToldUntilSomethingComesOfIt: a suspicion may be cleared by a check that began before.
func TestFailureIsToldUntilSomethingComesOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup()
		c, o := watched(t, g, time.Second)
		o.mu.Lock()
		o.deaf = 3
		o.mu.Unlock()
		require.NoError(t, check(t, c, false))
		g.set("dead", "a:1")
		require.NoError(t, check(t, c, false))
		time.Sleep(time.Minute)
		_, failed, _ := o.counts()
		require.Equal(t, 4, failed)
	})
}

func TestMasterWithoutReplicaIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup()
		c, _ := watched(t, g, 0)
		require.NoError(t, check(t, c, false))
		g.set("dead", "a:1", "ar:1")
		require.NoError(t, check(t, c, false), "they may only have been slow")
		time.Sleep(time.Second)
		require.Error(t, check(t, c, false))
	})
}

func TestLostQuorumIsFoundAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup()
		c, _ := watched(t, g, 0)
		require.NoError(t, check(t, c, false))
		g.set("dead", "a:1", "b:1")
		g.set("hangs", "c:1")
		at := time.Now()
		require.ErrorIs(t, check(t, c, false), errRefused)
		require.Zero(t, time.Since(at), "who hangs is not waited for")
	})
}

func TestNothingIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup()
		g.set("dead", "a:1", "b:1")
		c, _ := watched(t, g, 0)
		require.ErrorIs(t, check(t, c, false), errRefused)
		require.Nil(t, c.Topology())
		_, err := c.Known(t.Context())
		require.ErrorIs(t, err, errRefused)
		g.set("", "b:1")
		topo, err := c.Known(t.Context())
		require.NoError(t, err)
		require.Equal(t, "c:1", owner(t, topo, 16383), "what one seed knows is enough")
	})
}

func TestUnknownAddressIsLookedUpOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup()
		c, _ := watched(t, g, 0)
		require.True(t, c.Belongs(t.Context(), "ar:1", nil))
		require.False(t, c.Belongs(t.Context(), "x:1", nil))
		g.mu.Lock()
		before := g.asked["b:1"]
		g.slots[0].Nodes = nodes("x:1", "c:1")
		g.epoch++
		g.mu.Unlock()
		require.False(t, c.Belongs(t.Context(), "x:1", nil), "it was asked about a moment ago")
		require.Equal(t, before, g.asked["b:1"])
		time.Sleep(200 * time.Millisecond)
		claimed := func(string) bool { return true }
		require.False(t, c.Belongs(t.Context(), "x:1", claimed), "another cluster has it")
		require.True(t, c.Belongs(t.Context(), "x:1", func(string) bool { return false }))
		require.True(t, c.Belongs(t.Context(), "x:1", claimed), "what is known needs no question")
	})
}

// TestOldNewsIsNoNews: neither a survey that began before the one that the topology comes from undoes it, nor a node that
// lives in an earlier epoch.
func TestOldNewsIsNoNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup()
		release := make(chan struct{})
		close(release)
		var mu sync.Mutex
		c := cluster.New(cluster.Config{Seeds: []string{"a:1"}, Asker: askerFunc(func(ctx context.Context, addr string, full bool) cluster.View {
			v := g.Ask(ctx, addr, full)
			mu.Lock()
			held := release
			mu.Unlock()
			<-held // the answer is on its way
			return v
		})})
		defer c.Close()
		refresh := func() {
			_, err := c.Refresh(t.Context())
			require.NoError(t, err)
		}
		refresh()
		slow := make(chan struct{})
		mu.Lock()
		release, slow = slow, release
		mu.Unlock()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			refresh()
		}()
		synctest.Wait()
		mu.Lock()
		release, slow = slow, release
		mu.Unlock()
		time.Sleep(time.Millisecond)
		g.mu.Lock()
		g.slots = thirds()
		g.slots[1].Nodes = nodes("ar:1") // in the same epoch
		g.mu.Unlock()
		refresh()
		require.Equal(t, "ar:1", owner(t, c.Topology(), 0))
		close(slow)
		<-ended
		require.Equal(t, "ar:1", owner(t, c.Topology(), 0))
		g.mu.Lock()
		g.slots, g.epoch = thirds(), 0
		g.mu.Unlock()
		refresh()
		require.Equal(t, "ar:1", owner(t, c.Topology(), 0))
	})
}

type askerFunc func(context.Context, string, bool) cluster.View

func (f askerFunc) Ask(ctx context.Context, addr string, full bool) cluster.View {
	return f(ctx, addr, full)
}

func TestSuspectRefreshesBeside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup()
		c, o := watched(t, g, 0)
		require.NoError(t, check(t, c, false))
		g.promote()
		for range 10 {
			c.Suspect()
		}
		synctest.Wait()
		changed, _, _ := o.counts()
		require.Equal(t, 1, changed)
		require.Equal(t, "ar:1", owner(t, c.Topology(), 0))
	})
}

func TestClosedClusterAsksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup()
		c, _ := watched(t, g, 0)
		require.NoError(t, check(t, c, false))
		g.set("dead", "a:1")
		require.NoError(t, check(t, c, false))
		c.Close()
		g.mu.Lock()
		clear(g.asked)
		g.mu.Unlock()
		require.Error(t, check(t, c, false))
		c.Suspect()
		time.Sleep(time.Minute)
		g.mu.Lock()
		defer g.mu.Unlock()
		require.Empty(t, g.asked)
	})
}

func TestString(t *testing.T) {
	g := newGroup()
	c, _ := watched(t, g, 0)
	require.Equal(t, "cluster: unknown", c.String())
	require.NoError(t, c.Check(t.Context(), true))
	require.Equal(t, fmt.Sprintf("cluster: 3 masters, %d slots", cluster.Slots), c.String())
}
