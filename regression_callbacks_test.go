package multidb

import (
	"context"
	"log/slog"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/callback"
)

// handlerFunc is a slog.Handler that is a function.
type handlerFunc func(slog.Record)

func (handlerFunc) Enabled(context.Context, slog.Level) bool        { return true }
func (f handlerFunc) Handle(_ context.Context, r slog.Record) error { f(r); return nil }
func (f handlerFunc) WithAttrs([]slog.Attr) slog.Handler            { return f }
func (f handlerFunc) WithGroup(string) slog.Handler                 { return f }

// Events: a handler of the user's Logger panics. The panic was recovered, and logged, by the same handler: the process
// ended. (If this comes back, this test takes the whole test run with it.)
func TestRegressionPanickingLoggerEndsTheProcess(t *testing.T) {
	opt := Options{Logger: slog.New(handlerFunc(func(slog.Record) { panic("mine") }))}
	told := make(chan Switch, 1)
	opt.Events.OnSwitch = func(s Switch) { told <- s; panic("mine as well") }
	east, west := regressionPair(t)
	opt.Databases = regressionURLs(east.Addr(), west.Addr())
	h := regressionHook(t, opt)
	for _, name := range []string{"west", "east"} {
		require.NoError(t, h.SetActive(t.Context(), name))
		require.Equal(t, name, (<-told).To, "the callback must be called although the log line before it is lost")
	}
	require.NoError(t, h.Close())
}

// Events: a function of OnPrepare panics, and so does the handler of the Logger that is told of it, which was the user's own
// and not the contained one. That ended the process.
func TestRegressionLoggerPanicsAboutAPanicOfOnPrepare(t *testing.T) {
	east, west := regressionPair(t)
	h := regressionHook(t, Options{
		Databases: regressionURLs(east.Addr(), west.Addr()),
		Logger:    slog.New(handlerFunc(func(slog.Record) { panic("mine") })),
	})
	defer h.OnPrepare(func(context.Context, string) { panic("mine as well") })()
	require.NoError(t, h.SetActive(t.Context(), "west"))
	require.Equal(t, "west", h.Active())
}

// Events: a handler of the user's Logger panics when it is asked for its level, which the health loops do.
func TestRegressionPanickingLevelEndsTheProcess(t *testing.T) {
	log := callback.SafeLogger(slog.New(panickingLevel{handlerFunc(func(slog.Record) {})}))
	require.False(t, log.Enabled(t.Context(), slog.LevelDebug))
	log.With("a", 1).WithGroup("g").Info("nobody hears this")
}

type panickingLevel struct{ handlerFunc }

func (p panickingLevel) Enabled(context.Context, slog.Level) bool { panic("mine") }
func (p panickingLevel) WithAttrs([]slog.Attr) slog.Handler       { return p }
func (p panickingLevel) WithGroup(string) slog.Handler            { return p }

// Events: a callback calls runtime.Goexit (t.FailNow of somebody's test). The delivery of events ended without a word.
func TestRegressionGoexitEndsDelivery(t *testing.T) {
	east, west := regressionPair(t)
	told := make(chan Switch, 1)
	opt := Options{Databases: regressionURLs(east.Addr(), west.Addr())}
	opt.Events.OnSwitch = func(s Switch) { told <- s; runtime.Goexit() }
	h := regressionHook(t, opt)
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

// Events: the hook was added to a client that it cannot route, and the Logger blocks. The warning was logged by the
// goroutine that looks for stalls.
func TestRegressionBlockingLoggerStopsTheMonitor(t *testing.T) {
	block := make(chan struct{})
	defer close(block)
	east, _ := regressionPair(t)
	h := regressionHook(t, Options{
		Databases: []Database{{Name: "east", URL: "redis://" + east.Addr()}},
		Logger: slog.New(handlerFunc(func(r slog.Record) {
			if r.Level == slog.LevelError {
				<-block
			}
		})),
	})
	db := h.selector.find("east")
	db.traffic.Successes.Add(1)
	done := make(chan struct{})
	go func() { h.warnIfUnrouted(db); close(done) }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("it waits for the handler")
	}
}

// Events: the reader of what a callback sends is gone, so the callback blocks for ever; Close. It waited for ever, too.
func TestRegressionCloseWaitsForABlockedCallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dbs, specs := newVirtuals(t, 2)
		gone, calls := make(chan Switch), 0
		h, err := New(t.Context(), Options{Databases: specs, Logger: testLog(t), Events: Events{OnSwitch: func(s Switch) {
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
			v.redis.Close()
		}
	})
}

// Events: Close during a callback that takes its time. It must be waited for, and be told of all that has happened.
func TestCloseWaitsForCallbacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dbs, specs := newVirtuals(t, 2)
		calls := 0
		h, err := New(t.Context(), Options{Databases: specs, Logger: testLog(t), Events: Events{OnSwitch: func(Switch) {
			time.Sleep(2 * time.Second)
			calls++
		}}})
		require.NoError(t, err)
		require.NoError(t, h.SetActive(t.Context(), "b"))
		require.NoError(t, h.SetActive(t.Context(), "a"))
		require.NoError(t, h.Close())
		require.Equal(t, 2, calls)
		for _, v := range dbs {
			v.redis.Close()
		}
	})
}
