package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	multidb "github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/clustertest"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// consumer waits for jobs in one of the ways in which Redis lets a client wait.
type consumer struct {
	take func(ctx context.Context, rdb *redis.ClusterClient, key string) (job string, err error)
	push func(ctx context.Context, rdb *redis.ClusterClient, key, job string) error
}

func pushToList(ctx context.Context, rdb *redis.ClusterClient, key, job string) error {
	return rdb.RPush(ctx, key, job).Err()
}

// second makes a job of a reply whose second part is one: the first is the name of the list.
func second(reply []string, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return reply[1], nil
}

var waysToWait = []consumer{
	{take: func(ctx context.Context, rdb *redis.ClusterClient, key string) (string, error) {
		return second(rdb.BLPop(ctx, 0, key).Result())
	}, push: pushToList},
	{take: func(ctx context.Context, rdb *redis.ClusterClient, key string) (string, error) {
		return rdb.BLMove(ctx, key, "{"+key+"}done", "LEFT", "RIGHT", time.Minute).Result()
	}, push: pushToList},
	{take: func(ctx context.Context, rdb *redis.ClusterClient, key string) (string, error) {
		streams, err := rdb.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: "g", Consumer: "c", Streams: []string{key, ">"}, Block: time.Minute, NoAck: true, Count: 1,
		}).Result()
		if err != nil {
			return "", err
		}
		return streams[0].Messages[0].Values["job"].(string), nil
	}, push: func(ctx context.Context, rdb *redis.ClusterClient, key, job string) error {
		return rdb.XAdd(ctx, &redis.XAddArgs{Stream: key, Values: []string{"job", job}}).Err()
	}},
	{take: func(ctx context.Context, rdb *redis.ClusterClient, key string) (string, error) {
		member, err := rdb.BZPopMin(ctx, time.Minute, key).Result()
		if err != nil {
			return "", err
		}
		return member.Member.(string), nil
	}, push: func(ctx context.Context, rdb *redis.ClusterClient, key, job string) error {
		return rdb.ZAdd(ctx, key, redis.Z{Member: job}).Err()
	}},
	{take: func(ctx context.Context, rdb *redis.ClusterClient, key string) (string, error) {
		return second(rdb.Do(ctx, "BRPOP", key, "60").StringSlice())
	}, push: pushToList},
}

// queue is what a consumer waits for. CRC16 puts keys that differ at their end side by side.
func queue(consumer int) string { return strconv.Itoa(consumer) + ":jobs" }

// jobs are how often each job was taken.
type jobs struct {
	mu    sync.Mutex
	times map[string]int // Guarded by mu
}

func (j *jobs) note(name string, times int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.times[name] += times
}

// left are how many were made and not taken yet.
func (j *jobs) left() (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, times := range j.times {
		if times == 0 {
			n++
		}
	}
	return n
}

// TestPlannedSwitchesOfClustersMoveWhatWaits: consumers wait at all nodes, and producers make jobs, while the clusters are switched.
// Every job reaches its consumer once, nobody gets an error, and nothing is left waiting on the cluster before.
func TestPlannedSwitchesOfClustersMoveWhatWaits(t *testing.T) {
	t.Parallel()
	const consumers, producers = 40, 8
	n := 60
	if testing.Short() {
		n = 16
	}
	p := newPair(t, setup{client: func(o *redis.ClusterOptions) {
		o.PoolSize, o.ReadTimeout = 2*(consumers+producers), 2*time.Minute // longer than Do waits
	}})
	for i := range consumers {
		if i%len(waysToWait) == 2 {
			for _, c := range []*clustertest.Cluster{p.a, p.b} {
				require.NoError(t, newClient(t, c.Options()).XGroupCreateMkStream(t.Context(), queue(i), "g", "$").Err())
			}
		}
	}
	made := &jobs{times: make(map[string]int)}
	var consuming, producing sync.WaitGroup
	var enough atomic.Bool
	for i := range consumers {
		consuming.Go(func() {
			for {
				job, err := waysToWait[i%len(waysToWait)].take(context.Background(), p.rdb, queue(i))
				switch {
				case job == "end":
					return
				case err != nil:
					t.Errorf("consumer %d: %v", i, err)
					return
				default:
					made.note(job, 1)
				}
			}
		})
	}
	push := func(i int, job string) {
		if err := waysToWait[i%len(waysToWait)].push(context.Background(), p.rdb, queue(i), job); err != nil {
			t.Errorf("push: %v", err)
		}
	}
	for i := range producers {
		producing.Go(func() {
			for k := 0; !enough.Load(); k++ {
				job := fmt.Sprintf("%d-%d", i, k)
				made.note(job, 0)
				push(rand.IntN(consumers), job)
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	for i := range n {
		time.Sleep(time.Duration(50+rand.IntN(100)) * time.Millisecond)
		require.NoError(t, p.hook.SetActive(t.Context(), []string{"B", "A"}[i%2]))
	}
	enough.Store(true)
	producing.Wait()
	// What was pushed to a cluster a moment before it was left waits there until somebody asks there again.
	redistest.Eventually(t, 30*time.Second, "all jobs are taken", func() bool {
		for _, name := range []string{"A", "B"} {
			require.NoError(t, p.hook.SetActive(t.Context(), name))
			for range 20 {
				if made.left() == 0 {
					return true
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
		return false
	})
	for i := range consumers {
		push(i, "end")
	}
	consuming.Wait()
	made.mu.Lock()
	defer made.mu.Unlock()
	for job, times := range made.times {
		require.Equal(t, 1, times, job)
	}
	moved := uint64(0)
	for _, db := range p.hook.Stats().Databases {
		moved += db.Moved
	}
	t.Logf("%d switches, %d jobs, %d waits moved", n, len(made.times), moved)
	require.Greater(t, moved, uint64(n), "and they were waiting")
}

// TestAWaitOnClustersIsAsLongAsItHasSaid, over a switch, and none is left behind on the cluster before.
func TestAWaitOnClustersIsAsLongAsItHasSaid(t *testing.T) {
	t.Parallel()
	const waits = 2 * time.Second
	p := newPair(t, setup{client: func(o *redis.ClusterOptions) { o.ReadTimeout = time.Minute }, hook: func(o *multidb.Options) {
		o.DrainTimeout = time.Minute
	}})
	blocked := func(c *clustertest.Cluster, want int) {
		t.Helper()
		redistest.Eventually(t, 10*time.Second, fmt.Sprint(want, " clients to wait"), func() bool {
			got := 0
			for _, n := range c.Nodes {
				info := n.Client().Info(t.Context(), "clients").Val()
				_, after, _ := strings.Cut(info, "blocked_clients:")
				count, _, _ := strings.Cut(after, "\r\n")
				k, _ := strconv.Atoi(count)
				got += k
			}
			return got == want
		})
	}
	keys := append(p.keysAt(p.a.Nodes[0], "q", 1), p.keysAt(p.a.Nodes[1], "q", 1)...)
	type answer struct {
		err  error
		took time.Duration
	}
	answers := make(chan answer)
	for _, key := range keys {
		go func() {
			began := time.Now()
			err := p.rdb.BLPop(context.Background(), waits, key).Err()
			answers <- answer{err, time.Since(began)}
		}()
	}
	forever := make(chan error)
	go func() { forever <- p.rdb.BLPop(context.Background(), 0, "forever").Err() }()
	blocked(p.a, 3)
	require.NoError(t, p.hook.SetActive(t.Context(), "B"))
	blocked(p.b, 3)
	blocked(p.a, 0)
	for range keys {
		a := <-answers
		require.ErrorIs(t, a.err, redis.Nil)
		require.GreaterOrEqual(t, a.took, waits)
		// Twice the time would be without a switch to shorten it: Redis itself may be late.
		require.Less(t, a.took, waits+30*time.Second)
	}
	require.NoError(t, p.hook.SetActive(t.Context(), "A"))
	blocked(p.b, 0)
	require.NoError(t, p.rdb.RPush(t.Context(), "forever", "x").Err())
	require.NoError(t, <-forever)
	require.False(t, errors.Is(p.rdb.LLen(t.Context(), "forever").Err(), redis.Nil))
	require.Zero(t, p.rdb.LLen(t.Context(), "forever").Val())
}
