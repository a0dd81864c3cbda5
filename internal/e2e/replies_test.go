package e2e_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/load"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
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
			p := pair.NewProxied(t, nil)
			l := load.Start(10, setAndGet(p.RDB))
			defer l.End()
			redistest.Eventually(t, 10*time.Second, "load to run", func() bool { return l.Ops.Load() > 200 })
			l.Strike(func() { p.ToEast.Answer(passesHandshake(text)) })
			_, last := l.AwaitRecovery(t, 3*time.Second)
			l.End()
			require.Less(t, last, 1500*time.Millisecond)
			require.Empty(t, l.Errs)
			require.Len(t, p.Switched(), 1)
			require.NotEmpty(t, p.Hook.Stats().Databases[0].Replies["PROXY"])
		})
	}
}

// A command that a proxy may have passed on before it lost its server is not run again unless that is harmless.
func TestDoubtfulReplyIsNotRunAgain(t *testing.T) {
	p := pair.NewProxied(t, nil)
	ctx := t.Context()
	require.NoError(t, p.RDB.Set(ctx, "n", 1, 0).Err())
	var asked atomic.Int64
	p.ToEast.Answer(func(args []string) (string, bool) {
		if !strings.EqualFold(args[0], "incr") {
			return "", false
		}
		asked.Add(1)
		return "-upstream failure\r\n", true
	})
	err := p.RDB.Incr(ctx, "n").Err()
	require.EqualError(t, err, "upstream failure")
	require.False(t, multidb.SafeToRetry(err))
	require.EqualValues(t, 1, asked.Load())
}

// Events: the server answers BUSY for 100 ms, because somebody's script runs. Nothing was executed, so everything is run again.
func TestBusyIsRunAgain(t *testing.T) {
	p := pair.NewProxied(t, nil)
	ctx := t.Context()
	require.NoError(t, p.RDB.Set(ctx, "n", 0, 0).Err())
	const busy = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
	p.ToEast.Answer(answering(busy, "INCR"))
	end := time.AfterFunc(100*time.Millisecond, func() { p.ToEast.Answer(nil) })
	defer end.Stop()
	n, err := p.RDB.Incr(ctx, "n").Result()
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	require.Empty(t, p.Switched(), "it was over before refusalPatience")
}

// Events:
//  1. BLPOP waits on east.
//  2. east is demoted: it answers UNBLOCKED to whoever waits, and refuses writes from then on.
//  3. An element arrives on west.
//
// Nothing was popped on east, so the BLPOP is run again, and gets the element.
func TestBlockingCommandOfADemotedMasterIsRunAgain(t *testing.T) {
	p := pair.New(t, nil)
	ctx := t.Context()
	require.NoError(t, p.RDB.Set(ctx, "k", 1, 0).Err())
	got := make(chan string, 1)
	go func() {
		element, err := p.RDB.BLPop(ctx, 20*time.Second, "list").Result()
		got <- fmt.Sprint(element, err)
	}()
	redistest.Eventually(t, 10*time.Second, "BLPOP to wait", func() bool {
		blocked, err := p.East.Client().Info(ctx, "clients").Result()
		return err == nil && strings.Contains(blocked, "blocked_clients:1")
	})
	host, port, _ := strings.Cut(p.West.Addr(), ":")
	require.NoError(t, p.East.Client().Do(ctx, "REPLICAOF", host, port).Err())
	redistest.Eventually(t, 10*time.Second, "the switch", func() bool { return p.Hook.Active() == "west" })
	require.NoError(t, p.West.Client().RPush(ctx, "list", "element").Err())
	require.Equal(t, "[list element] <nil>", <-got)
}

// Events: the active database is full. Its callers are told at once that nothing was executed, and it keeps its place, because
// it serves reads. It is counted, and logged once.
func TestFullDatabaseKeepsItsPlace(t *testing.T) {
	p := pair.New(t, nil)
	ctx := t.Context()
	require.NoError(t, p.RDB.Set(ctx, "k", 1, 0).Err())
	require.NoError(t, p.East.Client().ConfigSet(ctx, "maxmemory", "1").Err())
	for range 50 {
		began := time.Now()
		err := p.RDB.Set(ctx, "k", 2, 0).Err()
		require.True(t, redis.IsOOMError(err), "%v", err)
		require.True(t, multidb.SafeToRetry(err))
		require.Less(t, time.Since(began), 200*time.Millisecond)
	}
	require.Equal(t, "1", p.RDB.Get(ctx, "k").Val())
	require.Empty(t, p.Switched())
	east := p.Hook.Stats().Databases[0]
	require.EqualValues(t, 50, east.Replies["OOM"])
	require.EqualValues(t, 50, east.Failures)
}

// A user who would rather leave a full database says so by Options.Replies.
func TestFullDatabaseIsLeftIfTheUserSaysSo(t *testing.T) {
	p := pair.New(t, func(o *multidb.Options, _ *redis.Options) {
		o.Replies = func(reply error, known multidb.ReplyMeaning) multidb.ReplyMeaning {
			if redis.IsOOMError(reply) {
				return multidb.ReplyRefused
			}
			return known
		}
	})
	ctx := t.Context()
	require.NoError(t, p.RDB.Set(ctx, "k", 1, 0).Err())
	require.NoError(t, p.East.Client().ConfigSet(ctx, "maxmemory", "1").Err())
	require.NoError(t, p.RDB.Set(ctx, "k", 2, 0).Err())
	require.Equal(t, "west", p.Hook.Active())
}

// P7. Events: a script of the application's own answers TRYAGAIN: a rate limiter. That counts against no database.
func TestScriptsOwnErrorIsNoEvidence(t *testing.T) {
	p := pair.New(t, func(_ *multidb.Options, r *redis.Options) { r.MaxRetries = -1 })
	for range 100 {
		err := p.RDB.Eval(t.Context(), "return redis.error_reply('TRYAGAIN limit of 10/s is reached')", []string{"limit"}).Err()
		require.True(t, redis.HasErrorPrefix(err, "TRYAGAIN"), "%v", err)
		require.False(t, multidb.SafeToRetry(err), "a script may have written before")
	}
	_, err := p.RDB.Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
		pipe.Eval(t.Context(), "return redis.error_reply('TRYAGAIN limit of 10/s is reached')", []string{"limit"})
		return nil
	})
	require.Error(t, err)
	east := p.Hook.Stats().Databases[0]
	require.Zero(t, east.Failures)
	require.Zero(t, east.Suspicions)
	require.Empty(t, p.Switched())
}

// Events: one command gets TRYAGAIN, because the slot of its keys moves. Everything else is served, so nobody is moved.
func TestOneRefusedKeyMovesNobody(t *testing.T) {
	p := pair.NewProxied(t, nil)
	gets := load.Start(10, setAndGet(p.RDB))
	defer gets.End()
	redistest.Eventually(t, 10*time.Second, "load to run", func() bool { return gets.Ops.Load() > 1000 })
	p.ToEast.Answer(func(args []string) (string, bool) {
		return "-TRYAGAIN Multiple keys request during rehashing of slot\r\n", strings.EqualFold(args[0], "mget")
	})
	err := p.RDB.MGet(t.Context(), "a{moving}", "b{moving}").Err()
	require.True(t, redis.IsTryAgainError(err), "%v", err)
	gets.End()
	require.Empty(t, p.Switched())
	require.Empty(t, gets.Errs)
	require.False(t, errors.Is(err, multidb.ErrNoDatabase))
}
