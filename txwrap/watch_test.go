package txwrap

import (
	"context"
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

func increment(ctx context.Context, key string, before func(*Tx) error) func(*Tx) error {
	return func(tx *Tx) error {
		n, err := tx.Get(ctx, key).Int()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		if before != nil {
			if err := before(tx); err != nil {
				return err
			}
		}
		_, err = tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Set(ctx, key, n+1, 0).Err() })
		return err
	}
}

func get(t *testing.T, s *redistest.Redis, key string) string {
	t.Helper()
	v, err := s.Client().Get(t.Context(), key).Result()
	if !errors.Is(err, redis.Nil) {
		require.NoError(t, err)
	}
	return v
}

// TestLostRacesHaveTheirOwnBudget, with the hook and without it.
func TestLostRacesHaveTheirOwnBudget(t *testing.T) {
	p := newPair(t)
	bare := redis.NewClient(p.east.Options())
	defer bare.Close()
	for name, rdb := range map[string]*redis.Client{"hook": p.rdb, "bare": bare} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			var attempts []int
			race := increment(ctx, "n", func(tx *Tx) error {
				attempts = append(attempts, tx.Attempt())
				return p.east.Client().Incr(ctx, "n").Err()
			})
			err := Options{AfterRace: 3, AfterSwitch: -1}.Watch(ctx, rdb, race, "n")
			require.ErrorIs(t, err, redis.TxFailedErr)
			require.Equal(t, []int{1, 2, 3, 4}, attempts)

			attempts = nil
			require.ErrorIs(t, Options{AfterRace: -1}.Watch(ctx, rdb, race, "n"), redis.TxFailedErr)
			require.Equal(t, []int{1}, attempts)

			runs := 0
			require.NoError(t, Watch(ctx, rdb, increment(ctx, "n", func(tx *Tx) error {
				if runs++; tx.Attempt() < 3 {
					return p.east.Client().Incr(ctx, "n").Err()
				}
				return nil
			}), "n"))
			require.Equal(t, 3, runs)
		})
	}
}

// TestUnansweredExecIsNotRunAgain: nor is its error lost if the function hides it.
func TestUnansweredExecIsNotRunAgain(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	mine := errors.New("mine")
	for name, wrap := range map[string]func(error) error{
		"as it is": func(err error) error { return err },
		"hidden":   func(error) error { return mine },
	} {
		t.Run(name, func(t *testing.T) {
			p.drop.replyTo("exec")
			require.NoError(t, p.east.Client().Set(ctx, "n", 0, 0).Err())
			runs := 0
			err := Watch(ctx, p.rdb, func(tx *Tx) error {
				runs++
				if err := increment(ctx, "n", nil)(tx); err != nil {
					return wrap(err)
				}
				return nil
			}, "n")
			require.Equal(t, 1, runs)
			var unanswered *UnansweredError
			require.ErrorAs(t, err, &unanswered)
			require.Equal(t, "east", unanswered.Database)
			var failed *multidb.CommandError
			require.ErrorAs(t, err, &failed)
			require.True(t, failed.Sent)
			require.Equal(t, "east", failed.Database)
			require.False(t, multidb.SafeToRetry(err))
			require.Equal(t, "1", get(t, p.east, "n"), "it was executed")
		})
	}
	t.Run("unless told to", func(t *testing.T) {
		p.drop.replyTo("exec")
		require.NoError(t, p.east.Client().Set(ctx, "n", 0, 0).Err())
		require.NoError(t, Options{RunUnansweredAgain: true}.Watch(ctx, p.rdb, increment(ctx, "n", nil), "n"))
		require.Equal(t, "2", get(t, p.east, "n"), "twice, as told")
	})
	t.Run("TxPipelined", func(t *testing.T) {
		p.drop.replyTo("exec")
		require.NoError(t, p.east.Client().Set(ctx, "n", 0, 0).Err())
		_, err := TxPipelined(ctx, p.rdb, func(pipe *Pipe) error { return pipe.Incr(ctx, "n").Err() })
		var unanswered *UnansweredError
		require.ErrorAs(t, err, &unanswered)
		require.Equal(t, "1", get(t, p.east, "n"))
	})
}

// TestWhatFailsBeforeExec: a read or a WATCH without an answer is harmless, a write outside MULTI is not.
func TestWhatFailsBeforeExec(t *testing.T) {
	for _, c := range []struct {
		name, drop string
		runs       int
	}{{"watch", "watch", 1}, {"read", "get", 2}, {"write", "incr", 1}} {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t)
			ctx := t.Context()
			p.drop.replyTo(c.drop)
			runs := 0
			err := Watch(ctx, p.rdb, func(tx *Tx) error {
				runs++
				return increment(ctx, "n", func(tx *Tx) error { return tx.Incr(ctx, "side").Err() })(tx)
			}, "n")
			require.Equal(t, c.runs, runs)
			require.Equal(t, "1", get(t, p.east, "side"))
			if c.drop == "incr" {
				var failed *multidb.CommandError
				require.ErrorAs(t, err, &failed)
				require.True(t, failed.Sent)
				var unanswered *UnansweredError
				require.False(t, errors.As(err, &unanswered), "EXEC was not sent: %v", err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, "1", get(t, p.east, "n"))
		})
	}
}

// TestTheFunctionsOwnErrorsEndIt: nothing is run again for them, nor for what the function lost elsewhere.
func TestTheFunctionsOwnErrorsEndIt(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	for name, own := range map[string]error{
		"own":       errors.New("not enough money"),
		"elsewhere": &multidb.CommandError{Database: "east", Sent: true, Err: errors.New("of another command")},
	} {
		t.Run(name, func(t *testing.T) {
			runs := 0
			require.Equal(t, own, Watch(ctx, p.rdb, func(*Tx) error { runs++; return own }, "n"))
			require.Equal(t, 1, runs)
		})
	}
	runs := 0
	err := Watch(ctx, p.rdb, func(tx *Tx) error {
		runs++
		require.NoError(t, increment(ctx, "twice", nil)(tx))
		return &multidb.CommandError{Err: errors.New("not sent, but after a commit")}
	}, "twice")
	require.Error(t, err)
	require.Equal(t, 1, runs)
	require.Equal(t, "1", get(t, p.east, "twice"))
}

// TestCancelEndsIt between attempts too.
func TestCancelEndsIt(t *testing.T) {
	p := newPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	runs := 0
	err := Options{AfterRace: 1000}.Watch(ctx, p.rdb, increment(ctx, "n", func(*Tx) error {
		if runs++; runs == 3 {
			cancel()
		}
		return p.east.Client().Incr(context.Background(), "n").Err()
	}), "n")
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 3, runs)
}

// TestNoDatabaseIsToldAtOnce: there is nothing to wait for.
func TestNoDatabaseIsToldAtOnce(t *testing.T) {
	p := newPair(t)
	p.east.Kill()
	p.west.Kill()
	eventually(t, waitFor, "the news", func() bool { return p.hook.Choice().Down })
	runs := 0
	err := Watch(t.Context(), p.rdb, func(*Tx) error { runs++; return nil }, "n")
	require.ErrorIs(t, err, multidb.ErrNoDatabase)
	require.Zero(t, runs)
}

// TestLostConnectionsHaveTheirOwnBudget: it bounds the attempts, and the error is that of the last one.
func TestLostConnectionsHaveTheirOwnBudget(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	for budget, want := range map[int]int{2: 3, -1: 1} {
		runs := 0
		err := Options{AfterSwitch: budget, AfterRace: -1}.Watch(ctx, p.rdb, func(tx *Tx) error {
			runs++
			require.Equal(t, runs, tx.Attempt())
			p.drop.replyTo("get")
			return increment(ctx, "n", nil)(tx)
		}, "n")
		require.Equal(t, want, runs, "%v", err)
		var failed *multidb.CommandError
		require.ErrorAs(t, err, &failed)
		require.Equal(t, "east", failed.Database)
		require.Empty(t, get(t, p.east, "n"))
	}
}

// TestExecThatWasNotSentIsNotUnanswered: it is safe to retry, and is run again if there is a budget for it.
func TestExecThatWasNotSentIsNotUnanswered(t *testing.T) {
	for budget, want := range map[int]int{-1: 1, 1: 2} {
		p := newPair(t)
		ctx := t.Context()
		runs := 0
		err := Options{AfterSwitch: budget}.Watch(ctx, p.rdb, increment(ctx, "n", func(*Tx) error {
			if runs++; runs == 1 {
				p.east.Kill()
				eventually(t, waitFor, "a switch", func() bool { return p.hook.Active() == "west" })
			}
			return nil
		}), "n")
		require.Equal(t, want, runs, "%v", err)
		if budget > 0 {
			require.NoError(t, err)
			require.Equal(t, "1", get(t, p.west, "n"))
			continue
		}
		require.Error(t, err)
		var unanswered *UnansweredError
		require.False(t, errors.As(err, &unanswered), "EXEC was not sent: %v", err)
		require.True(t, multidb.SafeToRetry(err), "%v", err)
		require.Empty(t, get(t, p.west, "n"))
	}
}
