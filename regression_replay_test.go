package multidb

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

	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// regressionClient is a client of one fake server, with a hook over it.
func regressionClient(t *testing.T, server *regressionServer, opt Options, client redis.Options) (*Hook, *redis.Client) {
	opt.Databases = []Database{{Name: "only", URL: "redis://" + server.addr()}}
	h := regressionHook(t, opt)
	client.Addr = server.addr()
	rdb := redis.NewClient(&client)
	t.Cleanup(func() { _ = rdb.Close() })
	rdb.AddHook(h)
	return h, rdb
}

// Events: a script increments and answers with an error of its own making that begins with MISCONF, TRYAGAIN, READONLY or
// LOADING. By its text it is proof that nothing was done, so it is run eight times.
func TestRegressionScriptMakesUpAReply(t *testing.T) {
	east := redistest.Start(t)
	h := regressionHook(t, Options{Databases: []Database{{Name: "east", URL: "redis://" + east.Addr()}}})
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
			require.EqualValues(t, 1, counter(t, east, key), "%s: %s", name, code)
		}
	}
}

// Events: a pipeline of three INCR is answered with LOADING; go-redis sends it again; the first is answered and the
// connection dies. go-redis leaves LOADING on the third, which had been sent: "certainly not executed".
func TestRegressionStaleLoadingInAPipeline(t *testing.T) {
	var n atomic.Int64
	server := regressionListen(t, func(_ net.Conn, args []string) (string, bool) {
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
		return regressionDefault(args), true
	})
	_, rdb := regressionClient(t, server, Options{}, redis.Options{})
	pipe := rdb.Pipeline()
	a, b, c := pipe.Incr(t.Context(), "a"), pipe.Incr(t.Context(), "b"), pipe.Incr(t.Context(), "c")
	_, err := pipe.Exec(t.Context())
	require.Error(t, err)
	require.NoError(t, a.Err())
	for _, e := range []error{err, b.Err(), c.Err()} {
		var failed *CommandError
		require.ErrorAs(t, e, &failed)
		require.True(t, failed.Sent)
		require.False(t, SafeToRetry(e))
	}
}

// Events: a command that must not be retried gets LOADING, or its connection dies before a byte is written; the hook runs
// it again, because it was certainly not executed. NoRetry is a veto.
func TestRegressionNoRetryIsRunAgain(t *testing.T) {
	var n atomic.Int64
	server := regressionListen(t, func(_ net.Conn, args []string) (string, bool) {
		if strings.EqualFold(args[0], "get") {
			n.Add(1)
			return "-LOADING Redis is loading the dataset in memory\r\n", true
		}
		return regressionDefault(args), true
	})
	_, rdb := regressionClient(t, server, Options{}, redis.Options{})
	ctx := t.Context()
	buf := make([]byte, 100)
	require.True(t, redis.IsLoadingError(rdb.GetToBuffer(ctx, "k", buf).Err()))
	require.EqualValues(t, 1, n.Load())
	_, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.GetToBuffer(ctx, "k", buf).Err() })
	require.True(t, redis.IsLoadingError(err))
	require.EqualValues(t, 2, n.Load())

	// A planned switch is not a retry: the gate has let nothing pass.
	p := newPair(t, func(o *Options, _ *redis.Options) { o.DrainTimeout = -1 })
	require.NoError(t, p.rdb.Set(ctx, "k", "east", 0).Err())
	require.NoError(t, p.west.Client().Set(ctx, "k", "west", 0).Err())
	require.NoError(t, p.hook.SetActive(ctx, "west"))
	require.NoError(t, p.rdb.GetToBuffer(ctx, "k", buf).Err())
	require.Equal(t, "west", string(buf[:4]))
}

// Events: the connection of a Conn dies with a request that was sent; the pipelines after it are not sent at all, and say
// that they were.
func TestRegressionPipelineOnADeadSessionSaysItWasSent(t *testing.T) {
	p := newProxied(t, func(_ *Options, r *redis.Options) { r.MaintNotificationsConfig = maintenanceOff() })
	ctx := t.Context()
	conn := p.rdb.Conn()
	defer conn.Close()
	require.NoError(t, conn.Ping(ctx).Err())
	p.toEast.DropReplies(faultproxy.First(1, faultproxy.Named("GET")))
	err := conn.Get(ctx, "k").Err() // may be run again, and cannot
	var failed *CommandError
	require.ErrorAs(t, err, &failed)
	require.True(t, failed.Sent, "%v", err)
	require.NotContains(t, err.Error(), "not sent", "one error says one thing")
	for name, run := range map[string]func(context.Context, func(redis.Pipeliner) error) ([]redis.Cmder, error){
		"pipeline": conn.Pipelined, "transaction": conn.TxPipelined,
	} {
		cmds, err := run(ctx, func(pipe redis.Pipeliner) error { return pipe.Incr(ctx, "n").Err() })
		require.ErrorAs(t, err, &failed, name)
		require.False(t, failed.Sent, "%s: %v", name, err)
		require.True(t, SafeToRetry(err), "%s: %v", name, err)
		require.True(t, SafeToRetry(cmds[0].Err()), "%s: %v", name, cmds[0].Err())
	}
	require.Zero(t, p.sum(t, "n"))
}

// Events: CLIENT LIST is in flight when its connection dies. It is taken for a part of the handshake by its name and never
// run again, although it only asks.
func TestRegressionClientListIsNotRunAgain(t *testing.T) {
	p := newProxied(t, nil)
	ctx := t.Context()
	for _, sub := range []string{"LIST", "ID", "INFO", "GETNAME"} {
		p.toEast.DropReplies(faultproxy.First(1, func(args []string) bool {
			return len(args) > 1 && strings.EqualFold(args[0], "client") && strings.EqualFold(args[1], sub)
		}))
		err := p.rdb.Do(ctx, "client", sub).Err()
		if errors.Is(err, redis.Nil) {
			err = nil
		}
		require.NoError(t, err, sub)
	}
	require.Positive(t, p.hook.Stats().Databases[0].Replayed)
}

// Events: Stats counts a command as run again when it might have been, and not as unknown when its caller was told so.
func TestRegressionStatsCountWhatWasNotRunAgain(t *testing.T) {
	var sets atomic.Int64
	server := regressionListen(t, func(_ net.Conn, args []string) (string, bool) {
		switch strings.ToLower(args[0]) {
		case "set":
			sets.Add(1)
			return "", false
		case "incr":
			time.Sleep(2 * time.Second)
			return "", false
		}
		return regressionDefault(args), true
	})
	for attempts, replayed := range map[int]uint64{-1: 0, 1: 0, 3: 2} {
		sets.Store(0)
		h, rdb := regressionClient(t, server, Options{Retry: Retry{MaxAttempts: attempts}}, redis.Options{})
		require.Error(t, rdb.Set(t.Context(), "k", "v", 0).Err())
		require.EqualValues(t, replayed+1, sets.Load())
		s := h.Stats().Databases[0]
		require.Equal(t, replayed, s.Replayed, "MaxAttempts %d", attempts)
		require.EqualValues(t, 1, s.Unknown, "MaxAttempts %d", attempts)
		_, err := rdb.Pipelined(t.Context(), func(pipe redis.Pipeliner) error { return pipe.Set(t.Context(), "k", "v", 0).Err() })
		require.Error(t, err)
		require.EqualValues(t, 2, h.Stats().Databases[0].Unknown, "MaxAttempts %d", attempts)
	}
	h, rdb := regressionClient(t, server, Options{}, redis.Options{ContextTimeoutEnabled: true})
	require.NoError(t, rdb.Ping(t.Context()).Err()) // a dial and a login are no part of what the deadline is for
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	err := rdb.Incr(ctx, "n").Err()
	var failed *CommandError
	require.ErrorAs(t, err, &failed)
	require.True(t, failed.Sent)
	require.EqualValues(t, 1, h.Stats().Databases[0].Unknown, "the caller's own deadline, and in doubt all the same")
	require.Zero(t, h.Stats().Databases[0].Failures)
}

// Events: a script that reads for more than a second hangs the active database, which is left; the script only reads, so it
// is run again, on the next one, which hangs; and so on, until none is left.
func TestRegressionSlowReadTakesDownOneDatabaseAfterTheOther(t *testing.T) {
	var opt Options
	var servers []*redistest.Redis
	for i := range 4 {
		servers = append(servers, redistest.Start(t))
		opt.Databases = append(opt.Databases, Database{Name: fmt.Sprint(i), Weight: float64(9 - i), Options: servers[i].Options()})
	}
	var downs atomic.Int64
	opt.Events.OnAllDown = func(error) { downs.Add(1) }
	opt.Initial = InitialAll
	h := regressionHook(t, opt)
	rdb := redis.NewClient(&redis.Options{Addr: servers[0].Addr(), ReadTimeout: 30 * time.Second})
	defer rdb.Close()
	rdb.AddHook(h)
	const script = `local t = redis.call('time'); local till = t[1] * 1000 + t[2] / 1000 + 5000
		while t[1] * 1000 + t[2] / 1000 < till do t = redis.call('time') end return 1`
	err := rdb.Do(t.Context(), "eval_ro", script, 0).Err()
	var failed *CommandError
	require.ErrorAs(t, err, &failed)
	require.True(t, failed.Sent)
	require.Equal(t, "2", h.Active(), "left twice, and then the script was no longer run")
	require.NoError(t, rdb.Set(t.Context(), "k", "v", 0).Err())
	require.Zero(t, downs.Load())
}
