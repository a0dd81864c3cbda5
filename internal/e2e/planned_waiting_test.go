package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// consumer waits for jobs of its own in one of the ways in which Redis lets a client wait.
type consumer struct {
	key  string
	take func(ctx context.Context, rdb *redis.Client, key string) (jobs []string, err error)
	push func(ctx context.Context, rdb *redis.Client, key, job string) error
}

func pushToList(ctx context.Context, rdb *redis.Client, key, job string) error {
	return rdb.RPush(ctx, key, job).Err()
}

// one makes a job of a reply that is one.
func one(job string, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	return []string{job}, nil
}

// second makes a job of a reply whose second part is one: the first is the name of the list.
func second(reply []string, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	return reply[1:], nil
}

var waysToWait = []consumer{
	{take: func(ctx context.Context, rdb *redis.Client, key string) ([]string, error) {
		return second(rdb.BLPop(ctx, 0, key).Result())
	}, push: pushToList},
	{take: func(ctx context.Context, rdb *redis.Client, key string) ([]string, error) {
		return one(rdb.BLMove(ctx, key, key+":done", "LEFT", "RIGHT", time.Minute).Result())
	}, push: pushToList},
	{take: func(ctx context.Context, rdb *redis.Client, key string) (jobs []string, err error) {
		streams, err := rdb.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: "g", Consumer: "c", Streams: []string{key, ">"}, Block: time.Minute, NoAck: true,
		}).Result()
		for _, stream := range streams {
			for _, message := range stream.Messages {
				jobs = append(jobs, message.Values["job"].(string))
			}
		}
		return jobs, err
	}, push: func(ctx context.Context, rdb *redis.Client, key, job string) error {
		return rdb.XAdd(ctx, &redis.XAddArgs{Stream: key, Values: []string{"job", job}}).Err()
	}},
	{take: func(ctx context.Context, rdb *redis.Client, key string) ([]string, error) {
		member, err := rdb.BZPopMin(ctx, time.Minute, key).Result()
		if err != nil {
			return nil, err
		}
		return []string{member.Member.(string)}, nil
	}, push: func(ctx context.Context, rdb *redis.Client, key, job string) error {
		return rdb.ZAdd(ctx, key, redis.Z{Member: job}).Err()
	}},
	{take: func(ctx context.Context, rdb *redis.Client, key string) ([]string, error) { // two arguments more than a typed command has
		reply, err := rdb.Do(ctx, "BRPOP", key, "60").StringSlice()
		return second(reply, err)
	}, push: pushToList},
	{take: func(ctx context.Context, rdb *redis.Client, key string) ([]string, error) {
		var popped *redis.StringSliceCmd
		_, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Incr(ctx, key+":asked")
			popped = pipe.BLPop(ctx, time.Minute, key)
			return nil
		})
		if err != nil {
			return nil, err
		}
		return popped.Val()[1:], nil
	}, push: pushToList},
}

// job is one element on its way.
type job struct {
	pushing, pushed time.Time // when its producer began, and when it knew that the job is there
	taken           time.Time
	times           int
}

// jobs are all that were produced, by name.
type jobs struct {
	mu sync.Mutex
	of map[string]*job
}

func (j *jobs) add(name string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.of[name] = &job{pushing: time.Now()}
}

func (j *jobs) pushed(name string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.of[name].pushed = time.Now()
}

func (j *jobs) take(names ...string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, name := range names {
		j.of[name].taken = time.Now()
		j.of[name].times++
	}
}

// Consumers wait on the active database, each for jobs of its own, and producers make them, while the databases are switched as
// planned. Every job reaches its consumer exactly once, nobody gets an error, and no consumer listens to the old database
// for more than 100 ms (measured without the race detector: a switch is some seventy new connections at once).
func TestPlannedSwitchesMoveWhatWaits(t *testing.T) {
	const consumers, producers = 50, 20
	n := pair.AtLength(100)
	p := pair.New(t, func(o *multidb.Options, r *redis.Options) {
		pair.Calm(o, r)
		r.PoolSize, r.ReadTimeout = consumers+2*producers, 2*time.Minute // longer than Do waits
	})
	rdb := p.RDB
	var all []consumer
	for i := range consumers {
		c := waysToWait[i%len(waysToWait)]
		c.key = fmt.Sprint("jobs:", i)
		if i%len(waysToWait) == 2 {
			require.NoError(t, p.East.Client().XGroupCreateMkStream(t.Context(), c.key, "g", "$").Err())
			require.NoError(t, p.West.Client().XGroupCreateMkStream(t.Context(), c.key, "g", "$").Err())
		}
		all = append(all, c)
	}

	made := &jobs{of: make(map[string]*job)}
	ctx, stop := context.WithCancel(context.Background())
	var consuming, producing sync.WaitGroup
	var asked atomic.Int64
	for _, c := range all {
		consuming.Go(func() {
			for ctx.Err() == nil {
				got, err := c.take(ctx, rdb, c.key)
				if ctx.Err() != nil && err != nil {
					return
				}
				if err != nil {
					t.Errorf("%s: %v", c.key, err)
					return
				}
				made.take(got...)
				asked.Add(1)
			}
		})
	}
	var enough atomic.Bool
	for i := range producers {
		producing.Go(func() {
			for k := 0; !enough.Load(); k++ {
				name := strconv.Itoa(i) + "-" + strconv.Itoa(k)
				c := all[rand.IntN(len(all))]
				made.add(name)
				if err := c.push(context.Background(), rdb, c.key, name); err != nil {
					t.Errorf("push to %s: %v", c.key, err)
				}
				made.pushed(name)
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	var switched []time.Time
	for i := range n {
		require.NoError(t, p.Hook.SetActive(t.Context(), []string{"west", "east"}[i%2]))
		switched = append(switched, time.Now())
		time.Sleep(time.Duration(50+rand.IntN(150)) * time.Millisecond)
	}
	enough.Store(true)
	producing.Wait()
	switched = append(switched, time.Now())

	// What was pushed to a database a moment before it was left waits there until somebody asks there again.
	for _, name := range []string{"east", "west"} {
		require.NoError(t, p.Hook.SetActive(t.Context(), name))
		redistest.Eventually(t, 10*time.Second, "all jobs of "+name+" to be taken", func() bool { return waiting(t, p, name, all) == 0 })
	}
	stop()
	ended := make(chan struct{})
	go func() { consuming.Wait(); close(ended) }()
	for len(ended) == 0 {
		for _, c := range all { // nobody cancels a command that waits but a job
			made.add("end")
			_ = c.push(context.Background(), rdb, c.key, "end")
		}
		select {
		case <-ended:
		case <-time.After(100 * time.Millisecond):
			continue
		}
		break
	}

	deaf, late := time.Duration(0), 0
	delete(made.of, "end")
	for name, j := range made.of {
		require.Equal(t, 1, j.times, "job %s", name)
		for i := 1; i < len(switched); i++ {
			if j.pushing.After(switched[i-1]) && j.pushing.Before(switched[i]) {
				waited := j.taken.Sub(j.pushed)
				if j.taken.After(switched[i]) {
					waited = switched[i].Sub(j.pushed)
				}
				if deaf = max(deaf, waited); waited > 100*time.Millisecond {
					late++
				}
			}
		}
	}
	moved := uint64(0)
	for _, db := range p.Hook.Stats().Databases {
		moved += db.Moved
	}
	t.Logf("%d switches, %d jobs, %d waits moved, deaf for %v at most, %d of more than 100 ms", n, len(made.of), moved, deaf, late)
	if !testkit.RaceEnabled {
		require.Zero(t, late, "a consumer was deaf for %v", deaf)
	}
	require.Greater(t, moved, uint64(n), "and they were waiting")
}

// waiting returns how many jobs nobody has taken on a server.
func waiting(t *testing.T, p *pair.Pair, name string, all []consumer) (left int64) {
	server := map[string]*redistest.Redis{"east": p.East, "west": p.West}[name]
	for i, c := range all {
		var n int64
		var err error
		switch i % len(waysToWait) {
		case 2:
			groups, e := server.Client().XInfoGroups(t.Context(), c.key).Result()
			require.NoError(t, e)
			n = groups[0].Lag
		case 3:
			n, err = server.Client().ZCard(t.Context(), c.key).Result()
		default:
			n, err = server.Client().LLen(t.Context(), c.key).Result()
		}
		require.NoError(t, err)
		left += n
	}
	return left
}
