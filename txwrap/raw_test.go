package txwrap

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
)

// rawTransactions increment n in a MULTI … EXEC that the function spells out, in each way there is.
var rawTransactions = map[string]func(ctx context.Context, tx *Tx) error{
	"Do":        rawDo("multi", "exec"),
	"Do, upper": rawDo("MULTI", "Exec"),
	"Do, bytes": rawDo([]byte("Multi"), []byte("EXEC")),
	"Process": func(ctx context.Context, tx *Tx) error {
		multi, exec := redis.NewStatusCmd(ctx, "multi"), redis.NewCmd(ctx, "exec")
		return errors.Join(tx.Process(ctx, multi), tx.Do(ctx, "incr", "n").Err(), tx.Process(ctx, exec))
	},
	"Pipeline": func(ctx context.Context, tx *Tx) error {
		_, err := tx.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Do(ctx, "MULTI")
			pipe.Do(ctx, "incr", "n")
			pipe.Do(ctx, "exec")
			return nil
		})
		return err
	},
	"Pipeline with more around it": func(ctx context.Context, tx *Tx) error {
		_, err := tx.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Do(ctx, "ping")
			pipe.Do(ctx, "multi")
			pipe.Do(ctx, "incr", "n")
			pipe.Do(ctx, "EXEC")
			pipe.Do(ctx, "ping")
			return nil
		})
		return err
	},
	"both": func(ctx context.Context, tx *Tx) error {
		_, err := tx.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Do(ctx, "multi")
			pipe.Do(ctx, "incr", "n")
			return nil
		})
		return errors.Join(err, tx.Do(ctx, "exec").Err())
	},
}

func rawDo(multi, exec any) func(context.Context, *Tx) error {
	return func(ctx context.Context, tx *Tx) error {
		return errors.Join(tx.Do(ctx, multi).Err(), tx.Do(ctx, "incr", "n").Err(), tx.Do(ctx, exec).Err())
	}
}

// TestARawExecIsAnExec: a MULTI … EXEC sent as commands of their own was no transaction for the package.
//
// Events, in turn: the answer to EXEC is lost; EXEC is answered and the function loses a read; a watched key has changed; the
// connection dies before EXEC.
func TestARawExecIsAnExec(t *testing.T) {
	for name, transact := range rawTransactions {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			ctx := t.Context()
			reset := func(drop string) {
				require.NoError(t, p.east.Client().Set(ctx, "n", 0, 0).Err())
				if drop != "" {
					p.drop.replyTo(drop)
				}
			}
			exec := map[string]string{"Do, upper": "Exec", "Do, bytes": "EXEC", "Pipeline with more around it": "EXEC"}[name]
			if exec == "" {
				exec = "exec"
			}

			reset(exec)
			runs := 0
			err := Watch(ctx, p.rdb, func(tx *Tx) error { runs++; return transact(ctx, tx) }, "n")
			require.Equal(t, 1, runs)
			var unanswered *UnansweredError
			require.ErrorAs(t, err, &unanswered)
			require.Equal(t, "east", unanswered.Database)
			require.False(t, multidb.SafeToRetry(err))
			require.Equal(t, "1", get(t, p.east, "n"))

			reset(exec)
			runs = 0
			require.NoError(t, Options{RunUnansweredAgain: true}.Watch(ctx, p.rdb,
				func(tx *Tx) error { runs++; return transact(ctx, tx) }, "n"))
			require.Equal(t, 2, runs)
			require.Equal(t, "2", get(t, p.east, "n"), "twice, as told")

			reset("")
			runs = 0
			err = Watch(ctx, p.rdb, func(tx *Tx) error {
				runs++
				if err := transact(ctx, tx); err != nil {
					return err
				}
				p.drop.replyTo("get")
				return tx.Get(ctx, "other").Err()
			}, "n")
			require.Error(t, err)
			require.Equal(t, 1, runs, "it was executed")
			require.Equal(t, "1", get(t, p.east, "n"))

			reset("")
			runs = 0
			err = Options{AfterRace: 2}.Watch(ctx, p.rdb, func(tx *Tx) error {
				runs++
				require.NoError(t, p.east.Client().Set(ctx, "n", 7, 0).Err())
				return transact(ctx, tx)
			}, "n")
			require.ErrorIs(t, err, redis.TxFailedErr)
			require.Equal(t, 3, runs)
			require.Equal(t, "7", get(t, p.east, "n"))

			if !strings.HasPrefix(name, "Do") && name != "Process" {
				return // nothing before EXEC, or nobody knows whether MULTI was accepted
			}
			reset("incr")
			runs = 0
			require.NoError(t, Watch(ctx, p.rdb, func(tx *Tx) error { runs++; return transact(ctx, tx) }, "n"))
			require.Equal(t, 2, runs, "it was at most queued")
			require.Equal(t, "1", get(t, p.east, "n"))
		})
	}
}

// Events: a read loses its answer, the function ignores that, and sends its transaction to the dead session, where it is not
// sent. It was taken for executed, because go-redis had left its commands without an error, and not run again.
func TestTransactionOnADeadSessionIsNotExecuted(t *testing.T) {
	for _, rdb := range []string{"client", "clone"} {
		for name, transact := range rawTransactions {
			t.Run(rdb+"/"+name, func(t *testing.T) {
				p := newPair(t)
				ctx := t.Context()
				client := map[string]redis.UniversalClient{"client": p.rdb, "clone": unhooked(p)["clone"]}[rdb]
				p.drop.replyTo("get")
				runs := 0
				require.NoError(t, Watch(ctx, client, func(tx *Tx) error {
					runs++
					_ = tx.Get(ctx, "other").Err()
					return transact(ctx, tx)
				}, "n"))
				require.Equal(t, 2, runs)
				require.Equal(t, "1", get(t, p.east, "n"))
			})
		}
	}
}

// Events: the login of a new connection is refused, and the first request on it is a transaction in a pipeline. go-redis leaves
// its commands without an error, so the EXEC that was never sent was taken for executed.
func TestRefusedLoginIsNoExec(t *testing.T) {
	ctx := t.Context()
	cmds := []redis.Cmder{redis.NewCmd(ctx, "multi"), redis.NewCmd(ctx, "incr", "n"), redis.NewCmd(ctx, "exec")}
	refused := fmt.Errorf("failed to authenticate: %w", &multidb.CommandError{Err: quoted("WRONGPASS")})
	w := &recorder{}
	err := w.ProcessPipelineHook(func(context.Context, []redis.Cmder) error { return refused })(ctx, cmds)
	require.ErrorIs(t, err, refused)
	require.False(t, w.committed)
	require.False(t, w.queuing)
	require.True(t, w.harmless(err))
}
