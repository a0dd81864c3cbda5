package e2e_test

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// TestTransactionCutInAReply: EXEC was executed if any of its results has come. Those stay; the transaction is not run again.
func TestTransactionCutInAReply(t *testing.T) {
	p := pair.NewProxied(t, func(o *multidb.Options, _ *redis.Options) { o.Replay = multidb.ReplayAll })
	ctx := t.Context()
	p.ToEast.PartialReply(len("*3\r\n:1\r\n:1"), faultproxy.First(1, faultproxy.Named("EXEC")))
	var first, second, third *redis.IntCmd
	_, err := p.RDB.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		first, second, third = pipe.Incr(ctx, "a"), pipe.Incr(ctx, "b"), pipe.Incr(ctx, "c")
		return nil
	})
	require.EqualValues(t, 1, first.Val())
	require.NoError(t, first.Err())
	for name, e := range map[string]error{"transaction": err, "second": second.Err(), "third": third.Err()} {
		var failed *multidb.CommandError
		require.ErrorAs(t, e, &failed, name)
		require.True(t, failed.Sent, name)
	}
	for _, key := range []string{"a", "b", "c"} {
		require.EqualValues(t, 1, p.Sum(t, key), key)
	}
}

// Events: one idle TLS connection; a planned switch; TxPipelined(INCR). go-redis' first attempt takes the old connection
// and is refused (not sent: every command of the batch is stamped with that error); its second attempt executes the
// transaction on the new database, but go-redis never clears the error of MULTI and EXEC, so the batch ends with the stale
// "not sent", and the hook runs the transaction, which was executed and answered, once more. No error anywhere.
func TestTransactionIsExecutedOnceAfterRefusal(t *testing.T) {
	east, west := redistest.Start(t, redistest.TLS()), redistest.Start(t, redistest.TLS())
	h := pair.Hook(t, multidb.Options{Health: pair.Patient, Databases: []multidb.Database{
		{Name: "east", Options: east.Options()}, {Name: "west", Weight: 0.5, Options: west.Options()},
	}})
	rdb := redis.NewClient(east.Options())
	defer rdb.Close()
	rdb.AddHook(h)
	_, err := rdb.Pipelined(t.Context(), func(p redis.Pipeliner) error { p.Ping(t.Context()); return nil })
	require.NoError(t, err)
	require.NoError(t, h.SetActive(t.Context(), "west"))
	_, err = rdb.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
		p.Incr(t.Context(), "n")
		return nil
	})
	n, _ := west.Client().Get(t.Context(), "n").Int()
	require.Equalf(t, 1, n, "one transaction; its caller got %v", err)
}

// The same on plain TCP without any switch: the first attempt meets a connection that breaks when it is written to
// (not sent), the second succeeds.
func TestTransactionIsExecutedOnceAfterFailedWrite(t *testing.T) {
	east := redistest.Start(t)
	var broken atomic.Bool
	opt := east.Options()
	opt.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &failingConn{nc, &broken}, nil
	}
	h := pair.Hook(t, multidb.Options{Databases: []multidb.Database{{Name: "east", Options: opt}}})
	rdb := redis.NewClient(&redis.Options{Addr: "elsewhere:6379"})
	defer rdb.Close()
	rdb.AddHook(h)
	_, err := rdb.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
		p.Incr(t.Context(), "n")
		return nil
	})
	n, _ := east.Client().Get(t.Context(), "n").Int()
	require.Equalf(t, 1, n, "one transaction; its caller got %v", err)
}

// failingConn refuses the first write of a MULTI, as a connection does that the peer has reset.
type failingConn struct {
	net.Conn
	done *atomic.Bool
}

func (c *failingConn) Write(p []byte) (int, error) {
	if strings.Contains(strings.ToLower(string(p)), "multi") && c.done.CompareAndSwap(false, true) {
		_ = c.Conn.Close()
	}
	return c.Conn.Write(p)
}

// cutBeforeWrite is cut just before the write deadline is armed, as by a sweep between the pool's check and the write.
type cutBeforeWrite struct {
	net.Conn
	armed *atomic.Bool
}

func (c *cutBeforeWrite) SetWriteDeadline(t time.Time) error {
	if c.armed.CompareAndSwap(true, false) {
		_ = c.Conn.Close()
	}
	return c.Conn.SetWriteDeadline(t)
}

// Events: attempt 1 of go-redis fails before the write with an error that it can see, and leaves that on MULTI; attempt 2
// executes the transaction, whose first reply is nil. The stale error says "not sent" of what was executed.
func TestExecutedTransactionIsReportedSent(t *testing.T) {
	east := redistest.Start(t)
	var armed atomic.Bool
	opt := east.Options()
	opt.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &cutBeforeWrite{nc, &armed}, nil
	}
	h := pair.Hook(t, multidb.Options{Databases: []multidb.Database{{Name: "east", Options: opt}}})
	rdb := redis.NewClient(&redis.Options{Addr: "elsewhere:6379", PipelinePoolSize: -1})
	defer rdb.Close()
	rdb.AddHook(h)
	ctx := t.Context()
	require.NoError(t, rdb.Ping(ctx).Err())
	armed.Store(true)
	_, err := rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Get(ctx, "missing")
		p.Incr(ctx, "n")
		return nil
	})
	require.ErrorIs(t, err, redis.Nil)
	require.False(t, multidb.SafeToRetry(err))
	require.EqualValues(t, 1, pair.Counter(t, east, "n"))
}

// requireSentAndLost: the error says that the request was sent, and so must not be repeated.
func requireSentAndLost(t *testing.T, err error) {
	t.Helper()
	var failed *multidb.CommandError
	require.ErrorAs(t, err, &failed)
	require.True(t, failed.Sent)
	require.False(t, multidb.SafeToRetry(err))
}

// Events: a pipeline holds a MULTI … EXEC as commands of its own. MULTI and what is queued are answered, then the connection
// dies with the reply to EXEC. In a transaction of TxPipeline answers like these come from EXEC, so the pipeline was taken
// for executed and reported as done.
func TestRawTransactionThatIsCutIsReportedLost(t *testing.T) {
	for name, spelled := range map[string][3]string{"lower": {"multi", "incr", "exec"}, "upper": {"MULTI", "INCR", "EXEC"}} {
		for lost, want := range map[string]int64{"EXEC": 1, "INCR": 0, "MULTI": 0} {
			t.Run(name+"/"+lost, func(t *testing.T) {
				p := pair.NewProxied(t, nil)
				ctx := t.Context()
				p.ToEast.DropReplies(faultproxy.First(1, faultproxy.Named(lost)))
				pipe := p.RDB.Pipeline()
				pipe.Do(ctx, spelled[0])
				pipe.Do(ctx, spelled[1], "n")
				exec := pipe.Do(ctx, spelled[2])
				_, err := pipe.Exec(ctx)
				requireSentAndLost(t, err)
				requireSentAndLost(t, exec.Err())
				// Where the connection dies before EXEC, that may have arrived all the same: it was one write.
				require.LessOrEqual(t, p.Sum(t, "n"), max(want, 1), "one unit, that nobody runs again")
				require.GreaterOrEqual(t, p.Sum(t, "n"), want)
			})
		}
	}
	t.Run("all of it again, as told", func(t *testing.T) {
		p := pair.NewProxied(t, nil)
		ctx := multidb.WithReplay(t.Context(), multidb.ReplayAll)
		p.ToEast.DropReplies(faultproxy.First(1, faultproxy.Named("MULTI")))
		cmds, err := p.RDB.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Do(ctx, "multi")
			pipe.Do(ctx, "set", "n", 1)
			pipe.Do(ctx, "exec")
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, []any{"OK"}, cmds[2].(*redis.Cmd).Val())
	})
	t.Run("the rest of it is never run alone", func(t *testing.T) {
		p := pair.NewProxied(t, nil)
		ctx := multidb.WithReplay(t.Context(), multidb.ReplayAll)
		p.ToEast.DropReplies(faultproxy.First(1, faultproxy.Named("EXEC")))
		_, err := p.RDB.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Do(ctx, "multi")
			pipe.Do(ctx, "incr", "n")
			pipe.Do(ctx, "exec")
			return nil
		})
		require.Error(t, err)
		require.EqualValues(t, 1, p.Sum(t, "n"))
		require.EqualValues(t, 1, p.ToEast.Count("EXEC")+p.ToWest.Count("EXEC"))
	})
}

// Events: as above, with MULTI and EXEC made of the very types that TxPipeline uses; and a caller who looks at EXEC alone.
func TestRawTransactionOfTheTypesOfTxPipelineThatIsCutIsReportedLost(t *testing.T) {
	p := pair.NewProxied(t, nil)
	ctx := t.Context()
	p.ToEast.DropReplies(faultproxy.First(1, faultproxy.Named("EXEC")))
	multi, exec := redis.NewStatusCmd(ctx, "multi"), redis.NewSliceCmd(ctx, "exec")
	pipe := p.RDB.Pipeline()
	require.NoError(t, pipe.Process(ctx, multi))
	pipe.Do(ctx, "incr", "n")
	require.NoError(t, pipe.Process(ctx, exec))
	_, err := pipe.Exec(ctx)
	requireSentAndLost(t, err)
	requireSentAndLost(t, exec.Err())
	require.EqualValues(t, 1, p.Sum(t, "n"))
}
