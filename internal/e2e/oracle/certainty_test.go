package oracle_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/memnet"
	"github.com/redishook/multidb/internal/testkit/scripted"
	"github.com/redishook/multidb/window"
)

// What an error says about the execution: SafeToRetry may hold only if nothing was written.

// once is a client with the hook over one scripted database, where nothing is run again.
func once(t *testing.T, protocol int, answer scripted.Answer, opt multidb.Options, change ...func(*redis.Options)) *redis.Client {
	var network memnet.Network
	ln, err := network.Listen(address)
	require.NoError(t, err)
	scripted.Serve(t, ln, answer)
	options := func() *redis.Options {
		return &redis.Options{
			Addr: address, Protocol: protocol, MaxRetries: -1, ReadTimeout: readTimeout, PoolSize: 4, Dialer: network.Dial,
		}
	}
	opt.Databases = []multidb.Database{{Name: "east", Options: options()}, {Name: "west", Weight: 0.5, Options: options()}}
	opt.Detectors = []window.Factory{}
	opt.Logger = slog.New(slog.DiscardHandler)
	opt.Failback = multidb.Failback{GracePeriod: -1}
	hook, err := multidb.New(t.Context(), opt)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, hook.Close()) })
	client := options()
	for _, f := range change {
		f(client)
	}
	rdb := redis.NewClient(client)
	rdb.AddHook(hook)
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// use is a way to run commands that gives back the error of the whole, if there is one, and keeps those of the commands.
type use struct {
	name string
	run  func(ctx context.Context, rdb *redis.Client, queue func(redis.Pipeliner)) error
}

func uses(t *testing.T) []use {
	auto := func(opt *redis.AutoPipelineOptions) func(context.Context, *redis.Client, func(redis.Pipeliner)) error {
		return func(ctx context.Context, rdb *redis.Client, queue func(redis.Pipeliner)) error {
			ap, err := rdb.AutoPipelineWithOptions(opt)
			require.NoError(t, err)
			defer ap.Close()
			_, err = ap.Pipelined(ctx, func(p redis.Pipeliner) error { queue(p); return nil })
			return err
		}
	}
	return []use{
		{"Pipeline", func(ctx context.Context, rdb *redis.Client, queue func(redis.Pipeliner)) error {
			_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error { queue(p); return nil })
			return err
		}},
		{"TxPipeline", func(ctx context.Context, rdb *redis.Client, queue func(redis.Pipeliner)) error {
			_, err := rdb.TxPipelined(ctx, func(p redis.Pipeliner) error { queue(p); return nil })
			return err
		}},
		{"Pipeline in Watch", func(ctx context.Context, rdb *redis.Client, queue func(redis.Pipeliner)) error {
			return rdb.Watch(ctx, func(tx *redis.Tx) error {
				_, err := tx.Pipelined(ctx, func(p redis.Pipeliner) error { queue(p); return nil })
				return err
			})
		}},
		{"TxPipeline in Watch", func(ctx context.Context, rdb *redis.Client, queue func(redis.Pipeliner)) error {
			return rdb.Watch(ctx, func(tx *redis.Tx) error {
				_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error { queue(p); return nil })
				return err
			})
		}},
		{"Pipeline on a Conn", func(ctx context.Context, rdb *redis.Client, queue func(redis.Pipeliner)) error {
			conn := rdb.Conn()
			defer conn.Close()
			_, err := conn.Pipelined(ctx, func(p redis.Pipeliner) error { queue(p); return nil })
			return err
		}},
		{"Pipeline of an autopipeliner", auto(redis.DefaultBlockingAutoPipelineOptions())},
		{"Pipeline of a full-duplex autopipeliner", auto(&redis.AutoPipelineOptions{FullDuplex: true})},
	}
}

// transactions answers MULTI and EXEC around what answer says of each command; hangup inside EXEC ends the connection.
func transactions(answer scripted.Answer) scripted.Answer {
	queued := map[uint64][]scripted.Request{} // one connection at a time
	return func(r scripted.Request) string {
		inside, open := queued[r.Conn]
		switch {
		case r.Name == "multi":
			queued[r.Conn] = []scripted.Request{}
			return scripted.OK
		case r.Name == "exec":
			delete(queued, r.Conn)
			var replies []string
			for _, q := range inside {
				reply := answer(q)
				if reply == scripted.Hangup {
					return scripted.Hangup
				}
				replies = append(replies, reply)
			}
			return scripted.Array(replies...)
		case open:
			queued[r.Conn] = append(inside, r)
			return scripted.Queued
		}
		return answer(r)
	}
}

// TestExecTellsTheWorst: the first command of a batch has an answer that looks harmless, and a later one was executed. Events:
// 1. GET is answered LOADING. 2. INCR is executed, and its reply is lost, or comes. 3. The error of Exec is the first one of a
// command: LOADING, after which a caller ran all of it again, and INCR ran twice.
func TestExecTellsTheWorst(t *testing.T) {
	const kind = "WRONGTYPE Operation against a key holding the wrong kind of value"
	for _, first := range []string{"LOADING Redis is loading the dataset in memory", "TRYAGAIN Multiple keys request during rehashing of slot",
		"READONLY You can't write against a read only replica.", kind} {
		for _, lost := range []bool{true, false} {
			for _, way := range uses(t) {
				t.Run(fmt.Sprintf("%s/lost %v/%s", strings.Fields(first)[0], lost, way.name), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						var ran atomic.Int64
						rdb := once(t, 3, transactions(func(r scripted.Request) string {
							if r.Name == "get" {
								return scripted.Error(first)
							}
							ran.Add(1)
							if lost {
								return scripted.Hangup
							}
							return scripted.Int(1)
						}), multidb.Options{})
						var get *redis.StringCmd
						var incr *redis.IntCmd
						err := way.run(t.Context(), rdb, func(p redis.Pipeliner) { get, incr = p.Get(t.Context(), "k"), p.Incr(t.Context(), "n") })
						require.EqualValues(t, 1, ran.Load(), "executions")
						require.Error(t, err)
						require.False(t, multidb.SafeToRetry(err), "INCR was executed, and Exec says %v", err)
						var failed *multidb.CommandError
						require.Equal(t, lost, errors.As(err, &failed) && failed.Sent, "%v", err)
						if !lost {
							require.NoError(t, incr.Err())
							require.EqualValues(t, 1, incr.Val())
							require.EqualError(t, err, first)
						} else {
							require.False(t, multidb.SafeToRetry(incr.Err()), "%v", incr.Err())
							require.True(t, errors.As(incr.Err(), &failed) && failed.Sent, "%v", incr.Err())
						}
						if lost && strings.HasPrefix(way.name, "TxPipeline") {
							require.Error(t, get.Err()) // the answer to EXEC is one, and it was lost
							return
						}
						require.EqualError(t, get.Err(), first, "each command keeps its own")
						require.Equal(t, first != kind, multidb.SafeToRetry(get.Err()))
					})
				})
			}
		}
	}
}

// TestExecIsSafeToRetryWhereNothingWasWritten: a batch that was refused as a whole, or in which the rest only reads.
func TestExecIsSafeToRetryWhereNothingWasWritten(t *testing.T) {
	const loading = "LOADING Redis is loading the dataset in memory"
	for name, answer := range map[string]scripted.Answer{
		"all refused": func(scripted.Request) string { return scripted.Error(loading) },
		"the rest reads": func(r scripted.Request) string {
			if r.Name == "get" {
				return scripted.Bulk("v")
			}
			return scripted.Error(loading)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rdb := once(t, 3, answer, multidb.Options{Retry: multidb.Retry{MaxAttempts: -1}})
				_, err := rdb.Pipelined(t.Context(), func(p redis.Pipeliner) error {
					p.Incr(t.Context(), "n")
					p.Get(t.Context(), "k")
					return nil
				})
				require.EqualError(t, err, loading)
				require.True(t, multidb.SafeToRetry(err), "%v", err)
			})
		})
	}
}

// TestCodeOfUsersIsNotSafeToRetry: a script, a function and an unknown command may have written before they answer as a database
// does that cannot serve. What the server answers before it runs them is safe, and so is every answer to a plain command.
func TestCodeOfUsersIsNotSafeToRetry(t *testing.T) {
	code := [][]any{
		{"eval", "return 1", 1, "k"}, {"evalsha", "abc", 1, "k"}, {"fcall", "f", 1, "k"}, {"vendor.write", "k"},
	}
	type is func(error) bool
	replies := []struct {
		text      string
		is        is
		certainly bool // not executed, whatever the command is
	}{
		{"TRYAGAIN Multiple keys request during rehashing of slot", redis.IsTryAgainError, false},
		{"READONLY You can't write against a read only replica.", redis.IsReadOnlyError, false},
		{"NOREPLICAS Not enough good replicas to write.", redis.IsNoReplicasError, false},
		{"LOADING Redis is loading the dataset in memory", redis.IsLoadingError, true},
	}
	for _, reply := range replies {
		for _, args := range append(code, []any{"incr", "k"}) {
			t.Run(fmt.Sprintf("%s/%v", strings.Fields(reply.text)[0], args[0]), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					rdb := once(t, 3, transactions(func(scripted.Request) string { return scripted.Error(reply.text) }),
						multidb.Options{Retry: multidb.Retry{MaxAttempts: -1}})
					want := reply.certainly || args[0] == "incr"
					check := func(where string, err error) {
						require.EqualError(t, err, reply.text, where)
						require.True(t, reply.is(err), "%s: %T", where, err)
						_, ok := err.(redis.Error) // what old code asks
						require.True(t, ok, "%s: %T", where, err)
						require.True(t, redis.HasErrorPrefix(err, strings.Fields(reply.text)[0]), where)
						require.Equal(t, want, multidb.SafeToRetry(err), "%s: %v", where, err)
						require.Equal(t, want, multidb.SafeToRetry(fmt.Errorf("mine: %w", err)), "%s, wrapped: %v", where, err)
					}
					check("single", rdb.Do(t.Context(), args...).Err())
					for _, way := range uses(t) {
						var cmd *redis.Cmd
						err := way.run(t.Context(), rdb, func(p redis.Pipeliner) { cmd = p.Do(t.Context(), args...) })
						check(way.name, cmd.Err())
						if !strings.HasPrefix(way.name, "TxPipeline") {
							check(way.name+", Exec", err)
						}
					}
				})
			})
		}
	}
}

// TestScriptsRefusedInTheQueueAreSafe: EXECABORT proves that no code ran.
func TestScriptsRefusedInTheQueueAreSafe(t *testing.T) {
	const readonly = "READONLY You can't write against a read only replica."
	synctest.Test(t, func(t *testing.T) {
		rdb := once(t, 3, func(r scripted.Request) string {
			switch r.Name {
			case "multi":
				return scripted.OK
			case "exec":
				return scripted.Error("EXECABORT Transaction discarded because of previous errors.")
			}
			return scripted.Error(readonly)
		}, multidb.Options{})
		var cmd *redis.Cmd
		_, _ = rdb.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
			cmd = p.Eval(t.Context(), "return 1", []string{"k"})
			return nil
		})
		require.EqualError(t, cmd.Err(), readonly)
		require.True(t, multidb.SafeToRetry(cmd.Err()))
	})
}

// TestAnAttemptThatMayHaveRunIsNotForgotten: 1. EVAL is answered READONLY in the middle of its code. 2. Its rung allows a second
// run, which is refused unread. 3. The last error alone looks safe.
func TestAnAttemptThatMayHaveRunIsNotForgotten(t *testing.T) {
	for _, first := range []string{scripted.Error("READONLY You can't write against a read only replica. script: abc"), scripted.Hangup} {
		for _, batch := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				var runs atomic.Int64
				rdb := once(t, 3, func(scripted.Request) string {
					if runs.Add(1) == 1 {
						return first
					}
					return scripted.Error("LOADING Redis is loading the dataset in memory")
				}, multidb.Options{Replay: multidb.ReplayAccumulating, Retry: multidb.Retry{MaxAttempts: 2}})
				var cmd *redis.Cmd
				if batch {
					_, _ = rdb.Pipelined(t.Context(), func(p redis.Pipeliner) error {
						cmd = p.Eval(t.Context(), "return 1", []string{"k"})
						return nil
					})
				} else {
					cmd = rdb.Eval(t.Context(), "return 1", []string{"k"})
				}
				if first == scripted.Hangup || !batch { // a batch leaves a command alone that was refused in the middle of its code
					require.EqualValues(t, 2, runs.Load(), "%q, batch %v: %v", first, batch, cmd.Err())
					require.ErrorContains(t, cmd.Err(), "LOADING")
				}
				require.False(t, multidb.SafeToRetry(cmd.Err()), "batch %v: %v", batch, cmd.Err())
			})
		}
	}
}
