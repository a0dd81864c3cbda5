package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	multidb "github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/cluster"
	"github.com/redishook/multidb/internal/testkit/clustertest"
	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// proxied is a pair whose A is reached by way of a fault proxy before each node.
func proxied(t *testing.T, s setup) *pair {
	change := s.hook
	var p *pair
	var group atomic.Pointer[clustertest.Cluster]
	s.hook = func(o *multidb.Options) {
		o.Databases[0].Cluster.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if c := group.Load(); c != nil {
				return c.Dial(ctx, network, addr)
			}
			var d net.Dialer
			return d.DialContext(ctx, network, addr)
		}
		if change != nil {
			change(o)
		}
	}
	p = newPair(t, s)
	group.Store(p.a)
	return p
}

func isIncr(args []string) bool { return strings.EqualFold(args[0], "incr") }

// TestNothingIsExecutedTwiceOnAnyNode: connections are cut after a node has executed and before it has answered, and before
// it has seen the request. What was confirmed was executed once, what is in doubt at most once.
func TestNothingIsExecutedTwiceOnAnyNode(t *testing.T) {
	t.Parallel()
	for name, when := range map[string]faultproxy.When{"after": faultproxy.AfterExecution, "before": faultproxy.BeforeExecution} {
		t.Run(name, func(t *testing.T) {
			p := proxied(t, setup{a: both(3, 0)})
			for _, n := range p.a.Nodes {
				p.a.Proxy(n).ResetOneIn(200, when, func(args []string) bool { return !isIncr(args) })
			}
			l := start(12, func(ctx context.Context, l *load, g, i int) error {
				switch g % 3 {
				case 0:
					return incr(p.rdb)(ctx, l, g, i)
				case 1:
					pipe := p.rdb.Pipeline()
					for k := range 10 {
						pipe.Incr(ctx, key("n:", g, i*10+k))
					}
					return countEach(l, pipe)
				default:
					pipe := p.rdb.TxPipeline()
					for range 3 {
						pipe.Incr(ctx, key("n:", g, i))
					}
					return countEach(l, pipe)
				}
			})
			pause := 3 * time.Second
			if testing.Short() {
				pause = time.Second
			}
			time.Sleep(pause)
			for _, n := range p.a.Nodes {
				p.a.Proxy(n).ResetOneIn(0, when, nil)
			}
			l.end(t)
			sum := p.sum("n:")
			require.GreaterOrEqual(t, sum, l.confirmed.Load())
			require.LessOrEqual(t, sum, l.confirmed.Load()+l.unknown.Load(), "something was executed twice, or done and called not sent")
			require.Positive(t, l.unknown.Load())
			require.Zero(t, l.failed.Load())
			require.Empty(t, p.moves())
		})
	}
}

// TestNothingIsExecutedTwiceInFullDuplex: there the hooks only look on, so an error may leave open whether a command was executed.
// Each has a key of its own, which is counted up once at most.
func TestNothingIsExecutedTwiceInFullDuplex(t *testing.T) {
	t.Parallel()
	for name, when := range map[string]faultproxy.When{"after": faultproxy.AfterExecution, "before": faultproxy.BeforeExecution} {
		t.Run(name, func(t *testing.T) {
			p := proxied(t, setup{a: both(3, 0), client: func(o *redis.ClusterOptions) { o.PoolSize = 3 }})
			opt := redis.DefaultBlockingAutoPipelineOptions()
			opt.FullDuplex = true
			ap, err := p.rdb.AutoPipelineWithOptions(opt)
			require.NoError(t, err)
			for _, n := range p.a.Nodes {
				p.a.Proxy(n).ResetOneIn(100, when, func(args []string) bool { return !isIncr(args) })
			}
			var confirmed, failed sync.Map
			var failures atomic.Int64
			l := start(12, func(ctx context.Context, _ *load, g, i int) error {
				k := fmt.Sprintf("n:%d:%d", g, i)
				switch n, err := ap.Incr(ctx, k).Result(); {
				case err != nil:
					failures.Add(1)
					failed.Store(k, err)
				case n != 1:
					return fmt.Errorf("%s is %d", k, n)
				default:
					confirmed.Store(k, true)
				}
				return nil
			})
			time.Sleep(time.Second)
			for _, n := range p.a.Nodes {
				p.a.Proxy(n).ResetOneIn(0, when, nil)
			}
			l.end(t)
			require.Zero(t, l.unknown.Load()+l.failed.Load())
			require.Positive(t, failures.Load(), "connections were cut")
			require.Empty(t, p.moves())
			executed := 0
			for _, n := range p.a.Nodes {
				keys, err := n.Client().Keys(t.Context(), "n:*").Result()
				require.NoError(t, err)
				for _, k := range keys {
					times, err := n.Client().Get(t.Context(), k).Int()
					require.NoError(t, err)
					require.Equal(t, 1, times, k)
					_, done := confirmed.LoadAndDelete(k)
					why, told := failed.Load(k)
					require.True(t, done || told, "%s was executed, and its caller was not told anything", k)
					var of *multidb.CommandError
					if told && errors.As(why.(error), &of) {
						require.True(t, of.Sent, "%s was executed: %v", k, why)
					}
					executed++
				}
			}
			confirmed.Range(func(k, _ any) bool {
				require.Fail(t, "confirmed and not executed", "%v", k)
				return false
			})
			t.Logf("%d executed, %d failures", executed, failures.Load())
		})
	}
}

// countEach counts each command of a batch by what has become of it.
func countEach(l *load, pipe redis.Pipeliner) error {
	cmds, _ := pipe.Exec(context.Background())
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil {
			l.note(err)
		} else {
			l.confirmed.Add(1)
		}
	}
	return nil
}

// TestPipelineOverNodesOfWhichOneFails: each node's part by itself. What the others have answered stays; the part that was lost
// is run again if all of it may be, and is told otherwise.
func TestPipelineOverNodesOfWhichOneFails(t *testing.T) {
	t.Parallel()
	p := proxied(t, setup{a: both(3, 0)})
	ctx := t.Context()
	dying, living := p.a.Nodes[0], p.a.Nodes[1]
	there, here := p.keysAt(dying, "n:d", 3), p.keysAt(living, "n:l", 3)
	for _, k := range append(there, here...) {
		require.NoError(t, p.rdb.Set(ctx, k, 7, 0).Err())
	}
	drop := func() {
		var dropped atomic.Bool
		p.a.Proxy(dying).DropReplies(func(args []string) bool {
			return len(args) > 1 && args[1] == there[0] && dropped.CompareAndSwap(false, true)
		})
	}
	t.Run("reads are run again", func(t *testing.T) {
		drop()
		pipe := p.rdb.Pipeline()
		for i := range 3 {
			pipe.Incr(ctx, here[i])
			pipe.Get(ctx, there[i])
		}
		cmds, err := pipe.Exec(ctx)
		require.NoError(t, err)
		for i := range 3 {
			require.EqualValues(t, 8, cmds[2*i].(*redis.IntCmd).Val())
			require.Equal(t, "7", cmds[2*i+1].(*redis.StringCmd).Val())
		}
	})
	t.Run("an INCR is told", func(t *testing.T) {
		drop()
		pipe := p.rdb.Pipeline()
		for i := range 3 {
			pipe.Get(ctx, here[i])
			pipe.Incr(ctx, there[i])
		}
		cmds, err := pipe.Exec(ctx)
		require.Error(t, err)
		for i := range 3 {
			require.NoError(t, cmds[2*i].Err())
			require.Equal(t, "8", cmds[2*i].(*redis.StringCmd).Val())
			var failed *multidb.CommandError
			require.ErrorAs(t, cmds[2*i+1].Err(), &failed)
			require.True(t, failed.Sent)
			require.Equal(t, "A", failed.Database)
			require.Equal(t, dying.Addr(), failed.Node)
			require.ErrorContains(t, failed, dying.Addr())
			n, err := dying.Client().Get(ctx, there[i]).Int()
			require.NoError(t, err)
			require.LessOrEqual(t, n, 8)
		}
	})
	require.Empty(t, p.moves())
}

// TestFirstReplyOfAPartIsClusterdown: go-redis runs the whole part again for that; the INCR behind it is executed once.
func TestFirstReplyOfAPartIsClusterdown(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{a: []clustertest.Option{clustertest.Masters(3, 0),
		clustertest.Nodes(redistest.Lines("cluster-require-full-coverage no", "cluster-allow-reads-when-down yes"))}})
	ctx := t.Context()
	keys := p.keysAt(p.a.Nodes[0], "n:", 2)
	require.NotEqual(t, cluster.KeySlot(keys[0]), cluster.KeySlot(keys[1]))
	require.NoError(t, p.rdb.Set(ctx, keys[1], 0, 0).Err())
	for _, n := range p.a.Nodes {
		require.NoError(t, n.Client().Do(ctx, "cluster", "delslots", cluster.KeySlot(keys[0])).Err())
	}
	pipe := p.rdb.Pipeline()
	get, n := pipe.Get(ctx, keys[0]), pipe.Incr(ctx, keys[1])
	short, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err := pipe.Exec(short)
	t.Log(err, get.Err(), n.Err())
	require.NoError(t, n.Err())
	require.EqualValues(t, 1, n.Val())
	counted, err := p.a.Nodes[0].Client().Get(ctx, keys[1]).Int()
	require.NoError(t, err)
	require.Equal(t, 1, counted)
}

// TestWatchAcrossASwitchOfClusters: WATCH on A, switch, EXEC: on A while it drains, or not at all; never on B.
func TestWatchAcrossASwitchOfClusters(t *testing.T) {
	t.Parallel()
	for name, drain := range map[string]time.Duration{"drains": 0, "does not drain": -1} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, setup{hook: func(o *multidb.Options) { o.DrainTimeout = drain }})
			ctx := t.Context()
			runs := 0
			err := p.rdb.Watch(ctx, func(tx *redis.Tx) error {
				runs++
				if _, err := tx.Get(ctx, "n:w").Int(); err != nil && !errors.Is(err, redis.Nil) {
					return err
				}
				require.NoError(t, p.hook.SetActive(ctx, "B"))
				_, err := tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
					pipe.Incr(ctx, "n:w")
					return nil
				})
				return err
			}, "n:w")
			require.Equal(t, 1, runs)
			require.Zero(t, p.b.Sum("n:w"))
			if drain == 0 {
				require.NoError(t, err)
				require.EqualValues(t, 1, p.a.Sum("n:w"))
			} else {
				require.Error(t, err)
				require.Zero(t, p.a.Sum("n:w"))
			}
		})
	}
}
