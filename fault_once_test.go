package multidb

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/window"
)

// A server that executes a command and drops the connection before it answers: the client cannot know, and must not
// run it again unless it was told to.

// incrementers are the ways of a client to increment a counter, each by one for one call.
func incrementers(rdb *redis.Client) map[string]func(ctx context.Context, key string) error {
	clone := rdb.WithTimeout(2 * time.Second)
	script := redis.NewScript(`return redis.call("INCR", KEYS[1])`)
	return map[string]func(ctx context.Context, key string) error{
		"client": func(ctx context.Context, key string) error { return rdb.Incr(ctx, key).Err() },
		"clone":  func(ctx context.Context, key string) error { return clone.Incr(ctx, key).Err() },
		"conn": func(ctx context.Context, key string) error {
			conn := rdb.Conn()
			defer conn.Close()
			return conn.Incr(ctx, key).Err()
		},
		"pipeline": func(ctx context.Context, key string) error {
			_, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
				pipe.Incr(ctx, key)
				pipe.Get(ctx, key)
				return nil
			})
			return err
		},
		"tx": func(ctx context.Context, key string) error {
			_, err := rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Incr(ctx, key).Err() })
			return err
		},
		"watch": func(ctx context.Context, key string) error { return increment(rdb, key) },
		"eval":  func(ctx context.Context, key string) error { return script.Eval(ctx, rdb, []string{key}).Err() },
	}
}

// TestExecutedOnceAndNotAnswered counts at the server, at every setting of Replay that does not ask for doubles.
func TestExecutedOnceAndNotAnswered(t *testing.T) {
	for _, c := range []struct {
		replay Replay
		twice  map[string]bool // what may be run again there
	}{
		{replay: ReplayNone},
		{replay: ReplayConnection},
		{replay: ReplayRead},
		{replay: ReplayChecked},
		{replay: 0},
		{replay: ReplayLastWins},
		// What follows asks for doubles: it shows that the counting would find them.
		{replay: ReplayAccumulating, twice: map[string]bool{"client": true, "pipeline": true, "eval": true}},
		{replay: ReplayAdmin, twice: map[string]bool{"client": true, "pipeline": true, "eval": true}},
		// A transaction as a whole as well. A clone has no hooks, and a session ends with its connection, whatever is allowed.
		{replay: ReplayAll, twice: map[string]bool{"client": true, "pipeline": true, "eval": true, "tx": true}},
	} {
		t.Run(c.replay.String(), func(t *testing.T) {
			t.Parallel()
			p := newProxied(t, func(o *Options, r *redis.Options) {
				o.Replay = c.replay
				r.MaintNotificationsConfig = maintenanceOff() // see TestPlannedSwitchesKeepSessions
				// What is tested is what happens to a request, and not how fast a busy machine answers probes: an outage of
				// all is the other answer, "not sent".
				calm(o, r)
				o.Detectors = []window.Factory{}
			})
			const calls = 5
			for name, incr := range incrementers(p.rdb) {
				drop := faultproxy.Named("INCR", "EVAL")
				if name == "tx" || name == "watch" {
					drop = faultproxy.Named("EXEC") // and not QUEUED
				}
				for _, proxy := range []*faultproxy.Proxy{p.toEast, p.toWest} {
					proxy.DropReplies(drop)
				}
				calls := calls
				if c.twice[name] {
					calls = 1 // it takes all attempts
				}
				for i := range calls {
					err := incr(t.Context(), name)
					var failed *CommandError
					require.ErrorAs(t, err, &failed, "%s, call %d", name, i)
					require.True(t, failed.Sent, "%s: %v", name, err)
					require.Contains(t, []string{"east", "west"}, failed.Database, name)
					require.False(t, SafeToRetry(err), "%s: %v", name, err)
				}
				if c.twice[name] {
					require.Greater(t, p.sum(t, name), int64(calls), "%s was allowed to be run again", name)
				} else {
					require.EqualValues(t, calls, p.sum(t, name), name)
				}
			}
		})
	}
}

// TestOneAnswerOfManyIsLost: what was answered keeps its answer, and of the rest nothing is run again if any of it may
// not be.
func TestOneAnswerOfManyIsLost(t *testing.T) {
	p := newProxied(t, nil)
	ctx := t.Context()
	p.toEast.DropReplies(faultproxy.First(1, faultproxy.Named("INCR")))
	pipe := p.rdb.Pipeline()
	before, incr, after := pipe.Set(ctx, "before", 1, 0), pipe.Incr(ctx, "n"), pipe.Set(ctx, "after", 1, 0)
	_, err := pipe.Exec(ctx)
	for name, e := range map[string]error{"pipeline": err, "incr": incr.Err(), "after": after.Err()} {
		var failed *CommandError
		require.ErrorAs(t, e, &failed, name)
		require.True(t, failed.Sent, name)
		require.Equal(t, "east", failed.Database, name)
	}
	require.NoError(t, before.Err(), "answered")
	require.Equal(t, "OK", before.Val())
	require.EqualValues(t, 1, p.sum(t, "n"))

	p.toEast.DropReplies(faultproxy.First(1, faultproxy.Named("SET")))
	pipe = p.rdb.Pipeline()
	incr, after = pipe.Incr(ctx, "n"), pipe.Set(ctx, "a", 1, 0)
	get := pipe.Get(ctx, "a")
	_, err = pipe.Exec(ctx)
	require.NoError(t, err, "the INCR is answered, and the rest is harmless")
	require.EqualValues(t, 2, incr.Val(), "its answer of the first run")
	require.Equal(t, "OK", after.Val())
	require.Equal(t, "1", get.Val())
	require.EqualValues(t, 2, p.sum(t, "n"))
	require.Empty(t, p.switched(), "two lost answers are no failover")
}

// TestPipelineCutInAReply: the same where the answer breaks off in its middle, with every kind of answer before it.
func TestPipelineCutInAReply(t *testing.T) {
	p := newProxied(t, nil)
	ctx := t.Context()
	require.NoError(t, p.rdb.Set(ctx, "text", "not a number", 0).Err())
	require.NoError(t, p.rdb.Set(ctx, "long", strings.Repeat("x", 100_000), 0).Err())
	p.toEast.PartialReply(50_000, faultproxy.First(1, faultproxy.Named("GETRANGE")))
	pipe := p.rdb.Pipeline()
	zero, none, wrong, push := pipe.Exists(ctx, "none"), pipe.Get(ctx, "none"), pipe.Incr(ctx, "text"), pipe.LPush(ctx, "list", "a")
	long, last := pipe.GetRange(ctx, "long", 0, -1), pipe.Set(ctx, "k", "v", 0)
	_, err := pipe.Exec(ctx)
	require.ErrorIs(t, err, redis.Nil, "the first error of the pipeline, as without a fault")
	require.NoError(t, zero.Err())
	require.ErrorIs(t, none.Err(), redis.Nil)
	require.ErrorContains(t, wrong.Err(), "not an integer")
	require.NoError(t, push.Err())
	require.Len(t, long.Val(), 100_000, "read again")
	require.Equal(t, "OK", last.Val())
	require.EqualValues(t, 1, p.rdb.LLen(ctx, "list").Val())
}

// TestTransactionCutInAReply: EXEC was executed if any of its results has come. Those stay; the transaction is not run again.
func TestTransactionCutInAReply(t *testing.T) {
	p := newProxied(t, func(o *Options, _ *redis.Options) { o.Replay = ReplayAll })
	ctx := t.Context()
	p.toEast.PartialReply(len("*3\r\n:1\r\n:1"), faultproxy.First(1, faultproxy.Named("EXEC")))
	var first, second, third *redis.IntCmd
	_, err := p.rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		first, second, third = pipe.Incr(ctx, "a"), pipe.Incr(ctx, "b"), pipe.Incr(ctx, "c")
		return nil
	})
	require.EqualValues(t, 1, first.Val())
	require.NoError(t, first.Err())
	for name, e := range map[string]error{"transaction": err, "second": second.Err(), "third": third.Err()} {
		var failed *CommandError
		require.ErrorAs(t, e, &failed, name)
		require.True(t, failed.Sent, name)
	}
	for _, key := range []string{"a", "b", "c"} {
		require.EqualValues(t, 1, p.sum(t, key), key)
	}
}

// TestAutopipelinedOnce: the autopipeliners put commands of many callers into one batch.
func TestAutopipelinedOnce(t *testing.T) {
	for _, fullDuplex := range []bool{false, true} {
		t.Run(fmt.Sprint("full duplex ", fullDuplex), func(t *testing.T) {
			p := newProxied(t, nil)
			opt := redis.DefaultBlockingAutoPipelineOptions()
			opt.FullDuplex = fullDuplex
			ap, err := p.rdb.AutoPipelineWithOptions(opt)
			require.NoError(t, err)
			t.Cleanup(func() { _ = ap.Close() })
			require.NoError(t, ap.Set(t.Context(), "k", 1, 0).Err())
			for _, proxy := range []*faultproxy.Proxy{p.toEast, p.toWest} {
				proxy.ResetOneIn(20, faultproxy.AfterExecution, faultproxy.Session)
			}
			const callers, calls = 8, 50
			l := &load{errs: make(map[string]int)}
			for g := range callers {
				l.wg.Go(func() {
					for range calls {
						l.note(g, time.Now(), ap.Incr(context.Background(), "n").Err())
					}
				})
			}
			l.wg.Wait()
			require.Zero(t, l.other.Load(), "%v", l.errs)
			require.Positive(t, l.unknown.Load(), "some must have been hit")
			requireExact(t, &p.pair, "n", l)
		})
	}
}
