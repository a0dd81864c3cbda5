package cluster_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/cluster"
	"github.com/redishook/multidb/internal/testkit/clustertest"
)

// hearers are subscriptions of a client, each with what it has heard.
type hearers struct {
	mu    sync.Mutex
	heard map[string]map[string]bool // Guarded by mu; by channel, then by round
}

// listen subscribes and notes the round of each message, which is the text before the first dash.
func (h *hearers) listen(t *testing.T, name string, ps *redis.PubSub) {
	t.Cleanup(func() { _ = ps.Close() })
	h.mu.Lock()
	h.heard[name] = make(map[string]bool)
	h.mu.Unlock()
	messages := ps.Channel()
	go func() {
		for m := range messages {
			round, _, _ := strings.Cut(m.Payload, "-")
			h.mu.Lock()
			h.heard[name][round] = true
			h.mu.Unlock()
		}
	}()
}

// deaf are those that have not heard of a round.
func (h *hearers) deaf(round string) (names []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, rounds := range h.heard {
		if !rounds[round] {
			names = append(names, name)
		}
	}
	return names
}

// TestSubscriptionsFollowClusters: to shard channels, channels and patterns, in planned switches, in a crash, and when the slot
// of a shard channel moves.
func TestSubscriptionsFollowClusters(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{})
	ctx := t.Context()
	h := &hearers{heard: make(map[string]map[string]bool)}
	for i := range 12 {
		name := "shard:" + strconv.Itoa(i)
		h.listen(t, name, p.rdb.SSubscribe(ctx, name))
	}
	h.listen(t, "plain", p.rdb.Subscribe(ctx, "plain"))
	h.listen(t, "pattern*", p.rdb.PSubscribe(ctx, "pattern*"))
	round := func(name string, c *clustertest.Cluster) {
		t.Helper()
		publisher := newClient(t, c.Options())
		began := time.Now()
		for i := 0; len(h.deaf(name)) > 0; i++ {
			require.Less(t, time.Since(began), 10*time.Second, "%s: deaf are %v", name, h.deaf(name))
			message := fmt.Sprintf("%s-%d", name, i)
			for k := range 12 {
				require.NoError(t, publisher.SPublish(ctx, "shard:"+strconv.Itoa(k), message).Err())
			}
			require.NoError(t, publisher.Publish(ctx, "plain", message).Err())
			require.NoError(t, publisher.Publish(ctx, "pattern1", message).Err())
			time.Sleep(2 * time.Millisecond)
		}
		t.Logf("%s: all hear after %v", name, time.Since(began).Round(time.Millisecond))
	}
	round("before", p.a)
	for i := range 4 {
		require.NoError(t, p.hook.SetActive(ctx, []string{"B", "A"}[i%2]))
		round("planned"+strconv.Itoa(i), []*clustertest.Cluster{p.b, p.a}[i%2])
	}
	slot := cluster.KeySlot("shard:3")
	from := p.a.Owner(slot)
	to := p.a.Nodes[0]
	if from == to {
		to = p.a.Nodes[1]
	}
	p.a.MoveSlots(from, to, slot)
	for range 20 { // traffic of the client meets the redirect
		require.NoError(t, p.rdb.Set(ctx, "{shard:3}", 1, 0).Err())
	}
	round("moved", p.a)
	p.a.Kill()
	round("crash", p.b)
}
