package multidb_test

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/multidbtest"
	"github.com/redishook/multidb/probes"
)

func TestReady(t *testing.T) {
	pair := multidbtest.NewPair(t)
	require.NoError(t, pair.Hook.Ready())
	pair.East.Kill()
	require.NoError(t, pair.Client.Set(t.Context(), "k", 1, 0).Err())
	require.NoError(t, pair.Hook.Ready(), "west is usable")
	pair.West.Kill()
	require.Error(t, pair.Client.Set(t.Context(), "k", 1, 0).Err())
	redistest.Eventually(t, 20*time.Second, "the outage to be seen", func() bool { return pair.Hook.Stats().Down })
	err := pair.Hook.Ready()
	require.ErrorIs(t, err, multidb.ErrNoDatabase)
	require.ErrorContains(t, err, "connection refused")
	pair.East.Restore()
	redistest.Eventually(t, 20*time.Second, "the end of the outage", func() bool { return pair.Hook.Ready() == nil })
	require.NoError(t, pair.Hook.Close())
	require.ErrorIs(t, pair.Hook.Ready(), multidb.ErrClosed)
}

// INCR is executed, its answer is lost: without the word the caller is told so, with it the command is run again.
func TestIdempotent(t *testing.T) {
	pair := multidbtest.NewPair(t)
	pair.East.DieAfter("INCR")
	n, err := pair.Client.Incr(multidb.Idempotent(t.Context()), "n").Result()
	require.NoError(t, err)
	require.Equal(t, int64(1), n)
	require.Equal(t, 1, pair.East.Executed("INCR"))
	require.Equal(t, 1, pair.West.Executed("INCR"))
}

func TestParseOptions(t *testing.T) {
	opt, err := multidb.ParseOptions(
		"redis://east:6379/2?name=east&weight=1, rediss://user:se%2Ccret@west:6380?name=west&weight=0.5&dial_timeout=3s,redis://north,unix:///run/redis.sock")
	require.NoError(t, err)
	require.Len(t, opt.Databases, 4)
	east, west := opt.Databases[0], opt.Databases[1]
	require.Equal(t, multidb.Database{Name: "east", Weight: 1, URL: "redis://east:6379/2"}, east)
	require.Equal(t, "west", west.Name)
	require.Equal(t, 0.5, west.Weight)
	parsed, err := redis.ParseURL(west.URL)
	require.NoError(t, err)
	require.Equal(t, "se,cret", parsed.Password)
	require.Equal(t, 3*time.Second, parsed.DialTimeout)
	require.NotNil(t, parsed.TLSConfig)
	require.Equal(t, "north:6379", opt.Databases[2].Name)
	require.Equal(t, "/run/redis.sock", opt.Databases[3].Name)

	for text, want := range map[string]string{
		"":                                    `Databases[0].URL = "": must not be empty`,
		"redis://a,":                          `Databases[1].URL = "": must not be empty`,
		"127.0.0.1:6379":                      "write redis:// before it",
		"redis://a,localhost:6379":            "Databases[1].URL = \"…\": has no scheme",
		"http://a":                            "Databases[0].URL",
		"redis://a?weight=heavy":              `Databases[0].Weight = "heavy": must be a finite number > 0`,
		"redis://a?weight=-1":                 "must be a finite number > 0",
		"redis://a?weight=NaN":                "must be a finite number > 0",
		"redis://a?colour=red":                "Databases[0].URL",
		"redis://u:hush@a:port":               "Databases[0].URL",
		"redis://u:hu,sh@a":                   "Databases[",
		"redis://a:70000":                     "port from 1 to 65535",
		"redis://u:hush%zz@a?weight=1":        "Databases[0].URL",
		"redis://u:hush@a/nought?weight=zero": "Databases[0]",
	} {
		_, err := multidb.ParseOptions(text)
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), "hush", text)
	}
}

// The options of a connection string are those of New.
func TestParseOptionsMakesAHook(t *testing.T) {
	pair := multidbtest.New(t, multidbtest.Config{TCP: true})
	opt, err := multidb.ParseOptions(pair.East.URL() + "?name=one," + pair.West.URL() + "?name=two&weight=0.5")
	require.NoError(t, err)
	opt.Logger = slog.New(slog.DiscardHandler)
	hook, err := multidb.New(t.Context(), opt)
	require.NoError(t, err)
	defer hook.Close()
	require.Equal(t, "one", hook.Active())
	require.Equal(t, []string{"one", "two"}, hook.Databases())
}

func TestOptionsAsText(t *testing.T) {
	for r := multidb.ReplayNone; r <= multidb.ReplayAll; r++ {
		text, err := r.MarshalText()
		require.NoError(t, err)
		var back multidb.Replay
		require.NoError(t, back.UnmarshalText([]byte(strings.ToUpper(string(text)))))
		require.Equal(t, r, back)
	}
	for i := multidb.InitialOne; i <= multidb.InitialAll; i++ {
		text, err := i.MarshalText()
		require.NoError(t, err)
		var back multidb.Initial
		require.NoError(t, back.UnmarshalText(text))
		require.Equal(t, i, back)
	}
	_, err := multidb.Initial(7).MarshalText()
	require.Error(t, err)

	var r multidb.Replay
	var i multidb.Initial
	fs := flag.NewFlagSet("service", flag.ContinueOnError)
	fs.TextVar(&r, "replay", multidb.ReplayLastWins, "")
	fs.TextVar(&i, "initial", multidb.InitialOne, "")
	require.NoError(t, fs.Parse([]string{"-replay", "accumulating", "-initial", "majority"}))
	require.Equal(t, multidb.ReplayAccumulating, r)
	require.Equal(t, multidb.InitialMajority, i)
	require.EqualError(t, r.UnmarshalText([]byte("twice")),
		`multidb: Replay = "twice": must be one of none, default, connection, read, checked, last-wins, accumulating, admin, all`)
	require.EqualError(t, i.UnmarshalText(nil), `multidb: Initial = "": must be one of one, majority, all`)
}

func TestMistakesInOptionsAreNamed(t *testing.T) {
	for want, opt := range map[string]multidb.Options{
		"Health.Interval = 5ns: must be >= 10µs: a bare number counts nanoseconds, write 5 * time.Second": {Health: multidb.Health{Interval: 5}},
		"Failback.GracePeriod = 30ns": {Failback: multidb.Failback{GracePeriod: 30}},
		"MaxWait = 2ns":               {MaxWait: 2},
	} {
		opt.Databases = []multidb.Database{{Name: "a", URL: "redis://a"}}
		_, err := multidb.New(t.Context(), opt)
		require.ErrorContains(t, err, want)
	}
	_, err := multidb.New(t.Context(), multidb.Options{Databases: []multidb.Database{{Name: "a", URL: "127.0.0.1:6379"}}})
	require.ErrorContains(t, err, `Databases[0].URL = "…": has no scheme: write redis:// before it`)

	// What was never set is not named: the longest delay grows with the shortest.
	pair := multidbtest.New(t, multidbtest.Config{Options: multidb.Options{Retry: multidb.Retry{MinBackoff: time.Second}}})
	require.NoError(t, pair.Client.Ping(t.Context()).Err())
}

func TestSamePlaceTwiceIsSaid(t *testing.T) {
	var log bytes.Buffer
	pair := multidbtest.New(t, multidbtest.Config{TCP: true})
	url := pair.East.URL()
	for _, c := range []struct {
		second string
		said   bool
	}{{url, true}, {url + "/1", false}, {pair.West.URL(), false}} {
		log.Reset()
		hook, err := multidb.New(t.Context(), multidb.Options{
			Databases: []multidb.Database{{Name: "a", URL: url}, {Name: "b", URL: c.second}},
			Logger:    slog.New(slog.NewTextHandler(&log, nil)),
		})
		require.NoError(t, err)
		require.NoError(t, hook.Close()) // the log is written by then
		require.Equal(t, c.said, strings.Contains(log.String(), "the same address and index"), c.second)
	}
}

func TestTLSIsHintedAt(t *testing.T) {
	start := func(url string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := multidb.New(ctx, multidb.Options{
			Databases: []multidb.Database{{Name: "a", URL: url}}, Logger: slog.New(slog.DiscardHandler),
		})
		return err
	}
	plain := redistest.Start(t)
	require.ErrorContains(t, start("rediss://"+plain.Addr()), "write redis:// in place of rediss://")
	secure := redistest.Start(t, redistest.TLS())
	require.ErrorContains(t, start("redis://"+secure.Addr()), "write rediss:// in place of redis://")
}

func TestNilHookAndContext(t *testing.T) {
	var hook *multidb.Hook
	rdb := redis.NewClient(&redis.Options{})
	defer rdb.Close()
	require.PanicsWithValue(t, "multidb: the hook that is added is nil: look at the error that New has returned with it",
		func() { rdb.AddHook(hook) })
	_, err := multidb.New(nil, multidb.Options{}) //nolint:staticcheck // this is what is tried
	require.ErrorContains(t, err, "ctx = nil: must be a context")
}

// A database that comes back without its data is not returned to before the key is there again. A failover takes it if nothing
// else is left.
func TestMarkerKeepsAnEmptyDatabaseOut(t *testing.T) {
	marker := probes.Marker("data-is-here")
	pair := multidbtest.New(t, multidbtest.Config{Options: multidb.Options{
		Health:   multidb.Health{Interval: 50 * time.Millisecond, Checks: []probes.Check{{Probe: probes.Ping(), Probes: 1}, {Probe: marker, Probes: 1}}},
		Failback: multidb.Failback{GracePeriod: 50 * time.Millisecond, Jitter: -1},
	}})
	require.NoError(t, pair.East.Data.Set("data-is-here", "1"))
	require.NoError(t, pair.West.Data.Set("data-is-here", "1"))
	pair.East.Kill()
	require.NoError(t, pair.Client.Set(t.Context(), "k", 1, 0).Err())
	pair.AwaitActive(t, "west")
	pair.East.Data.FlushAll()
	pair.East.Restore()
	east := func() multidb.DatabaseStats { return pair.Hook.Stats().Databases[0] }
	redistest.Eventually(t, 20*time.Second, "east to be usable and kept out", func() bool {
		s := east()
		return s.Breaker == multidb.BreakerClosed && s.GateError != nil
	})
	require.ErrorContains(t, east().GateError, `the key "data-is-here" is not there`)
	time.Sleep(500 * time.Millisecond) // ten times the grace period
	require.Equal(t, "west", pair.Hook.Active())
	require.ErrorContains(t, pair.Hook.SetActive(t.Context(), "east"), "is not there")
	require.NoError(t, pair.East.Data.Set("data-is-here", "1"))
	pair.AwaitActive(t, "east")
	require.Nil(t, east().GateError)
}
