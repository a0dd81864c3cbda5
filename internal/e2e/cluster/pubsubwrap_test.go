package cluster_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/cluster"
	"github.com/redishook/multidb/internal/testkit/clustertest"
	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/pubsubwrap"
)

// audience is a subscriber on clusters, what it has received, and what publishers have published.
type audience struct {
	p   *pair
	sub *pubsubwrap.Subscriber

	mu      sync.Mutex
	got     map[string][]int    // Guarded by mu; numbers of messages in the order of their arrival, by channel or pattern
	notices []notice            // Guarded by mu
	said    map[string][]saying // Guarded by mu; by channel, in the order of their numbers
	errs    []error             // Guarded by mu; of the stream

	stop    atomic.Bool
	talking sync.WaitGroup
	reading sync.WaitGroup
}

// notice is one Switched, and when it came.
type notice struct {
	pubsubwrap.Switched
	at time.Time
}

// saying is one PUBLISH, the time that it took, and what became of it.
type saying struct {
	from, to time.Time
	err      error
}

const (
	plainChannel = "plain"
	anyPattern   = "pattern:*"
)

// newAudience subscribes to shard channels, to a channel and to a pattern.
func newAudience(t *testing.T, p *pair, shards int, opt pubsubwrap.Options) *audience {
	a := &audience{p: p, got: make(map[string][]int), said: make(map[string][]saying)}
	var err error
	a.sub, err = pubsubwrap.New(p.rdb, opt)
	require.NoError(t, err)
	a.reading.Go(a.read)
	t.Cleanup(func() {
		a.stop.Store(true)
		a.talking.Wait()
		require.NoError(t, a.sub.Close())
		a.reading.Wait()
	})
	var names []string
	for i := range shards {
		names = append(names, shardChannel(i))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if shards > 0 {
		require.NoError(t, a.sub.SSubscribe(ctx, names...))
	}
	require.NoError(t, a.sub.Subscribe(ctx, plainChannel))
	require.NoError(t, a.sub.PSubscribe(ctx, anyPattern))
	return a
}

func shardChannel(i int) string { return "shard:" + strconv.Itoa(i) }

// read notes what comes.
func (a *audience) read() {
	for e := range a.sub.Channel() {
		a.mu.Lock()
		switch {
		case e.Message != nil:
			name := e.Message.Channel
			if e.Message.Pattern != "" {
				name = e.Message.Pattern
			}
			number, _ := strconv.Atoi(e.Message.Payload)
			a.got[name] = append(a.got[name], number)
		case e.Switched != nil:
			a.notices = append(a.notices, notice{*e.Switched, time.Now()})
		default:
			a.errs = append(a.errs, e.Err)
		}
		a.mu.Unlock()
	}
}

// talk publishes to one channel until the end. publish sends one message.
func (a *audience) talk(name string, publish func(ctx context.Context, number int) error) {
	a.talking.Go(func() {
		for i := 0; !a.stop.Load(); i++ {
			from := time.Now()
			err := publish(context.Background(), i)
			a.mu.Lock()
			a.said[name] = append(a.said[name], saying{from, time.Now(), err})
			a.mu.Unlock()
			time.Sleep(2 * time.Millisecond)
		}
	})
}

// talkAll publishes to everything by the client of the application, which follows the hook as the subscriber does.
func (a *audience) talkAll(shards int) {
	for i := range shards {
		name := shardChannel(i)
		a.talk(name, func(ctx context.Context, n int) error { return a.p.rdb.SPublish(ctx, name, n).Err() })
	}
	a.talk(plainChannel, func(ctx context.Context, n int) error { return a.p.rdb.Publish(ctx, plainChannel, n).Err() })
	a.talk(anyPattern, func(ctx context.Context, n int) error { return a.p.rdb.Publish(ctx, "pattern:1", n).Err() })
}

// heardSince waits until everything that is talked about has brought a message that was published after a time.
func (a *audience) heardSince(t *testing.T, since time.Time, limit time.Duration, names ...string) time.Duration {
	t.Helper()
	redistest.Eventually(t, limit, "all to be heard", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, name := range names {
			numbers := a.got[name]
			if len(numbers) == 0 || len(a.said[name]) <= numbers[len(numbers)-1] || a.said[name][numbers[len(numbers)-1]].from.Before(since) {
				return false
			}
		}
		return true
	})
	return time.Since(since)
}

// names are all that is subscribed to.
func names(shards int) []string {
	all := []string{plainChannel, anyPattern}
	for i := range shards {
		all = append(all, shardChannel(i))
	}
	return all
}

// finish lets everything arrive and returns how many messages of each channel are missing. No message may have come twice, and
// one that is missing must be in a gap that the stream has told.
func (a *audience) finish(t *testing.T) (missing map[string]int) {
	t.Helper()
	a.stop.Store(true)
	a.talking.Wait()
	time.Sleep(300 * time.Millisecond) // what is on its way within a cluster
	a.mu.Lock()
	defer a.mu.Unlock()
	require.Empty(t, a.errs)
	missing = make(map[string]int)
	for name, said := range a.said {
		times := make(map[int]int)
		for _, n := range a.got[name] {
			times[n]++
			require.Equal(t, 1, times[n], "%s: message %d", name, n)
		}
		for n, s := range said {
			if s.err != nil || times[n] == 1 {
				continue
			}
			missing[name]++
			require.True(t, a.told(name, s), "%s: message %d of %d is missing, published at %v, and not told: %v",
				name, n, len(said), s.from.Format("05.000"), a.gaps())
		}
	}
	return missing
}

// slack is for the time between a notice and its arrival here.
const slack = 50 * time.Millisecond

// told reports whether a notice about a channel covers the time of a message. Caller must hold mu.
func (a *audience) told(name string, s saying) bool {
	return slices.ContainsFunc(a.notices, func(n notice) bool {
		about := n.ShardChannels == nil && !strings.HasPrefix(name, "shard:") || slices.Contains(n.ShardChannels, name)
		return about && n.Gap > 0 && s.to.After(n.at.Add(-n.Gap-slack)) && s.from.Before(n.at)
	})
}

// gaps describes the notices. Caller must hold mu.
func (a *audience) gaps() (all []string) {
	for _, n := range a.notices {
		all = append(all, fmt.Sprintf("%s %s>%s %s %v %v", n.at.Format("05.000"), n.From, n.To, n.Reason, n.Gap, n.ShardChannels))
	}
	return all
}

// TestSubscribersOnClustersLoseNothingInPlannedSwitches: every message of shard channels, of a channel and of a pattern comes
// once, and each connection says of each switch that nothing is missing.
func TestSubscribersOnClustersLoseNothingInPlannedSwitches(t *testing.T) {
	t.Parallel()
	for name, opt := range map[string]pubsubwrap.Options{"one": {}, "fan-in": {FanIn: true}} {
		t.Run(name, func(t *testing.T) {
			const shards, moves = 6, 8
			p := newPair(t, setup{})
			a := newAudience(t, p, shards, opt)
			a.talkAll(shards)
			for i := range moves {
				time.Sleep(250 * time.Millisecond)
				require.NoError(t, p.hook.SetActive(t.Context(), []string{"B", "A"}[i%2]))
				a.heardSince(t, time.Now(), 5*time.Second, names(shards)...)
			}
			missing := a.finish(t)
			require.Empty(t, missing)
			a.mu.Lock()
			defer a.mu.Unlock()
			for name, said := range a.said {
				require.Greater(t, len(said), moves*10, name)
				require.Len(t, a.got[name], len(said), name)
				// What was published on a channel at another node is passed on by the cluster.
				require.True(t, !strings.HasPrefix(name, "shard:") || opt.FanIn || slices.IsSorted(a.got[name]), "%s: the order", name)
			}
			if opt.FanIn {
				require.Empty(t, a.notices)
				return
			}
			about := make(map[string]int)
			for _, n := range a.notices {
				require.True(t, n.Planned && n.Gap == 0, "%+v", n)
				about[strings.Join(n.ShardChannels, " ")]++
			}
			require.Equal(t, moves, about[""], "of the connection for channels and patterns")
			for i := range shards {
				require.Equal(t, moves, about[shardChannel(i)])
			}
		})
	}
}

// TestSubscribersOnClustersAreToldOfACrash: of a whole cluster. What is missing was published in a gap that was told.
func TestSubscribersOnClustersAreToldOfACrash(t *testing.T) {
	t.Parallel()
	const shards = 6
	p := newPair(t, setup{})
	a := newAudience(t, p, shards, pubsubwrap.Options{})
	a.talkAll(shards)
	a.heardSince(t, time.Now(), 5*time.Second, names(shards)...)
	time.Sleep(200 * time.Millisecond)
	p.a.Kill()
	t.Log("all hear again after", a.heardSince(t, time.Now(), 10*time.Second, names(shards)...))
	t.Log("missing:", a.finish(t))
	a.mu.Lock()
	defer a.mu.Unlock()
	about := make(map[string]int)
	for _, n := range a.notices {
		require.Equal(t, "B", n.To, "%+v", n)
		require.False(t, n.Planned)
		require.Positive(t, n.Gap)
		about[strings.Join(n.ShardChannels, " ")]++
	}
	require.Len(t, about, shards+1)
}

// TestSubscribersFollowSlotsWithinACluster: a slot moves, a replica is promoted, a master dies. There is no switch; only the
// connections to the nodes concerned are lost, which their notices tell.
func TestSubscribersFollowSlotsWithinACluster(t *testing.T) {
	t.Parallel()
	const shards = 9
	p := newPair(t, setup{})
	a := newAudience(t, p, shards, pubsubwrap.Options{})
	a.talkAll(shards)
	a.heardSince(t, time.Now(), 5*time.Second, names(shards)...)

	slot := cluster.KeySlot(shardChannel(3))
	from := p.a.Owner(slot)
	to := p.a.Nodes[0]
	if from == to {
		to = p.a.Nodes[1]
	}
	a.settle()
	p.a.MoveSlots(from, to, slot)
	// A replica takes SPUBLISH as well and passes it on, so a cluster keeps no order while its nodes change their roles.
	t.Log("moved: all hear after", a.heardSince(t, time.Now(), 2*time.Second, names(shards)...))
	a.mu.Lock()
	for _, n := range a.notices {
		require.Equal(t, []string{shardChannel(3)}, n.ShardChannels, "the others have not moved")
		require.Equal(t, pubsubwrap.ReasonConnectionLost, n.Reason)
		require.Equal(t, "A", n.From+n.To[1:])
		require.Positive(t, n.Gap)
	}
	require.NotEmpty(t, a.notices)
	a.mu.Unlock()

	a.settle()
	p.a.Failover(p.a.ReplicaOf(2))
	t.Log("promoted: all hear after", a.heardSince(t, time.Now(), 2*time.Second, names(shards)...))

	a.settle()
	require.NoError(t, p.a.Nodes[1].Kill())
	p.a.AwaitMaster(p.a.ReplicaOf(1))
	t.Log("replaced: all hear after", a.heardSince(t, time.Now(), 10*time.Second, names(shards)...))

	t.Log("missing:", a.finish(t))
	require.Empty(t, p.moves())
}

// settle lets the subscriber be where it is for a while.
func (a *audience) settle() { time.Sleep(300 * time.Millisecond) }

// TestEachSlotHasAConnectionOfItsOwn, as long as something is subscribed to in it; the nodes say so.
func TestEachSlotHasAConnectionOfItsOwn(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{})
	sub, err := pubsubwrap.New(p.rdb, pubsubwrap.Options{})
	require.NoError(t, err)
	defer sub.Close()
	subscribed := func(c *clustertest.Cluster) (count int) {
		for _, n := range c.Nodes {
			list, err := n.Client().Do(t.Context(), "client", "list", "type", "pubsub").Text()
			require.NoError(t, err)
			count += strings.Count(list, "cmd=")
		}
		return count
	}
	await := func(c *clustertest.Cluster, want int) {
		t.Helper()
		redistest.Eventually(t, 5*time.Second, "subscribed connections: "+strconv.Itoa(want), func() bool { return subscribed(c) == want })
	}
	ctx := t.Context()
	require.Zero(t, subscribed(p.a), "nothing is subscribed to")
	require.NoError(t, sub.SSubscribe(ctx, "{x}1", "{x}2", "{y}1"))
	require.Equal(t, 2, subscribed(p.a))
	require.NoError(t, sub.Subscribe(ctx, "plain"))
	require.NoError(t, sub.PSubscribe(ctx, "pattern*"))
	require.Equal(t, 3, subscribed(p.a))
	require.Equal(t, "A", sub.Stats().Database)
	for _, n := range p.a.Nodes { // a shard channel is nowhere but on the master of its slot
		channels, err := n.Client().PubSubShardChannels(ctx, "").Result()
		require.NoError(t, err)
		for _, channel := range channels {
			require.Equal(t, n, p.a.Owner(cluster.KeySlot(channel)))
		}
	}
	require.ErrorContains(t, sub.Subscribe(ctx, "{x}1"), "is a shard channel of this subscriber already")

	require.NoError(t, sub.SUnsubscribe(ctx, "{x}1"))
	require.Equal(t, 3, subscribed(p.a))
	require.NoError(t, sub.SUnsubscribe(ctx, "{x}2"))
	await(p.a, 2)
	for range 20 { // an end and a beginning at once
		require.NoError(t, sub.SSubscribe(ctx, "{x}1"))
		require.NoError(t, sub.SUnsubscribe(ctx, "{x}1"))
	}
	require.NoError(t, sub.SSubscribe(ctx, "{x}1"))
	require.NoError(t, p.rdb.SPublish(ctx, "{x}1", "once").Err())
	m, err := sub.ReceiveMessage(ctx)
	require.NoError(t, err)
	require.Equal(t, "once", m.Payload)
	await(p.a, 3)
	require.NoError(t, p.hook.SetActive(ctx, "B"))
	await(p.b, 3)
	await(p.a, 0)
	require.NoError(t, sub.Close())
	await(p.b, 0)
}
