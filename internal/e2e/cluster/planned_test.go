package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	multidb "github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/clustertest"
)

// switches is how often the planned tests switch; the soak asks for more.
const switches = 30

// attached are clients of A beside that of the pair, each with other options.
func (p *pair) attached(t *testing.T, kinds map[string]func(*redis.ClusterOptions)) map[string]*redis.ClusterClient {
	t.Helper()
	clients := make(map[string]*redis.ClusterClient, len(kinds))
	for name, change := range kinds {
		opt := p.a.Options()
		change(opt)
		clients[name] = newClient(t, opt)
		require.NoError(t, p.hook.Attach(clients[name]))
	}
	return clients
}

// TestPlannedSwitchesOfClustersLoseNothing: single commands, with clients of every kind, all at once.
func TestPlannedSwitchesOfClustersLoseNothing(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{})
	clients := p.attached(t, map[string]func(*redis.ClusterOptions){
		"defaults":        func(*redis.ClusterOptions) {},
		"no redirects":    func(o *redis.ClusterOptions) { o.MaxRedirects = -1 },
		"no routing":      func(o *redis.ClusterOptions) { o.DisableRoutingPolicies = true },
		"seeds elsewhere": func(o *redis.ClusterOptions) { o.Addrs = []string{"127.0.0.1:1"} },
		"small pools":     func(o *redis.ClusterOptions) { o.PoolSize = 2 },
		"with a timeout":  func(o *redis.ClusterOptions) { o.ContextTimeoutEnabled = true },
	})
	loads := make(map[string]*load)
	for name, rdb := range clients {
		loads[name] = start(6, func(ctx context.Context, l *load, g, i int) error {
			err := rdb.Incr(ctx, key("n:"+name, g, i)).Err()
			if err == nil {
				l.confirmed.Add(1)
			}
			return err
		})
	}
	p.storm(t, 2*switches, 40*time.Millisecond)
	for name, l := range loads {
		l.end(t)
		require.Zero(t, l.unknown.Load()+l.failed.Load(), name)
		require.Equal(t, l.confirmed.Load(), p.sum("n:"+name), name)
		require.Positive(t, p.b.Sum("n:"+name), name)
	}
}

// TestPlannedSwitchesOfClustersKeepEverything: pipelines over nodes, transactions and WATCH beside single commands.
func TestPlannedSwitchesOfClustersKeepEverything(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{})
	l := start(16, func(ctx context.Context, l *load, g, i int) error {
		switch g % 4 {
		case 0:
			return incr(p.rdb)(ctx, l, g, i)
		case 1:
			pipe := p.rdb.Pipeline()
			for k := range 20 {
				pipe.Incr(ctx, key("n:", g, i*20+k))
			}
			return count(l, pipe)
		case 2:
			pipe := p.rdb.TxPipeline()
			for k := range 5 {
				pipe.Incr(ctx, fmt.Sprintf("n:{%d}:%d", (g*7919+i)%100, k))
			}
			return count(l, pipe)
		default:
			k := "n:w" + strconv.Itoa(g)
			increment := func(tx *redis.Tx) error {
				n, err := tx.Get(ctx, k).Int()
				if err != nil && !errors.Is(err, redis.Nil) {
					return err
				}
				_, err = tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
					pipe.Set(ctx, k, n+1, 0)
					return nil
				})
				return err
			}
			// A Watch follows MaxRedirects redirects. On a busy machine it may meet more switches than that: it is told "not
			// sent" then, and package txwrap does what this does.
			err := p.rdb.Watch(ctx, increment, k)
			for range 3 {
				if !multidb.SafeToRetry(err) {
					break
				}
				err = p.rdb.Watch(ctx, increment, k)
			}
			if err == nil {
				l.confirmed.Add(1)
			}
			return err
		}
	})
	p.storm(t, switches, 40*time.Millisecond)
	l.end(t)
	p.exact(t, l)
}

// count counts the commands of a pipeline that have their answer.
func count(l *load, pipe redis.Pipeliner) error {
	cmds, err := pipe.Exec(context.Background())
	for _, cmd := range cmds {
		if cmd.Err() == nil {
			l.confirmed.Add(1)
		}
	}
	return err
}

// TestPlannedSwitchesOfClustersWithReplicas: clients that read from replicas follow, and replicas of both clusters serve.
func TestPlannedSwitchesOfClustersWithReplicas(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{b: both(3, 1)})
	clients := p.attached(t, map[string]func(*redis.ClusterOptions){
		"ReadOnly":       func(o *redis.ClusterOptions) { o.ReadOnly = true },
		"RouteByLatency": func(o *redis.ClusterOptions) { o.RouteByLatency = true },
		"RouteRandomly":  func(o *redis.ClusterOptions) { o.RouteRandomly = true },
	})
	// A command for each client, so that the nodes tell them apart.
	reads := map[string]string{"ReadOnly": "strlen", "RouteByLatency": "ttl", "RouteRandomly": "exists"}
	counts := start(4, incr(p.rdb))
	loads := make(map[string]*load)
	for name, rdb := range clients {
		loads[name] = start(4, func(ctx context.Context, l *load, g, i int) error {
			if i%4 == 0 {
				return rdb.Set(ctx, key(name, g, i), i, 0).Err()
			}
			return rdb.Do(ctx, reads[name], key(name, g, i)).Err()
		})
	}
	p.storm(t, switches, 40*time.Millisecond)
	for name, l := range loads {
		l.end(t)
		require.Zero(t, l.unknown.Load()+l.failed.Load(), name)
	}
	counts.end(t)
	p.exact(t, counts)
	for _, c := range []*clustertest.Cluster{p.a, p.b} {
		require.Positive(t, callsAtReplicas(c, reads["ReadOnly"]))
		require.Positive(t, callsAtReplicas(c, reads["RouteRandomly"]))
		// By latency the masters may be the nearest all the time.
	}
}

// TestPlannedSwitchesOfClustersWithAutopipelining: of both kinds.
func TestPlannedSwitchesOfClustersWithAutopipelining(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{})
	loads := make(map[string]*load)
	for _, duplex := range []bool{false, true} {
		opt := redis.DefaultBlockingAutoPipelineOptions()
		opt.FullDuplex = duplex
		ap, err := p.rdb.AutoPipelineWithOptions(opt)
		require.NoError(t, err)
		name := fmt.Sprintf("duplex %v", duplex)
		loads[name] = start(16, func(ctx context.Context, l *load, g, i int) error {
			err := ap.Incr(ctx, key("n:"+name, g, i)).Err()
			if err == nil {
				l.confirmed.Add(1)
			}
			return err
		})
	}
	p.storm(t, switches, 40*time.Millisecond)
	for name, l := range loads {
		l.end(t)
		require.Zero(t, l.unknown.Load()+l.failed.Load(), name)
		require.Equal(t, l.confirmed.Load(), p.sum("n:"+name), name)
	}
}

// TestPlannedSwitchesOfClustersKeepSplitCommandsWhole: MGET over slots, for an application that has go-redis split it.
func TestPlannedSwitchesOfClustersKeepSplitCommandsWhole(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{})
	p.rdb.SetCommandInfoResolver(p.rdb.NewDynamicResolver())
	keys := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	for _, name := range []string{"B", "A"} {
		require.NoError(t, p.hook.SetActive(t.Context(), name))
		for _, k := range keys {
			require.NoError(t, p.rdb.Set(t.Context(), k, "v"+k, 0).Err())
		}
	}
	l := start(8, func(ctx context.Context, l *load, g, i int) error {
		values, err := p.rdb.MGet(ctx, keys...).Result()
		if err != nil {
			return err
		}
		for k, v := range values {
			if v != "v"+keys[k] {
				return fmt.Errorf("%s is %v, and there is no error", keys[k], v)
			}
		}
		return nil
	})
	p.storm(t, switches, 40*time.Millisecond)
	l.end(t)
	require.Zero(t, l.unknown.Load()+l.failed.Load())
}

// TestRefusedCommandSaysThatItWasNotSent: a client that follows no redirect, and a hook that makes one attempt only. Whoever is told
// anything in a planned switch is told that nothing was executed, and so it is.
func TestRefusedCommandSaysThatItWasNotSent(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{hook: func(o *multidb.Options) { o.Retry.MaxAttempts = 1 }, client: func(o *redis.ClusterOptions) { o.MaxRedirects = -1 }})
	var told atomic.Int64
	l := start(16, func(ctx context.Context, l *load, g, i int) error {
		err := p.rdb.Incr(ctx, key("n:", g, i)).Err()
		var failed *multidb.CommandError
		switch {
		case err == nil:
			l.confirmed.Add(1)
		case errors.As(err, &failed) && !failed.Sent && multidb.SafeToRetry(err):
			told.Add(1)
		default:
			return err
		}
		return nil
	})
	for i := 0; i < 200 && told.Load() < 5; i++ {
		p.storm(t, 2, 10*time.Millisecond)
	}
	l.end(t)
	p.exact(t, l)
	require.Positive(t, told.Load())
}
