// Package oracle_test compares what the caller of a hooked client gets with what a client without the hook gets from the
// database that gave the last answer: values, errors, and how often the command was executed.
package oracle_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/samples"
	"github.com/redishook/multidb/internal/testkit/testmain"
	"github.com/redishook/multidb/window"
)

func TestMain(m *testing.M) {
	logging.Disable()
	testmain.Run(m)
}

const readTimeout = 5 * time.Second

// side is a hooked client and one without a hook, over the same database.
type side struct {
	name          string
	db            *database
	bare, hooked  *redis.Client
	highestReplay multidb.Replay
}

func newSide(t *testing.T, protocol, retries int) *side {
	s := &side{name: fmt.Sprintf("RESP%d", protocol), db: newDatabase(t), highestReplay: multidb.ReplayLastWins}
	options := func() *redis.Options {
		return &redis.Options{
			Addr: address, Protocol: protocol, MaxRetries: retries, ReadTimeout: readTimeout, PoolSize: 4,
			Dialer: s.db.dial,
		}
	}
	// Both databases are one server: what is compared is the answer of the second attempt, wherever it went.
	hook, err := multidb.New(t.Context(), multidb.Options{
		Databases: []multidb.Database{
			{Name: "east", Options: options()},
			{Name: "west", Weight: 0.5, Options: options()},
		},
		Detectors: []window.Factory{}, // hundreds of failures in a second are what this test is made of
		Retry:     multidb.Retry{MinBackoff: time.Microsecond, MaxBackoff: time.Millisecond},
		Failback:  multidb.Failback{GracePeriod: -1},
		Logger:    slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, hook.Close()) })
	s.bare, s.hooked = redis.NewClient(options()), redis.NewClient(options())
	s.hooked.AddHook(hook)
	t.Cleanup(func() { _ = s.bare.Close(); _ = s.hooked.Close() })
	return s
}

// try runs one case and returns what is wrong, or "".
func (s *side) try(ctx context.Context, args []any, first ending, second answer, way shape) string {
	s.db.script(ending{}, shape{}, second.reply)
	want := way.run(ctx, s.bare, args)
	once := s.db.executions() // more than one where the application itself runs it again, as Script.Run does
	s.db.script(first, way, second.reply)
	got := way.run(ctx, s.hooked, args)
	ran := s.db.executions()
	if want.unreadable() && got.unreadable() {
		// An answer that go-redis cannot read is its own error, and not of the database. It closes the connection and puts that
		// error on the whole batch; the hook keeps what had been answered before. After a lost reply the error says both.
		return ""
	}
	if got.String() == want.String() {
		switch {
		case first.lost && ran != once+1:
			return fmt.Sprintf("the answer of a second run, but executed %d times", ran)
		case !first.lost && ran != once && !first.unsent:
			return fmt.Sprintf("answered, and executed %d times", ran)
		}
		return ""
	}
	// The other right end: it was not run again, and the caller is told how the first attempt ended.
	told := got.String()
	switch {
	case first.lost && ran == 1 && strings.Contains(told, "sent, not answered"):
		return ""
	case first.refusal != "" && ran == 0 && strings.Contains(told, first.refusal):
		return ""
	case first.unsent && way.session && ran == 0 && strings.Contains(told, "not sent"):
		return ""
	}
	return fmt.Sprintf("executed %d times\n got  %v\n want %v", ran, got, want)
}

// TestAnAnswerOfASecondRunReachesTheCaller is the whole table: every kind of command × how its first attempt ends × what
// the second database answers × the way it is run × the protocol.
//
// Events of the fault that it was made for: 1. east refuses SET with READONLY. 2. The hook runs SET again. 3. West answers
// OOM. 4. The hook took the attempt for a success because it had ended with an answer, and the caller got no error.
func TestAnAnswerOfASecondRunReachesTheCaller(t *testing.T) {
	lines := commands(t)
	ways := slices.Concat(shapes, layers, typedShapes())
	for _, retries := range []int{-1, 0} { // the client's own: none, and the default
		for _, protocol := range []int{2, 3} {
			t.Run(fmt.Sprintf("RESP%d/MaxRetries %d", protocol, retries), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { tryAll(t, lines, ways, protocol, retries) })
			})
		}
	}
}

// tryAll runs the table over one client. In virtual time, because a command that is refused waits for the verdict on its
// database, and verdicts keep a distance.
func tryAll(t *testing.T, lines [][]any, shapes []shape, protocol, retries int) {
	s := newSide(t, protocol, retries)
	// Each case is run in some of the ways, in turn: here or, if time is short, on one of the four sides.
	cases, again, turn, number, times := 0, 0, 2*protocol+retries, 2*(protocol-2)-retries, 4
	if testing.Short() {
		times = 1
	}
	for _, args := range lines {
		turn++
		for _, first := range endings {
			for _, second := range answers {
				if number++; testing.Short() && number%4 != 0 {
					continue
				}
				for range times {
					turn++
					way := shapes[turn%len(shapes)]
					if problem := s.try(t.Context(), args, first, second, way); problem != "" {
						t.Errorf("%v, first %s, then %s, %s: %s", args, first.name, second.name, way.name, problem)
					}
					cases++
					if s.db.executions() > 0 {
						again++
					}
				}
			}
		}
		require.False(t, t.Failed(), "%v", args)
	}
	t.Logf("%d cases, %d of them answered in the end", cases, again)
	require.Greater(t, again, cases/2, "most cases must get as far as a second answer")
}

// commands are the samples of all rungs, without those that block or belong to a connection.
func commands(t *testing.T) [][]any {
	var lines [][]any
	for _, list := range []string{samples.Read, samples.Checked, samples.LastWins, samples.Accumulating} {
		for _, sample := range samples.Of(list) {
			var args []any
			for _, word := range strings.Fields(sample.Line) {
				args = append(args, word)
			}
			switch name := strings.ToLower(args[0].(string)); {
			case name == "client" && len(args) > 1: // answered by the server of this test itself
			default:
				lines = append(lines, args)
			}
		}
	}
	require.Greater(t, len(lines), 100)
	return lines
}
