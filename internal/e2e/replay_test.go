package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/fakeserver"
	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// clientOf is a client of one fake server, with a hook over it.
func clientOf(t *testing.T, server *fakeserver.Server, opt multidb.Options, client redis.Options) (*multidb.Hook, *redis.Client) {
	opt.Databases = []multidb.Database{{Name: "only", URL: "redis://" + server.Addr()}}
	h := pair.Hook(t, opt)
	client.Addr = server.Addr()
	rdb := redis.NewClient(&client)
	t.Cleanup(func() { _ = rdb.Close() })
	rdb.AddHook(h)
	return h, rdb
}

// TestWithReplayInPipelines: the override of the context that a pipeline or transaction is executed with decides about all of
// it, whatever its commands were queued with. The first answer is lost after the server has counted.
func TestWithReplayInPipelines(t *testing.T) {
	for name, c := range map[string]struct {
		tx       bool
		override multidb.Replay
		count    int64
	}{
		"pipeline":                      {false, 0, 1},
		"pipeline, read":                {false, multidb.ReplayRead, 1},
		"pipeline, accumulating":        {false, multidb.ReplayAccumulating, 2},
		"transaction":                   {true, 0, 1},
		"transaction, admin":            {true, multidb.ReplayAdmin, 1},
		"transaction, all":              {true, multidb.ReplayAll, 2},
		"transaction, what is no rung":  {true, multidb.ReplayAll + 1, 1},
		"pipeline, none":                {false, multidb.ReplayNone, 1},
		"pipeline, all (and not twice)": {false, multidb.ReplayAll, 2},
	} {
		t.Run(name, func(t *testing.T) {
			p := pair.NewProxied(t, nil)
			lost := "INCR"
			run := p.RDB.Pipeline
			if c.tx {
				lost, run = "EXEC", p.RDB.TxPipeline
			}
			p.ToEast.DropReplies(faultproxy.First(1, faultproxy.Named(lost)))
			other := multidb.ReplayAll
			if c.count > 1 {
				other = multidb.ReplayNone
			}
			pipe := run()
			n := pipe.Incr(multidb.WithReplay(t.Context(), other), "n")
			_, err := pipe.Exec(overridden(t.Context(), c.override))
			require.Equal(t, c.count, p.Sum(t, "n"))
			if c.count > 1 {
				require.NoError(t, err)
				require.EqualValues(t, 2, n.Val())
				return
			}
			var failed *multidb.CommandError
			require.ErrorAs(t, err, &failed)
			require.True(t, failed.Sent)
		})
	}
}

func overridden(ctx context.Context, r multidb.Replay) context.Context {
	if r == 0 {
		return ctx
	}
	return multidb.WithReplay(ctx, r)
}

// Events: a script increments and answers with an error of its own making that begins with MISCONF, TRYAGAIN, READONLY or
// LOADING. By its text it is proof that nothing was done, so it is run eight times.
func TestReplyThatAScriptMakesUpIsNoProof(t *testing.T) {
	east := redistest.Start(t)
	h := pair.Hook(t, multidb.Options{Databases: []multidb.Database{{Name: "east", URL: "redis://" + east.Addr()}}})
	rdb := redis.NewClient(&redis.Options{Addr: east.Addr(), MaxRetries: -1})
	defer rdb.Close()
	rdb.AddHook(h)
	ctx := t.Context()
	const script = `redis.call('incr', KEYS[1]); return redis.error_reply(ARGV[1])`
	require.NoError(t, east.Client().FunctionLoad(ctx, "#!lua name=lib\nredis.register_function('f', function(keys, args) "+
		"redis.call('incr', keys[1]); return redis.error_reply(args[1]) end)").Err())
	for i, code := range []string{"MISCONF x", "TRYAGAIN later", "READONLY mine", "LOADING y", "ERR READONLY z"} {
		for name, run := range map[string]func(key string) error{
			"eval":  func(key string) error { return rdb.Eval(ctx, script, []string{key}, code).Err() },
			"fcall": func(key string) error { return rdb.FCall(ctx, "f", []string{key}, code).Err() },
			"pipeline": func(key string) error {
				_, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
					return pipe.Eval(ctx, script, []string{key}, code).Err()
				})
				return err
			},
		} {
			key := fmt.Sprint(name, i)
			require.ErrorContains(t, run(key), code[:4])
			require.EqualValues(t, 1, pair.Counter(t, east, key), "%s: %s", name, code)
		}
	}
}

// Events: a command that must not be retried gets LOADING, or its connection dies before a byte is written; the hook runs
// it again, because it was certainly not executed. NoRetry is a veto.
func TestNoRetryIsNotRunAgain(t *testing.T) {
	var n atomic.Int64
	server := fakeserver.Listen(t, func(_ net.Conn, args []string) (string, bool) {
		if strings.EqualFold(args[0], "get") {
			n.Add(1)
			return "-LOADING Redis is loading the dataset in memory\r\n", true
		}
		return fakeserver.Default(args), true
	})
	_, rdb := clientOf(t, server, multidb.Options{}, redis.Options{})
	ctx := t.Context()
	buf := make([]byte, 100)
	require.True(t, redis.IsLoadingError(rdb.GetToBuffer(ctx, "k", buf).Err()))
	require.EqualValues(t, 1, n.Load())
	_, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.GetToBuffer(ctx, "k", buf).Err() })
	require.True(t, redis.IsLoadingError(err))
	require.EqualValues(t, 2, n.Load())

	// A planned switch is not a retry: the gate has let nothing pass.
	p := pair.New(t, func(o *multidb.Options, _ *redis.Options) { o.DrainTimeout = -1 })
	require.NoError(t, p.RDB.Set(ctx, "k", "east", 0).Err())
	require.NoError(t, p.West.Client().Set(ctx, "k", "west", 0).Err())
	require.NoError(t, p.Hook.SetActive(ctx, "west"))
	require.NoError(t, p.RDB.GetToBuffer(ctx, "k", buf).Err())
	require.Equal(t, "west", string(buf[:4]))
}

// Events: CLIENT LIST is in flight when its connection dies. It is taken for a part of the handshake by its name and never
// run again, although it only asks.
func TestClientListIsRunAgain(t *testing.T) {
	p := pair.NewProxied(t, nil)
	ctx := t.Context()
	for _, sub := range []string{"LIST", "ID", "INFO", "GETNAME"} {
		p.ToEast.DropReplies(faultproxy.First(1, func(args []string) bool {
			return len(args) > 1 && strings.EqualFold(args[0], "client") && strings.EqualFold(args[1], sub)
		}))
		err := p.RDB.Do(ctx, "client", sub).Err()
		if errors.Is(err, redis.Nil) {
			err = nil
		}
		require.NoError(t, err, sub)
	}
	require.Positive(t, p.Hook.Stats().Databases[0].Replayed)
}

// TestStatsCountOnlyWhatWasRunAgain: a command that was run once and not answered counts as unknown, and not as run again. A
// command that its caller gave up counts as neither.
func TestStatsCountOnlyWhatWasRunAgain(t *testing.T) {
	var sets atomic.Int64
	server := fakeserver.Listen(t, func(_ net.Conn, args []string) (string, bool) {
		switch strings.ToLower(args[0]) {
		case "set":
			sets.Add(1)
			return "", false
		case "incr":
			time.Sleep(2 * time.Second)
			return "", false
		}
		return fakeserver.Default(args), true
	})
	for attempts, replayed := range map[int]uint64{-1: 0, 1: 0, 3: 2} {
		sets.Store(0)
		h, rdb := clientOf(t, server, multidb.Options{Retry: multidb.Retry{MaxAttempts: attempts}}, redis.Options{})
		require.Error(t, rdb.Set(t.Context(), "k", "v", 0).Err())
		require.EqualValues(t, replayed+1, sets.Load())
		s := h.Stats().Databases[0]
		require.Equal(t, replayed, s.Replayed, "MaxAttempts %d", attempts)
		require.EqualValues(t, 1, s.Unknown, "MaxAttempts %d", attempts)
		_, err := rdb.Pipelined(t.Context(), func(pipe redis.Pipeliner) error { return pipe.Set(t.Context(), "k", "v", 0).Err() })
		require.Error(t, err)
		require.EqualValues(t, 2, h.Stats().Databases[0].Unknown, "MaxAttempts %d", attempts)
	}
	h, rdb := clientOf(t, server, multidb.Options{}, redis.Options{ContextTimeoutEnabled: true})
	require.NoError(t, rdb.Ping(t.Context()).Err()) // a dial and a login are no part of what the deadline is for
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	err := rdb.Incr(ctx, "n").Err()
	var failed *multidb.CommandError
	require.ErrorAs(t, err, &failed)
	require.True(t, failed.Sent)
	require.Zero(t, h.Stats().Databases[0].Unknown, "the caller knows: it gave up by itself, and nothing was wrong with the database")
	require.Zero(t, h.Stats().Databases[0].Failures)
}

// Events: SET is sent and its reply lost (attempt 1, may have been executed); the second attempt cannot be sent, for all
// is down now. The caller's error speaks of the second only: "not sent", SafeToRetry true.
func TestErrorRemembersThatTheFirstAttemptWasSent(t *testing.T) {
	var server *fakeserver.Server
	var sets atomic.Int64
	server = fakeserver.Listen(t, func(_ net.Conn, args []string) (string, bool) {
		if strings.EqualFold(args[0], "set") {
			sets.Add(1)
			server.Close() // executed; then the process is gone
			return "", false
		}
		return fakeserver.Default(args), true
	})
	h := pair.Hook(t, multidb.Options{Databases: []multidb.Database{{Name: "only", URL: "redis://" + server.Addr()}}})
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()
	rdb.AddHook(h)
	err := rdb.Set(t.Context(), "k", "v", 0).Err()
	require.Error(t, err)
	require.EqualValues(t, 1, sets.Load())
	require.Falsef(t, multidb.SafeToRetry(err), "the SET was executed; the error says: %v", err)
}
