package e2e_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/fakeserver"
	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/load"
	"github.com/redishook/multidb/internal/testkit/pair"
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
		replay multidb.Replay
		twice  map[string]bool // what may be run again there
	}{
		{replay: multidb.ReplayNone},
		{replay: multidb.ReplayConnection},
		{replay: multidb.ReplayRead},
		{replay: multidb.ReplayChecked},
		{replay: 0},
		{replay: multidb.ReplayLastWins},
		// What follows asks for doubles: it shows that the counting would find them.
		{replay: multidb.ReplayAccumulating, twice: map[string]bool{"client": true, "pipeline": true, "eval": true}},
		{replay: multidb.ReplayAdmin, twice: map[string]bool{"client": true, "pipeline": true, "eval": true}},
		// A transaction as a whole as well. A clone has no hooks, and a session ends with its connection, whatever is allowed.
		{replay: multidb.ReplayAll, twice: map[string]bool{"client": true, "pipeline": true, "eval": true, "tx": true}},
	} {
		t.Run(c.replay.String(), func(t *testing.T) {
			t.Parallel()
			p := pair.NewProxied(t, func(o *multidb.Options, r *redis.Options) {
				o.Replay = c.replay
				r.MaintNotificationsConfig = testkit.MaintenanceOff() // see TestPlannedSwitchesKeepSessions
				// What is tested is what happens to a request, and not how fast a busy machine answers probes: an outage of
				// all is the other answer, "not sent".
				pair.Calm(o, r)
				o.Detectors = []window.Factory{}
			})
			const calls = 5
			for name, incr := range incrementers(p.RDB) {
				drop := faultproxy.Named("INCR", "EVAL")
				if name == "tx" || name == "watch" {
					drop = faultproxy.Named("EXEC") // and not QUEUED
				}
				for _, proxy := range []*faultproxy.Proxy{p.ToEast, p.ToWest} {
					proxy.DropReplies(drop)
				}
				calls := calls
				if c.twice[name] {
					calls = 1 // it takes all attempts
				}
				for i := range calls {
					err := incr(t.Context(), name)
					var failed *multidb.CommandError
					require.ErrorAs(t, err, &failed, "%s, call %d", name, i)
					require.True(t, failed.Sent, "%s: %v", name, err)
					require.Contains(t, []string{"east", "west"}, failed.Database, name)
					require.False(t, multidb.SafeToRetry(err), "%s: %v", name, err)
				}
				if c.twice[name] {
					require.Greater(t, p.Sum(t, name), int64(calls), "%s was allowed to be run again", name)
				} else {
					require.EqualValues(t, calls, p.Sum(t, name), name)
				}
			}
		})
	}
}

// TestOneAnswerOfManyIsLost: what was answered keeps its answer, and of the rest nothing is run again if any of it may
// not be.
func TestOneAnswerOfManyIsLost(t *testing.T) {
	p := pair.NewProxied(t, nil)
	ctx := t.Context()
	p.ToEast.DropReplies(faultproxy.First(1, faultproxy.Named("INCR")))
	pipe := p.RDB.Pipeline()
	before, incr, after := pipe.Set(ctx, "before", 1, 0), pipe.Incr(ctx, "n"), pipe.Set(ctx, "after", 1, 0)
	_, err := pipe.Exec(ctx)
	for name, e := range map[string]error{"pipeline": err, "incr": incr.Err(), "after": after.Err()} {
		var failed *multidb.CommandError
		require.ErrorAs(t, e, &failed, name)
		require.True(t, failed.Sent, name)
		require.Equal(t, "east", failed.Database, name)
	}
	require.NoError(t, before.Err(), "answered")
	require.Equal(t, "OK", before.Val())
	require.EqualValues(t, 1, p.Sum(t, "n"))

	p.ToEast.DropReplies(faultproxy.First(1, faultproxy.Named("SET")))
	pipe = p.RDB.Pipeline()
	incr, after = pipe.Incr(ctx, "n"), pipe.Set(ctx, "a", 1, 0)
	get := pipe.Get(ctx, "a")
	_, err = pipe.Exec(ctx)
	require.NoError(t, err, "the INCR is answered, and the rest is harmless")
	require.EqualValues(t, 2, incr.Val(), "its answer of the first run")
	require.Equal(t, "OK", after.Val())
	require.Equal(t, "1", get.Val())
	require.EqualValues(t, 2, p.Sum(t, "n"))
	require.Empty(t, p.Switched(), "two lost answers are no failover")
}

// TestPipelineCutInAReply: the same where the answer breaks off in its middle, with every kind of answer before it.
func TestPipelineCutInAReply(t *testing.T) {
	p := pair.NewProxied(t, nil)
	ctx := t.Context()
	require.NoError(t, p.RDB.Set(ctx, "text", "not a number", 0).Err())
	require.NoError(t, p.RDB.Set(ctx, "long", strings.Repeat("x", 100_000), 0).Err())
	p.ToEast.PartialReply(50_000, faultproxy.First(1, faultproxy.Named("GETRANGE")))
	pipe := p.RDB.Pipeline()
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
	require.EqualValues(t, 1, p.RDB.LLen(ctx, "list").Val())
}

// TestAutopipelinedOnce: the autopipeliners put commands of many callers into one batch.
func TestAutopipelinedOnce(t *testing.T) {
	for _, fullDuplex := range []bool{false, true} {
		t.Run(fmt.Sprint("full duplex ", fullDuplex), func(t *testing.T) {
			p := pair.NewProxied(t, nil)
			opt := redis.DefaultBlockingAutoPipelineOptions()
			opt.FullDuplex = fullDuplex
			ap, err := p.RDB.AutoPipelineWithOptions(opt)
			require.NoError(t, err)
			t.Cleanup(func() { _ = ap.Close() })
			require.NoError(t, ap.Set(t.Context(), "k", 1, 0).Err())
			for _, proxy := range []*faultproxy.Proxy{p.ToEast, p.ToWest} {
				proxy.ResetOneIn(20, faultproxy.AfterExecution, faultproxy.Session)
			}
			const callers, calls = 8, 50
			l := load.Repeat(callers, calls, func(ctx context.Context, _, _ int) error { return ap.Incr(ctx, "n").Err() })
			require.Zero(t, l.Other.Load(), "%v", l.Errs)
			require.Positive(t, l.Unknown.Load(), "some must have been hit")
			p.RequireExact(t, "n", l)
		})
	}
}

// Events: a pipeline [SET, INCR]; the server answers LOADING to the first and executes the second (it finished loading
// in between; the same with READONLY for a write and OK for a PUBLISH). The batch error is that of the first command, so
// judgeBatch resets from to 0 and runs the whole pipeline again, answered commands included.
func TestAnsweredCommandsOfAPipelineAreNotRunAgain(t *testing.T) {
	var set, incr atomic.Int64
	server := fakeserver.Listen(t, func(_ net.Conn, args []string) (string, bool) {
		switch strings.ToLower(args[0]) {
		case "set":
			if set.Add(1) == 1 {
				return "-LOADING Redis is loading the dataset in memory\r\n", true
			}
		case "incr":
			return fmt.Sprintf(":%d\r\n", incr.Add(1)), true
		}
		return fakeserver.Default(args), true
	})
	h := pair.Hook(t, multidb.Options{Databases: []multidb.Database{{Name: "only", URL: "redis://" + server.Addr()}}})
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1})
	defer rdb.Close()
	rdb.AddHook(h)
	cmds, err := rdb.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		p.Set(t.Context(), "k", "v", 0)
		p.Incr(t.Context(), "n")
		return nil
	})
	t.Log(err, cmds)
	require.EqualValues(t, 1, incr.Load(), "the INCR was answered, and run again by the hook (go-redis' retries are off)")
}

// Events: a pipeline of three INCR is answered with LOADING; go-redis sends it again; the first is answered and the
// connection dies. go-redis leaves LOADING on the third, which had been sent: "certainly not executed".
func TestStaleLoadingInAPipelineIsReportedSent(t *testing.T) {
	var n atomic.Int64
	server := fakeserver.Listen(t, func(_ net.Conn, args []string) (string, bool) {
		if strings.EqualFold(args[0], "incr") {
			switch i := n.Add(1); {
			case i <= 3:
				return "-LOADING Redis is loading the dataset in memory\r\n", true
			case i == 4:
				return ":1\r\n", true
			}
			time.Sleep(20 * time.Millisecond) // so that the answer before is read
			return "", false
		}
		return fakeserver.Default(args), true
	})
	_, rdb := clientOf(t, server, multidb.Options{}, redis.Options{})
	pipe := rdb.Pipeline()
	a, b, c := pipe.Incr(t.Context(), "a"), pipe.Incr(t.Context(), "b"), pipe.Incr(t.Context(), "c")
	_, err := pipe.Exec(t.Context())
	require.Error(t, err)
	require.NoError(t, a.Err())
	for _, e := range []error{err, b.Err(), c.Err()} {
		var failed *multidb.CommandError
		require.ErrorAs(t, e, &failed)
		require.True(t, failed.Sent)
		require.False(t, multidb.SafeToRetry(e))
	}
}
