package e2e_test

import (
	"context"
	"log/slog"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/logtest"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/virtual"
)

// handlerFunc is a slog.Handler that is a function.
type handlerFunc func(slog.Record)

func (handlerFunc) Enabled(context.Context, slog.Level) bool { return true }

func (f handlerFunc) Handle(_ context.Context, r slog.Record) error { f(r); return nil }

func (f handlerFunc) WithAttrs([]slog.Attr) slog.Handler { return f }

func (f handlerFunc) WithGroup(string) slog.Handler { return f }

// Events: a handler of the user's Logger panics. The panic was recovered, and logged, by the same handler: the process
// ended. (If this comes back, this test takes the whole test run with it.)
func TestPanickingLoggerIsContained(t *testing.T) {
	opt := multidb.Options{Logger: slog.New(handlerFunc(func(slog.Record) { panic("mine") }))}
	told := make(chan multidb.Switch, 1)
	opt.Events.OnSwitch = func(s multidb.Switch) { told <- s; panic("mine as well") }
	east, west := pair.Servers(t)
	opt.Databases = pair.Databases(east.Addr(), west.Addr())
	h := pair.Hook(t, opt)
	for _, name := range []string{"west", "east"} {
		require.NoError(t, h.SetActive(t.Context(), name))
		require.Equal(t, name, (<-told).To, "the callback must be called although the log line before it is lost")
	}
	require.NoError(t, h.Close())
}

// Events: a function of OnPrepare panics, and so does the handler of the Logger that is told of it, which was the user's own
// and not the contained one. That ended the process.
func TestLoggerThatPanicsAboutAPanicOfOnPrepare(t *testing.T) {
	east, west := pair.Servers(t)
	h := pair.Hook(t, multidb.Options{
		Databases: pair.Databases(east.Addr(), west.Addr()),
		Logger:    slog.New(handlerFunc(func(slog.Record) { panic("mine") })),
	})
	defer h.OnPrepare(func(context.Context, string) { panic("mine as well") })()
	require.NoError(t, h.SetActive(t.Context(), "west"))
	require.Equal(t, "west", h.Active())
}

// Events: a callback calls runtime.Goexit (t.FailNow of somebody's test). The delivery of events ended without a word.
func TestGoexitDoesNotEndDelivery(t *testing.T) {
	east, west := pair.Servers(t)
	told := make(chan multidb.Switch, 1)
	opt := multidb.Options{Databases: pair.Databases(east.Addr(), west.Addr())}
	opt.Events.OnSwitch = func(s multidb.Switch) { told <- s; runtime.Goexit() }
	h := pair.Hook(t, opt)
	for _, name := range []string{"west", "east", "west"} {
		require.NoError(t, h.SetActive(t.Context(), name))
		select {
		case s := <-told:
			require.Equal(t, name, s.To)
		case <-time.After(10 * time.Second):
			t.Fatal("no event")
		}
	}
	require.NoError(t, h.Close())
}

// Events: the reader of what a callback sends is gone, so the callback blocks for ever; Close. It waited for ever, too.
func TestCloseDoesNotWaitForABlockedCallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dbs, specs := newVirtuals(t, 2)
		gone, calls := make(chan multidb.Switch), 0
		h, err := multidb.New(t.Context(), multidb.Options{Databases: specs, Logger: testkit.Log(t), Events: multidb.Events{OnSwitch: func(s multidb.Switch) {
			calls++
			gone <- s
		}}})
		require.NoError(t, err)
		require.NoError(t, h.SetActive(t.Context(), "b"))
		require.NoError(t, h.SetActive(t.Context(), "a"))
		began := time.Now()
		require.ErrorContains(t, h.Close(), "has not returned within 5s")
		require.Equal(t, 5*time.Second, time.Since(began))
		<-gone
		synctest.Wait()
		require.Equal(t, 1, calls, "what was to come after it is dropped")
		for _, v := range dbs {
			v.Redis.Close()
		}
	})
}

// Events: Close during a callback that takes its time. It must be waited for, and be told of all that has happened.
func TestCloseWaitsForCallbacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dbs, specs := newVirtuals(t, 2)
		calls := 0
		h, err := multidb.New(t.Context(), multidb.Options{Databases: specs, Logger: testkit.Log(t), Events: multidb.Events{OnSwitch: func(multidb.Switch) {
			time.Sleep(2 * time.Second)
			calls++
		}}})
		require.NoError(t, err)
		require.NoError(t, h.SetActive(t.Context(), "b"))
		require.NoError(t, h.SetActive(t.Context(), "a"))
		require.NoError(t, h.Close())
		require.Equal(t, 2, calls)
		for _, v := range dbs {
			v.Redis.Close()
		}
	})
}

// Events: a callback panics. That is logged, and the events after it still come, in their order.
func TestPanickingCallbackIsContained(t *testing.T) {
	log := &logtest.Handler{}
	var told []string
	opt := multidb.Options{Logger: slog.New(log), Failback: multidb.Failback{GracePeriod: -1}}
	opt.Events.OnHealth = func(c multidb.HealthChange) {
		told = append(told, c.Database+" "+string(c.State))
		panic("boom")
	}
	opt.Events.OnSwitch = func(s multidb.Switch) {
		told = append(told, s.From+" to "+s.To)
		panic("boom")
	}
	startBubble(t, 2, opt, func([]*virtual.DB, []multidb.Database) {}, func(h *multidb.Hook, dbs []*virtual.DB) {
		time.Sleep(time.Second)
		dbs[0].Up.Store(false)
		time.Sleep(5 * time.Second)
		dbs[0].Up.Store(true)
		time.Sleep(time.Minute)
		assert.NoError(t, h.ForceActive("a", 0))
	})
	require.Len(t, told, 6)
	require.Equal(t, []string{"a open", "a to b", "a closed", "b to a"}, told[2:])
	require.Equal(t, map[string]slog.Level{"boom": slog.LevelError}, log.Levels("multidb: an event callback panicked", "panic"))
}
