package txwrap

import (
	"context"
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
)

// TestExecWithoutASuccessIsACommit: a transaction was applied twice if no command of it had succeeded.
//
// Events: EXEC is answered, its only command with nil or with an error, though it has written; the function goes on and
// loses the reply to a read.
func TestExecWithoutASuccessIsACommit(t *testing.T) {
	for name, write := range map[string]func(context.Context, redis.Pipeliner){
		"nil": func(ctx context.Context, pipe redis.Pipeliner) { pipe.Do(ctx, "set", "n", 1, "get") },
		"an error": func(ctx context.Context, pipe redis.Pipeliner) {
			pipe.Eval(ctx, "redis.call('incr', KEYS[1]); return redis.error_reply('LIMIT')", []string{"n"})
		},
		"an error like that of EXEC": func(ctx context.Context, pipe redis.Pipeliner) {
			pipe.Eval(ctx, "redis.call('incr', KEYS[1]); return redis.error_reply('EXECABORT mine')", []string{"n"})
		},
		"an error first": func(ctx context.Context, pipe redis.Pipeliner) {
			pipe.Do(ctx, "incr", "no-number")
			pipe.Incr(ctx, "n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			ctx := t.Context()
			require.NoError(t, p.east.Client().Set(ctx, "no-number", "x", 0).Err())
			runs := 0
			err := Watch(ctx, p.rdb, func(tx *Tx) error {
				runs++
				_, err := tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
					write(ctx, pipe)
					return nil
				})
				require.Error(t, err)
				require.False(t, errors.Is(err, redis.TxFailedErr))
				if runs == 1 {
					p.drop.replyTo("get")
				}
				return tx.Get(ctx, "n").Err()
			}, "n")
			require.Error(t, err)
			require.Equal(t, 1, runs)
			require.Equal(t, "1", get(t, p.east, "n"))
		})
	}
}

// TestAnEarlierUnansweredExecIsTold: with RunUnansweredAgain, the failure of a later attempt hid that an earlier
// one may have been executed, and was safe to retry.
//
// Events: the reply to the first EXEC is lost; the second attempt cannot be sent, or loses the race against the first.
func TestAnEarlierUnansweredExecIsTold(t *testing.T) {
	check := func(t *testing.T, err error, runs int) {
		t.Helper()
		require.Equal(t, 2, runs)
		var unanswered *UnansweredError
		require.ErrorAs(t, err, &unanswered)
		require.Equal(t, 1, unanswered.Attempt)
		require.Equal(t, "east", unanswered.Database)
		require.False(t, multidb.SafeToRetry(err), "%v", err)
	}
	t.Run("not sent", func(t *testing.T) {
		p := newPair(t)
		ctx := t.Context()
		p.drop.replyTo("exec")
		runs := 0
		err := Options{RunUnansweredAgain: true}.Watch(ctx, p.rdb, increment(ctx, "n", func(*Tx) error {
			if runs++; runs == 2 {
				p.east.Kill()
				p.west.Kill()
				eventually(t, waitFor, "the news", func() bool { return p.hook.Choice().Down })
			}
			return nil
		}), "n")
		check(t, err, runs)
		require.ErrorIs(t, err, multidb.ErrNoDatabase)
	})
	t.Run("a lost race", func(t *testing.T) {
		p := newPair(t)
		ctx := t.Context()
		p.drop.replyTo("exec")
		runs := 0
		err := Options{RunUnansweredAgain: true, AfterRace: -1}.Watch(ctx, p.rdb, increment(ctx, "n", func(*Tx) error {
			if runs++; runs == 2 {
				return p.east.Client().Incr(ctx, "n").Err()
			}
			return nil
		}), "n")
		check(t, err, runs)
		require.ErrorIs(t, err, redis.TxFailedErr)
	})
	t.Run("an error of the function", func(t *testing.T) {
		p := newPair(t)
		ctx := t.Context()
		p.drop.replyTo("exec")
		runs := 0
		mine := errors.New("mine")
		err := Options{RunUnansweredAgain: true}.Watch(ctx, p.rdb, increment(ctx, "n", func(*Tx) error {
			if runs++; runs == 2 {
				return mine
			}
			return nil
		}), "n")
		check(t, err, runs)
		require.ErrorIs(t, err, mine)
	})
}

// TestADeadSessionSendsNoExec: an EXEC that was not sent was reported as unanswered.
//
// Events: the connection dies with a read, or with a write outside MULTI, the function ignores that and goes on to EXEC.
func TestADeadSessionSendsNoExec(t *testing.T) {
	t.Run("after a read", func(t *testing.T) {
		p := newPair(t)
		ctx := t.Context()
		p.drop.replyTo("get")
		runs := 0
		require.NoError(t, Watch(ctx, p.rdb, func(tx *Tx) error {
			runs++
			n, _ := tx.Get(ctx, "n").Int()
			_ = tx.Incr(ctx, "side").Err() // not sent on the dead session either, so no reason to stop
			_, err := tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Set(ctx, "n", n+1, 0).Err() })
			return err
		}, "n"))
		require.Equal(t, 2, runs)
		require.Equal(t, "1", get(t, p.east, "n"))
		require.Equal(t, "1", get(t, p.east, "side"))
	})
	t.Run("after a write", func(t *testing.T) {
		p := newPair(t)
		ctx := t.Context()
		p.drop.replyTo("incr")
		runs := 0
		err := Watch(ctx, p.rdb, func(tx *Tx) error {
			runs++
			_ = tx.Incr(ctx, "side").Err()
			_, err := tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Set(ctx, "n", 1, 0).Err() })
			return err
		}, "n")
		require.Equal(t, 1, runs)
		require.Error(t, err)
		var unanswered *UnansweredError
		require.False(t, errors.As(err, &unanswered), "EXEC was not sent: %v", err)
		require.Equal(t, "1", get(t, p.east, "side"))
		// The error said "not sent, safe to retry", of EXEC; whoever believed it ran the write again.
		var failed *multidb.CommandError
		require.ErrorAs(t, err, &failed)
		require.True(t, failed.Sent, "%v", err)
		require.False(t, multidb.SafeToRetry(err), "%v", err)
		require.Empty(t, get(t, p.east, "n"))
	})
}

// TestNoDatabaseIsAwaitedOnce: where EXEC is the first request of a transaction, it was run again for
// ErrNoDatabase, and waited for a database each time.
//
// Events: both databases are down; a transaction without watched keys begins.
func TestNoDatabaseIsAwaitedOnce(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	p.east.Kill()
	p.west.Kill()
	eventually(t, waitFor, "the news", func() bool { return p.hook.Choice().Down })
	runs := 0
	_, err := TxPipelined(ctx, p.rdb, func(pipe *Pipe) error {
		runs++
		return pipe.Incr(ctx, "n").Err()
	})
	require.ErrorIs(t, err, multidb.ErrNoDatabase)
	require.True(t, multidb.SafeToRetry(err))
	require.Equal(t, 1, runs)

	runs = 0
	err = Watch(ctx, p.rdb, func(tx *Tx) error {
		runs++
		_, err := tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Incr(ctx, "n").Err() })
		return err
	})
	require.ErrorIs(t, err, multidb.ErrNoDatabase)
	require.Equal(t, 1, runs)
}

// TestARefusedExecIsRunAgain: a transaction on a database that has become a replica was not run again, and its
// error did not say why.
//
// Events: the active database becomes a replica, so it answers READONLY to the write in MULTI and EXECABORT to EXEC.
func TestARefusedExecIsRunAgain(t *testing.T) {
	for name, run := range map[string]func(context.Context, Options, *pair, func()) error{
		"Watch": func(ctx context.Context, o Options, p *pair, ran func()) error {
			return o.Watch(ctx, p.rdb, increment(ctx, "n", func(*Tx) error { ran(); return nil }), "n")
		},
		"TxPipelined": func(ctx context.Context, o Options, p *pair, ran func()) error {
			_, err := o.TxPipelined(ctx, p.rdb, func(pipe *Pipe) error {
				ran()
				pipe.Exists(ctx, "n")
				return pipe.Incr(ctx, "n").Err()
			})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			ctx := t.Context()
			require.NoError(t, p.rdb.Ping(ctx).Err())
			require.NoError(t, p.east.Client().ReplicaOf(ctx, "127.0.0.1", "1").Err())

			runs := 0
			err := run(ctx, Options{AfterSwitch: 1}, p, func() { runs++ })
			require.Equal(t, 2, runs, "%v", err)
			require.True(t, redis.IsReadOnlyError(err), "%v", err)
			require.ErrorContains(t, err, "READONLY")
			require.True(t, multidb.SafeToRetry(err))

			runs = 0
			require.NoError(t, run(ctx, Options{AfterSwitch: 1}, p, func() {
				if runs++; runs == 2 {
					require.NoError(t, p.east.Client().ReplicaOf(ctx, "no", "one").Err())
				}
			}))
			require.Equal(t, 2, runs)
			require.Equal(t, "1", get(t, p.east, "n"))
		})
	}
}

// TestAMistakeInACommandIsNotRefused: EXECABORT for another reason ends the attempts.
//
// Events: a command with a wrong number of arguments is not queued.
func TestAMistakeInACommandIsNotRefused(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	runs := 0
	_, err := TxPipelined(ctx, p.rdb, func(pipe *Pipe) error {
		runs++
		pipe.Do(ctx, "set", "n")
		return pipe.Incr(ctx, "n").Err()
	})
	require.ErrorContains(t, err, "EXECABORT")
	require.Equal(t, 1, runs)
}

// TestTheReasonIsInTheAnswerToExec: see refusalOf.
//
// Events: the commands are queued; then the database becomes a replica, or runs out of memory, and refuses EXEC itself.
func TestTheReasonIsInTheAnswerToExec(t *testing.T) {
	refuse := func(text string) *execRefused {
		ctx := context.Background()
		cmds := []redis.Cmder{redis.NewStatusCmd(ctx, "multi"), redis.NewCmd(ctx, "incr", "n"), redis.NewSliceCmd(ctx, "exec")}
		for _, cmd := range cmds {
			cmd.SetErr(quoted(text))
		}
		return execRefusedOf(cmds[1:2], cmds[2].Err())
	}
	const why = "EXECABORT Transaction discarded because of: "
	r := refuse(why + "READONLY You can't write against a read only replica.")
	require.NotNil(t, r)
	err := r.explain(r.abort)
	require.True(t, redis.IsReadOnlyError(err))
	require.True(t, multidb.SafeToRetry(err))
	require.Nil(t, refuse(why+"OOM command not allowed when used memory > 'maxmemory'."))
}
