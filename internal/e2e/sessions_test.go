package e2e_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/load"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// Sessions and everything else that lives on a connection, across the loss of the active database.

// TestWatchUnderCrashes: optimistic transactions through raw rdb.Watch. Every committed increment is in one of the two
// databases, and no other is: a transaction that failed says so.
func TestWatchUnderCrashes(t *testing.T) {
	crashes := 100
	if testing.Short() {
		crashes = 5
	}
	p := pair.New(t, func(o *multidb.Options, r *redis.Options) {
		pair.Calm(o, r)
		o.Breaker.Delay = 20 * time.Millisecond // so that 100 crashes take no hour
	}, redistest.Persist())
	var committed, unknown atomic.Int64
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for !stop.Load() {
				err := increment(p.RDB, "n")
				var failed *multidb.CommandError
				switch {
				case err == nil:
					committed.Add(1)
				case errors.As(err, &failed) && failed.Sent:
					unknown.Add(1)
				}
			}
		})
	}
	for range crashes {
		active, _ := p.Servers()
		before := committed.Load()
		redistest.Eventually(t, 20*time.Second, "transactions to go on", func() bool { return committed.Load() > before+10 })
		active.Kill()
		redistest.Eventually(t, 20*time.Second, "a switch", func() bool { now, _ := p.Servers(); return now != active })
		active.Restart()
		redistest.Eventually(t, 20*time.Second, "both to be usable", func() bool { return p.Usable() })
	}
	stop.Store(true)
	wg.Wait()
	sum := p.Sum(t, "n")
	t.Logf("committed %d, unknown %d, sum %d", committed.Load(), unknown.Load(), sum)
	require.GreaterOrEqual(t, sum, committed.Load(), "a committed transaction is lost")
	require.LessOrEqual(t, sum, committed.Load()+unknown.Load(), "a transaction was applied that was reported as failed")
}

// increment is the classic read-modify-write: a lost lock would lose increments of others.
func increment(rdb *redis.Client, key string) error {
	ctx := context.Background()
	return rdb.Watch(ctx, func(tx *redis.Tx) error {
		n, err := tx.Get(ctx, key).Int64()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		_, err = tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			return pipe.Set(ctx, key, n+1, 0).Err()
		})
		return err
	}, key)
}

// TestSessionsInAStormOfPlannedSwitches: a session goes on where it began however often its database is left and
// returned to meanwhile, also at the very moment of a switch.
func TestSessionsInAStormOfPlannedSwitches(t *testing.T) {
	switches := 20_000
	if testing.Short() {
		switches = 4_000
	}
	p := pair.New(t, func(o *multidb.Options, r *redis.Options) {
		pair.Calm(o, r)
		o.Logger = slog.New(slog.DiscardHandler)
		r.MaintNotificationsConfig = testkit.MaintenanceOff() // see TestPlannedSwitchesKeepSessions
	})
	var stop atomic.Bool
	var wg sync.WaitGroup
	l := load.NewTally()
	for range 4 {
		wg.Go(func() {
			ctx := context.Background()
			for !stop.Load() {
				conn := p.RDB.Conn()
				for range 50 {
					err := conn.Incr(ctx, "n").Err()
					l.Add("n", 1, err)
					if err != nil {
						break
					}
				}
				_ = conn.Close()
			}
		})
	}
	for i := range switches {
		require.NoError(t, p.Hook.ForceActive([]string{"west", "east"}[i%2], 0))
		if i%16 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	stop.Store(true)
	wg.Wait()
	require.Equal(t, errorFree, l.Errs)
	require.Equal(t, l.Count["n"], p.Sum(t, "n"))
}

// TestConnStaysDead: a session whose connection died does not come back to life on another database, where its SELECT
// and its WATCH do not exist.
func TestConnStaysDead(t *testing.T) {
	p := pair.New(t, nil)
	ctx := t.Context()
	conn := p.RDB.Conn()
	defer conn.Close()
	require.NoError(t, conn.Select(ctx, 5).Err())
	require.NoError(t, conn.Set(ctx, "k", 1, 0).Err())
	p.East.Kill()
	redistest.Eventually(t, 20*time.Second, "a switch", func() bool { return p.Hook.Active() == "west" })
	for range 3 {
		require.Error(t, conn.Set(ctx, "k", 2, 0).Err())
	}
	require.Zero(t, p.West.Client().Exists(ctx, "k").Val())
	fresh := p.RDB.Conn()
	defer fresh.Close()
	require.NoError(t, fresh.Set(ctx, "fresh", 1, 0).Err())
	require.EqualValues(t, 1, p.West.Client().Exists(ctx, "fresh").Val(), "in index 0")
}

// TestDeadSessionIsNotSent: the commands after the one that lost the connection of a Conn or a Tx have not been sent,
// whatever became of that one.
func TestDeadSessionIsNotSent(t *testing.T) {
	silence := func(p *faultproxy.Proxy) {
		p.Answer(func(args []string) (string, bool) { return "", faultproxy.Named("INCR")(args) })
	}
	for name, lose := range map[string]func(t *testing.T, p *pair.Proxied, conn *redis.Conn) context.Context{
		"connection dropped": func(t *testing.T, p *pair.Proxied, conn *redis.Conn) context.Context {
			p.ToEast.DropReplies(faultproxy.Named("INCR"))
			require.Error(t, conn.Incr(t.Context(), "n").Err())
			return t.Context()
		},
		"caller's deadline": func(t *testing.T, p *pair.Proxied, conn *redis.Conn) context.Context {
			silence(p.ToEast)
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond) // it must not end before the request is sent
			t.Cleanup(cancel)
			require.Error(t, conn.Incr(ctx, "n").Err())
			return ctx
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := pair.NewProxied(t, func(_ *multidb.Options, r *redis.Options) { r.ContextTimeoutEnabled = true })
			conn := p.RDB.Conn()
			defer conn.Close()
			require.NoError(t, conn.Ping(t.Context()).Err())
			ctx := lose(t, p, conn)
			for range 2 {
				err := conn.Incr(ctx, "n").Err()
				var failed *multidb.CommandError
				require.ErrorAs(t, err, &failed)
				require.False(t, failed.Sent, "%v", err)
				require.Equal(t, "east", failed.Database)
			}
		})
	}
}

// sessionsOn begins n sessions on the active database.
func sessionsOn(t *testing.T, rdb *redis.Client, n int) []*redis.Conn {
	var conns []*redis.Conn
	for range n {
		conn := rdb.Conn()
		t.Cleanup(func() { _ = conn.Close() })
		require.NoError(t, conn.Set(t.Context(), "k", 1, 0).Err())
		conns = append(conns, conn)
	}
	return conns
}

// Events: idle TLS connections; a planned switch; rdb.Watch (or the first command of a Conn). The session takes an old
// idle connection, its first command is refused by the gate, go-redis' sticky pool declares the session dead: the
// caller gets an error in a planned switch, once for every old connection in the pool.
func TestWatchAfterAPlannedSwitchOnTLS(t *testing.T) {
	east, west := redistest.Start(t, redistest.TLS()), redistest.Start(t, redistest.TLS())
	h := pair.Hook(t, multidb.Options{Health: pair.Patient, Databases: []multidb.Database{
		{Name: "east", Options: east.Options()}, {Name: "west", Weight: 0.5, Options: west.Options()},
	}})
	rdb := redis.NewClient(east.Options())
	defer rdb.Close()
	rdb.AddHook(h)
	require.NoError(t, rdb.Ping(t.Context()).Err())
	require.NoError(t, h.SetActive(t.Context(), "west"))
	err := rdb.Watch(t.Context(), func(tx *redis.Tx) error {
		_, err := tx.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
			p.Incr(t.Context(), "n")
			return nil
		})
		return err
	}, "k")
	require.NoError(t, err)
}

// Events: the connection of a Conn dies with a request that was sent; the pipelines after it are not sent at all, and say
// that they were.
func TestPipelineOnADeadSessionIsNotSent(t *testing.T) {
	p := pair.NewProxied(t, func(_ *multidb.Options, r *redis.Options) { r.MaintNotificationsConfig = testkit.MaintenanceOff() })
	ctx := t.Context()
	conn := p.RDB.Conn()
	defer conn.Close()
	require.NoError(t, conn.Ping(ctx).Err())
	p.ToEast.DropReplies(faultproxy.First(1, faultproxy.Named("GET")))
	err := conn.Get(ctx, "k").Err() // may be run again, and cannot
	var failed *multidb.CommandError
	require.ErrorAs(t, err, &failed)
	require.True(t, failed.Sent, "%v", err)
	require.NotContains(t, err.Error(), "not sent", "one error says one thing")
	for name, run := range map[string]func(context.Context, func(redis.Pipeliner) error) ([]redis.Cmder, error){
		"pipeline": conn.Pipelined, "transaction": conn.TxPipelined,
	} {
		cmds, err := run(ctx, func(pipe redis.Pipeliner) error { return pipe.Incr(ctx, "n").Err() })
		require.ErrorAs(t, err, &failed, name)
		require.False(t, failed.Sent, "%s: %v", name, err)
		require.True(t, multidb.SafeToRetry(err), "%s: %v", name, err)
		require.True(t, multidb.SafeToRetry(cmds[0].Err()), "%s: %v", name, cmds[0].Err())
	}
	require.Zero(t, p.Sum(t, "n"))
}

// Events: on a session of a WithTimeout clone the answer to a command is lost, and with it the connection; a pipeline or a
// transaction follows. Exec returned an error and left none on its commands, of which nothing was sent: the question by which
// a batch that breaks off keeps its answers was answered for the error of that earlier command.
func TestBatchOnADeadSessionOfACloneIsNotSent(t *testing.T) {
	p := pair.NewProxied(t, func(o *multidb.Options, r *redis.Options) { o.Health.StallTimeout = time.Minute })
	ctx := t.Context()
	set := func(pipe redis.Pipeliner) error {
		pipe.Set(ctx, "a", 1, 0)
		pipe.Incr(ctx, "b")
		return nil
	}
	for name, client := range map[string]*redis.Client{"clone": p.RDB.WithTimeout(time.Second), "client": p.RDB} {
		for _, before := range []int{1, 3} {
			conn := client.Conn()
			require.NoError(t, conn.Ping(ctx).Err())
			p.DropReplies(faultproxy.Named("GETSET"))
			for range before {
				require.Error(t, conn.GetSet(ctx, "k", 1).Err()) //nolint:staticcheck // the command that SetArgs does not send
			}
			cmds, err := conn.Pipelined(ctx, set)
			require.Error(t, err)
			for _, cmd := range cmds {
				require.Error(t, cmd.Err(), "%s: %v was not executed", name, cmd)
			}
			cmds, err = conn.TxPipelined(ctx, set)
			require.Error(t, err)
			for _, cmd := range cmds {
				require.Error(t, cmd.Err(), "%s: %v was not executed", name, cmd)
			}
			p.DropReplies(nil)
			require.NoError(t, conn.Close())
		}
	}
	require.Zero(t, p.East.Client().Exists(ctx, "a", "b").Val()+p.West.Client().Exists(ctx, "a", "b").Val())
}
