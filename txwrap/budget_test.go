package txwrap

import (
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// script is what happens in each attempt of a transaction, between its read and its EXEC.
type script struct {
	p         *pair
	steps     []string // "race", "crash", "lose EXEC", "": the last one holds for all further attempts
	attempts  []int
	databases []string
	sum       *redis.IntCmd // of the last attempt
}

func (s *script) fn(t *testing.T) func(*Tx) error {
	ctx := t.Context()
	servers := map[string]*redistest.Redis{"east": s.p.east, "west": s.p.west}
	return func(tx *Tx) error {
		s.attempts, s.databases = append(s.attempts, tx.Attempt()), append(s.databases, tx.Database())
		if err := tx.Get(ctx, "n").Err(); err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		active := servers[tx.Database()]
		switch s.steps[min(tx.Attempt(), len(s.steps))-1] {
		case "race":
			require.NoError(t, active.Client().Incr(ctx, "n").Err())
		case "crash":
			active.Kill()
			eventually(t, waitFor, "a switch", func() bool { return s.p.hook.Active() != tx.Database() })
			active.Restart()
			eventually(t, waitFor, "both to be usable", func() bool {
				for _, db := range s.p.hook.Stats().Databases {
					if db.Breaker != multidb.BreakerClosed {
						return false
					}
				}
				return true
			})
		case "lose EXEC":
			s.p.drop.replyTo("exec")
		}
		_, err := tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			s.sum = pipe.IncrBy(ctx, "sum", int64(tx.Attempt()))
			return nil
		})
		return err
	}
}

// TestBudgetsAcrossSwitches: on two servers, of which the active one crashes in the middle of transactions. Attempts after a
// switch and attempts after a lost race have budgets of their own, the function is told its attempt and database, and what
// counts is the last attempt.
func TestBudgetsAcrossSwitches(t *testing.T) {
	run := func(t *testing.T, opt Options, steps ...string) (*script, error) {
		s := &script{p: newPair(t, redistest.Persist()), steps: steps}
		err := opt.Watch(t.Context(), s.p.rdb, s.fn(t), "n")
		for i, attempt := range s.attempts {
			require.Equal(t, i+1, attempt)
		}
		return s, err
	}
	total := func(t *testing.T, s *script) (east, west string) {
		return get(t, s.p.east, "sum"), get(t, s.p.west, "sum")
	}
	t.Run("each pays for its own", func(t *testing.T) {
		s, err := run(t, Options{AfterSwitch: 2, AfterRace: 2}, "race", "crash", "race", "crash", "")
		require.NoError(t, err)
		require.Equal(t, []string{"east", "east", "west", "west", "east"}, s.databases)
		require.EqualValues(t, 5, s.sum.Val(), "of the last attempt, and nothing of those before it")
		east, west := total(t, s)
		require.Equal(t, "5", east)
		require.Empty(t, west)
	})
	t.Run("races spent", func(t *testing.T) {
		s, err := run(t, Options{AfterSwitch: 8, AfterRace: 1}, "race", "crash", "race")
		require.ErrorIs(t, err, redis.TxFailedErr)
		require.Equal(t, []string{"east", "east", "west"}, s.databases)
		var unanswered *UnansweredError
		require.False(t, errors.As(err, &unanswered))
		east, west := total(t, s)
		require.Empty(t, east+west)
	})
	t.Run("switches spent", func(t *testing.T) {
		s, err := run(t, Options{AfterSwitch: 1, AfterRace: 8}, "crash", "race", "crash")
		require.Equal(t, []string{"east", "west", "west"}, s.databases)
		var failed *multidb.CommandError
		require.ErrorAs(t, err, &failed)
		require.Equal(t, "west", failed.Database, "of the last attempt")
		require.False(t, errors.Is(err, redis.TxFailedErr), "nor anything of the one before: %v", err)
		require.True(t, multidb.SafeToRetry(err), "%v", err)
		east, west := total(t, s)
		require.Empty(t, east+west)
	})
	t.Run("EXEC without an answer after a switch", func(t *testing.T) {
		s, err := run(t, Options{}, "crash", "crash", "lose EXEC")
		require.Equal(t, []string{"east", "west", "east"}, s.databases)
		var unanswered *UnansweredError
		require.ErrorAs(t, err, &unanswered)
		require.Equal(t, "east", unanswered.Database)
		require.Equal(t, 3, unanswered.Attempt)
		require.False(t, multidb.SafeToRetry(err))
		east, west := total(t, s)
		require.Equal(t, "3", east, "it was executed, once")
		require.Empty(t, west)
	})
}
