package multidbtest_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/testmain"
	"github.com/redishook/multidb/multidbtest"
)

func TestMain(m *testing.M) {
	logging.Disable() // a line for each dial that is refused
	testmain.Run(m)
}

// What the package documentation says to paste.
func TestIncrDuringACrash(t *testing.T) {
	pair := multidbtest.NewPair(t)
	pair.East.DieAfter("INCR") // it executes the next INCR and is gone before it answers
	_, err := pair.Client.Incr(t.Context(), "orders").Result()
	require.False(t, multidb.SafeToRetry(err), "nobody may run it again: east has executed it")
	require.Equal(t, "1", pair.East.Get("orders"))

	var failed *multidb.CommandError
	require.ErrorAs(t, err, &failed)
	require.True(t, failed.Sent)
	require.NoError(t, pair.Client.Incr(t.Context(), "orders").Err(), "the next one finds west")
	require.Equal(t, "1", pair.West.Get("orders"))
	require.Equal(t, 1, pair.East.Executed("incr"))
	require.Equal(t, 1, pair.West.Executed("incr"))
}

func TestTheDocumentationIsTheTest(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	test, err := os.ReadFile("multidbtest_test.go")
	require.NoError(t, err)
	_, shown, found := strings.Cut(string(doc), "//	func TestIncrDuringACrash")
	require.True(t, found)
	shown, _, _ = strings.Cut(shown, "\n//\t}")
	require.Equal(t, 6, strings.Count(shown, "\n")+1, "five lines and the head")
	require.Contains(t, string(test), "func TestIncrDuringACrash"+strings.ReplaceAll(shown, "\n//\t", "\n")+"\n")
}

// faults are all faults that make the hook leave east, under GET and SET.
var faults = map[string]func(east *multidbtest.Database){
	"Kill":         func(east *multidbtest.Database) { east.Kill() },
	"DieAfter":     func(east *multidbtest.Database) { east.DieAfter() },
	"Hang":         func(east *multidbtest.Database) { east.Hang() },
	"LOADING":      func(east *multidbtest.Database) { east.Refuse("LOADING Redis is loading the dataset in memory") },
	"READONLY":     func(east *multidbtest.Database) { east.Refuse("READONLY You can't write against a read only replica.") },
	"MISCONF, SET": func(east *multidbtest.Database) { east.Refuse("-MISCONF Errors writing to the AOF file\r\n", "SET") },
}

// Each fault is left, in memory and in virtual time, and over TCP; and mended, east is returned to.
func TestFaultsAreLeftAndMended(t *testing.T) {
	run := func(t *testing.T, breakIt func(*multidbtest.Database), tcp bool) {
		pair := multidbtest.New(t, multidbtest.Config{
			TCP:     tcp,
			Options: multidb.Options{Failback: multidb.Failback{GracePeriod: 100 * time.Millisecond, Jitter: -1}},
		})
		require.Equal(t, "east", pair.Hook.Active())
		work := func() error {
			return errors.Join(pair.Client.Set(t.Context(), "k", "v", 0).Err(), pair.Client.Get(t.Context(), "k").Err())
		}
		require.NoError(t, work())
		require.Equal(t, "v", pair.East.Get("k"))

		breakIt(pair.East)
		for pair.Hook.Active() == "east" {
			require.NoError(t, work(), "nobody notices")
			time.Sleep(time.Millisecond)
		}
		pair.AwaitActive(t, "west")
		require.NoError(t, work())
		require.Equal(t, "v", pair.West.Get("k"))
		require.Equal(t, "west", pair.Switches()[0].To)

		pair.East.Restore()
		pair.AwaitActive(t, "east")
		require.NoError(t, work())
	}
	for name, breakIt := range faults {
		t.Run(name+" in a bubble", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { run(t, breakIt, false) })
		})
	}
	t.Run("Kill over TCP", func(t *testing.T) { run(t, faults["Kill"], true) })
	t.Run("Hang over TCP", func(t *testing.T) { run(t, faults["Hang"], true) })
}

// direct is a client of east alone: what a fault looks like without the hook.
func direct(t *testing.T, pair *multidbtest.Pair) *redis.Client {
	t.Helper()
	opt := pair.East.Options()
	opt.MaxRetries, opt.DialerRetries = -1, 1
	rdb := redis.NewClient(opt)
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

func TestRefusedCommands(t *testing.T) {
	pair := multidbtest.NewPair(t)
	rdb := direct(t, pair)
	ctx := t.Context()
	require.NoError(t, rdb.Set(ctx, "k", 1, 0).Err())

	const readonly = "READONLY You can't write against a read only replica."
	pair.East.Refuse(readonly)
	require.EqualError(t, rdb.Set(ctx, "k", 2, 0).Err(), readonly)
	require.Equal(t, "1", rdb.Get(ctx, "k").Val(), "reads pass")
	require.NoError(t, rdb.Ping(ctx).Err())
	require.ErrorContains(t, rdb.Eval(ctx, "return redis.call('SET', KEYS[1], 2)", []string{"k"}).Err(), "READONLY")
	require.Equal(t, int64(7), rdb.Eval(ctx, "return 7", nil).Val(), "a script that writes nothing passes")

	_, err := rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Get(ctx, "k")
		pipe.Set(ctx, "k", 2, 0)
		return nil
	})
	require.ErrorContains(t, err, "EXECABORT")
	require.Equal(t, "1", pair.East.Get("k"))
	require.Equal(t, 1, pair.East.Executed("SET"))
	pair.East.Restore()
	_, err = rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Set(ctx, "k", 3, 0).Err() })
	require.NoError(t, err)
	require.Equal(t, "3", pair.East.Get("k"))

	pair.East.Refuse("LOADING Redis is loading the dataset in memory")
	require.ErrorContains(t, rdb.Ping(ctx).Err(), "LOADING")
	pair.East.Restore()
	pair.East.Refuse("-upstream failure")
	require.NoError(t, rdb.Ping(ctx).Err())
	require.EqualError(t, rdb.Get(ctx, "k").Err(), "upstream failure")
	pair.East.Restore()
	require.NoError(t, rdb.Get(ctx, "k").Err())
}

func TestLostRepliesAreExecuted(t *testing.T) {
	pair := multidbtest.NewPair(t)
	pair.East.LoseReplies("INCR")
	err := pair.Client.Incr(t.Context(), "n").Err()
	var failed *multidb.CommandError
	require.ErrorAs(t, err, &failed)
	require.True(t, failed.Sent)
	require.Equal(t, "1", pair.East.Get("n"))
	require.NoError(t, pair.Client.Set(t.Context(), "k", 1, 0).Err(), "others are answered")
	pair.East.Restore()
	require.Equal(t, int64(2), pair.Client.Incr(t.Context(), "n").Val())
	require.Equal(t, 2, pair.East.Executed("INCR"))
}

// A write that waits is executed when writes go on, and forgotten if its client has gone meanwhile. Reads pass.
func TestPausedWritesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pair := multidbtest.NewPair(t)
		rdb := direct(t, pair)
		ctx := t.Context()
		require.NoError(t, rdb.Ping(ctx).Err())
		pair.East.PauseWrites()
		written := make(chan error, 1)
		go func() { written <- rdb.Set(ctx, "k", "waited", 0).Err() }()
		time.Sleep(time.Second)
		require.Empty(t, written)
		require.ErrorIs(t, rdb.Get(ctx, "k").Err(), redis.Nil)
		pair.East.Restore()
		require.NoError(t, <-written)
		require.Equal(t, "waited", pair.East.Get("k"))

		pair.East.PauseWrites()
		impatient := pair.East.Options()
		impatient.ReadTimeout, impatient.MaxRetries = time.Second, -1
		gone := redis.NewClient(impatient)
		require.Error(t, gone.Set(ctx, "k", "forgotten", 0).Err())
		require.NoError(t, gone.Close())
		synctest.Wait()
		pair.East.Restore()
		synctest.Wait()
		require.Equal(t, "waited", pair.East.Get("k"))
	})
}

func TestNewConnectionsAndLogins(t *testing.T) {
	pair := multidbtest.NewPair(t)
	old := direct(t, pair)
	ctx := t.Context()
	require.NoError(t, old.Ping(ctx).Err())

	pair.East.RefuseNew()
	require.NoError(t, old.Set(ctx, "k", 1, 0).Err())
	require.ErrorContains(t, direct(t, pair).Ping(ctx).Err(), "connection refused")
	pair.East.Restore()
	require.NoError(t, direct(t, pair).Ping(ctx).Err())

	pair.East.RefuseLogins()
	require.NoError(t, old.Set(ctx, "k", 2, 0).Err())
	require.ErrorContains(t, direct(t, pair).Ping(ctx).Err(), "WRONGPASS")
	pair.East.Restore()
	require.NoError(t, direct(t, pair).Ping(ctx).Err())
}

func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pair := multidbtest.NewPair(t)
		require.NoError(t, pair.Client.Ping(t.Context()).Err())
		pair.East.Slow(50 * time.Millisecond)
		began := time.Now()
		require.NoError(t, pair.Client.Ping(t.Context()).Err())
		require.Equal(t, 50*time.Millisecond, time.Since(began))
		require.Equal(t, "east", pair.Hook.Active())
	})
}

// Code under test that makes everything by itself gets addresses.
func TestAddressesForCodeThatDials(t *testing.T) {
	pair := multidbtest.New(t, multidbtest.Config{TCP: true})
	opt, err := redis.ParseURL(pair.West.URL())
	require.NoError(t, err)
	rdb := redis.NewClient(opt)
	defer rdb.Close()
	require.NoError(t, rdb.Set(t.Context(), "k", "direct", 0).Err())
	require.Equal(t, "direct", pair.West.Get("k"))
	require.Empty(t, pair.East.Get("k"))
}

func TestOpenRefusesDatabases(t *testing.T) {
	_, err := multidbtest.Open(multidbtest.Config{Options: multidb.Options{Databases: []multidb.Database{{Name: "mine"}}}})
	require.ErrorContains(t, err, "Config.Options.Databases: must be empty")
}

func TestUserOptionsAndEventsAreKept(t *testing.T) {
	told := make(chan multidb.Switch, 1)
	pair := multidbtest.New(t, multidbtest.Config{
		Options: multidb.Options{Events: multidb.Events{OnSwitch: func(s multidb.Switch) { told <- s }}},
		Client:  redis.Options{PoolSize: 3, ClientName: "orders"},
	})
	require.Equal(t, 3, pair.Client.Options().PoolSize)
	require.NoError(t, pair.Hook.SetActive(t.Context(), "west"))
	require.Equal(t, "west", (<-told).To)
	require.Len(t, pair.Switches(), 1)
	require.Equal(t, "west", pair.Hook.Active())
	require.NoError(t, pair.Client.Set(t.Context(), "k", 1, 0).Err())
	require.Equal(t, "1", pair.West.Get("k"))
}
