package multidb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/testkit/faultproxy"
)

// answering has a proxy give one reply to some commands and pass on all others.
func answering(reply string, names ...string) func(args []string) (string, bool) {
	hit := faultproxy.Named(names...)
	return func(args []string) (string, bool) { return "-" + reply + "\r\n", hit(args) }
}

// passesHandshake has a proxy give one reply to everything but PING and the handshake: a proxy that has lost its server.
func passesHandshake(reply string) func(args []string) (string, bool) {
	return func(args []string) (string, bool) {
		switch strings.ToLower(args[0]) {
		case "ping", "hello", "auth", "client", "select":
			return "", false
		}
		return "-" + reply + "\r\n", true
	}
}

// Events:
//  1. A proxy in front of east loses its server. It answers PING by itself and everything else with a text of its own.
//  2. Ten goroutines run SET and GET.
//
// They are on west within a second, and nobody gets an error: the proxies' texts are known.
func TestProxyWithoutItsServerIsLeft(t *testing.T) {
	for _, text := range []string{
		"upstream failure", "no upstream host", "ERR Connection refused", "ERR no server connection avaliable",
		"ERR handle response, backend conn reset",
	} {
		t.Run(text, func(t *testing.T) {
			p := newProxied(t, nil)
			l := start(10, setAndGet(p.rdb))
			defer l.end()
			eventually(t, 10*time.Second, "load to run", func() bool { return l.ops.Load() > 200 })
			l.strike(func() { p.toEast.Answer(passesHandshake(text)) })
			_, last := awaitRecovery(t, l, 3*time.Second)
			l.end()
			require.Less(t, last, 1500*time.Millisecond)
			require.Empty(t, l.errs)
			require.Len(t, p.switched(), 1)
			require.NotEmpty(t, p.hook.Stats().Databases[0].Replies["PROXY"])
		})
	}
}

// A command that a proxy may have passed on before it lost its server is not run again unless that is harmless.
func TestDoubtfulReplyIsNotRunAgain(t *testing.T) {
	p := newProxied(t, nil)
	ctx := t.Context()
	require.NoError(t, p.rdb.Set(ctx, "n", 1, 0).Err())
	var asked atomic.Int64
	p.toEast.Answer(func(args []string) (string, bool) {
		if !strings.EqualFold(args[0], "incr") {
			return "", false
		}
		asked.Add(1)
		return "-upstream failure\r\n", true
	})
	err := p.rdb.Incr(ctx, "n").Err()
	require.EqualError(t, err, "upstream failure")
	require.False(t, SafeToRetry(err))
	require.EqualValues(t, 1, asked.Load())
}

// Events: the server answers BUSY for 100 ms, because somebody's script runs. Nothing was executed, so everything is run again.
func TestBusyIsRunAgain(t *testing.T) {
	p := newProxied(t, nil)
	ctx := t.Context()
	require.NoError(t, p.rdb.Set(ctx, "n", 0, 0).Err())
	const busy = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
	p.toEast.Answer(answering(busy, "INCR"))
	end := time.AfterFunc(100*time.Millisecond, func() { p.toEast.Answer(nil) })
	defer end.Stop()
	n, err := p.rdb.Incr(ctx, "n").Result()
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	require.Empty(t, p.switched(), "it was over before refusalPatience")
}

// Events:
//  1. BLPOP waits on east.
//  2. east is demoted: it answers UNBLOCKED to whoever waits, and refuses writes from then on.
//  3. An element arrives on west.
//
// Nothing was popped on east, so the BLPOP is run again, and gets the element.
func TestBlockingCommandOfADemotedMasterIsRunAgain(t *testing.T) {
	p := newPair(t, nil)
	ctx := t.Context()
	require.NoError(t, p.rdb.Set(ctx, "k", 1, 0).Err())
	got := make(chan string, 1)
	go func() {
		element, err := p.rdb.BLPop(ctx, 20*time.Second, "list").Result()
		got <- fmt.Sprint(element, err)
	}()
	eventually(t, 10*time.Second, "BLPOP to wait", func() bool {
		blocked, err := p.east.Client().Info(ctx, "clients").Result()
		return err == nil && strings.Contains(blocked, "blocked_clients:1")
	})
	host, port, _ := strings.Cut(p.west.Addr(), ":")
	require.NoError(t, p.east.Client().Do(ctx, "REPLICAOF", host, port).Err())
	eventually(t, 10*time.Second, "the switch", func() bool { return p.hook.Active() == "west" })
	require.NoError(t, p.west.Client().RPush(ctx, "list", "element").Err())
	require.Equal(t, "[list element] <nil>", <-got)
}

// WAIT is about the writes of its own connection. Run again on another one it would answer that all replicas have them.
func TestUnblockedWaitIsAnAnswer(t *testing.T) {
	err := goredis.Reply("UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)")
	ctx := context.Background()
	require.Equal(t, cannotServe, replyJudge(nil).classify(ctx, redis.NewCmd(ctx, "blpop", "k", 0), err))
	require.Equal(t, answered, replyJudge(nil).classify(ctx, redis.NewCmd(ctx, "WAIT", 1, 0), err))
	err = goredis.Reply("UNBLOCKED client unblocked via CLIENT UNBLOCK") // somebody has asked for it
	require.Equal(t, answered, replyJudge(nil).classify(ctx, redis.NewCmd(ctx, "blpop", "k", 0), err))
}

// Events: the active database is full. Its callers are told at once that nothing was executed, and it keeps its place, because
// it serves reads. It is counted, and logged once.
func TestFullDatabaseKeepsItsPlace(t *testing.T) {
	p := newPair(t, nil)
	ctx := t.Context()
	require.NoError(t, p.rdb.Set(ctx, "k", 1, 0).Err())
	require.NoError(t, p.east.Client().ConfigSet(ctx, "maxmemory", "1").Err())
	for range 50 {
		began := time.Now()
		err := p.rdb.Set(ctx, "k", 2, 0).Err()
		require.True(t, redis.IsOOMError(err), "%v", err)
		require.True(t, SafeToRetry(err))
		require.Less(t, time.Since(began), 200*time.Millisecond)
	}
	require.Equal(t, "1", p.rdb.Get(ctx, "k").Val())
	require.Empty(t, p.switched())
	east := p.hook.Stats().Databases[0]
	require.EqualValues(t, 50, east.Replies["OOM"])
	require.EqualValues(t, 50, east.Failures)
}

// A user who would rather leave a full database says so by Options.Replies.
func TestFullDatabaseIsLeftIfTheUserSaysSo(t *testing.T) {
	p := newPair(t, func(o *Options, _ *redis.Options) {
		o.Replies = func(reply error, known ReplyMeaning) ReplyMeaning {
			if redis.IsOOMError(reply) {
				return ReplyRefused
			}
			return known
		}
	})
	ctx := t.Context()
	require.NoError(t, p.rdb.Set(ctx, "k", 1, 0).Err())
	require.NoError(t, p.east.Client().ConfigSet(ctx, "maxmemory", "1").Err())
	require.NoError(t, p.rdb.Set(ctx, "k", 2, 0).Err())
	require.Equal(t, "west", p.hook.Active())
}

// The texts of proxies that the table does not know are the user's to say. A function that panics has no opinion.
func TestUserSaysWhatAReplyMeans(t *testing.T) {
	ctx := context.Background()
	get := redis.NewStringCmd(ctx, "get", "k")
	own := goredis.Reply("ERR backend is on holiday")
	for meaning, want := range map[ReplyMeaning]outcome{
		ReplyAnswer: answered, ReplyRefused: cannotServe, ReplyRefusedHere: refusedHere, ReplyDoubtful: cannotServeInside, ReplyMeaning(99): answered,
	} {
		judge := replyJudge(func(error, ReplyMeaning) ReplyMeaning { return meaning })
		require.Equal(t, want, judge.classify(ctx, get, own), "%v", meaning)
		require.Equal(t, answered, judge.classify(ctx, get, redis.Nil), "redis.Nil is no reply to be asked about")
	}
	panics := replyJudge(func(error, ReplyMeaning) ReplyMeaning { panic("x") })
	require.Equal(t, answered, panics.classify(ctx, get, own))
	require.Equal(t, cannotServe, panics.classify(ctx, get, goredis.Reply("LOADING Redis is loading the dataset in memory")))
}

// P7. Events: a script of the application's own answers TRYAGAIN: a rate limiter. That counts against no database.
func TestScriptsOwnErrorIsNoEvidence(t *testing.T) {
	p := newPair(t, func(_ *Options, r *redis.Options) { r.MaxRetries = -1 })
	for range 100 {
		err := p.rdb.Eval(t.Context(), "return redis.error_reply('TRYAGAIN limit of 10/s is reached')", []string{"limit"}).Err()
		require.True(t, redis.HasErrorPrefix(err, "TRYAGAIN"), "%v", err)
		require.False(t, SafeToRetry(err), "a script may have written before")
	}
	_, err := p.rdb.Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
		pipe.Eval(t.Context(), "return redis.error_reply('TRYAGAIN limit of 10/s is reached')", []string{"limit"})
		return nil
	})
	require.Error(t, err)
	east := p.hook.Stats().Databases[0]
	require.Zero(t, east.Failures)
	require.Zero(t, east.Suspicions)
	require.Empty(t, p.switched())
}

// Events: one command gets TRYAGAIN, because the slot of its keys moves. Everything else is served, so nobody is moved.
func TestOneRefusedKeyMovesNobody(t *testing.T) {
	p := newProxied(t, nil)
	gets := start(10, setAndGet(p.rdb))
	defer gets.end()
	eventually(t, 10*time.Second, "load to run", func() bool { return gets.ops.Load() > 1000 })
	p.toEast.Answer(func(args []string) (string, bool) {
		return "-TRYAGAIN Multiple keys request during rehashing of slot\r\n", strings.EqualFold(args[0], "mget")
	})
	err := p.rdb.MGet(t.Context(), "a{moving}", "b{moving}").Err()
	require.True(t, redis.IsTryAgainError(err), "%v", err)
	gets.end()
	require.Empty(t, p.switched())
	require.Empty(t, gets.errs)
	require.False(t, errors.Is(err, ErrNoDatabase))
}

// Events: a pipeline of a command that succeeds and one that is answered with redis.Nil. The error of the batch belongs to the
// second.
func TestErrorOfABatchBelongsToACommand(t *testing.T) {
	ctx := context.Background()
	good, bad := redis.NewStatusCmd(ctx, "set", "k", 1), redis.NewStringCmd(ctx, "get", "missing")
	bad.SetErr(redis.Nil)
	require.Equal(t, redis.Cmder(bad), commandOf([]redis.Cmder{good, bad}, redis.Nil))
}
