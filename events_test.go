package multidb

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/callback"
	"github.com/redishook/multidb/internal/health"
	"github.com/redishook/multidb/internal/testkit/logtest"
	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/internal/testkit/virtual"
)

// handlerFunc is a slog.Handler that is a function.
type handlerFunc func(slog.Record)

func (handlerFunc) Enabled(context.Context, slog.Level) bool { return true }

func (f handlerFunc) Handle(_ context.Context, r slog.Record) error { f(r); return nil }

func (f handlerFunc) WithAttrs([]slog.Attr) slog.Handler { return f }

func (f handlerFunc) WithGroup(string) slog.Handler { return f }

type panickingLevel struct{ handlerFunc }

func (p panickingLevel) Enabled(context.Context, slog.Level) bool { panic("mine") }

func (p panickingLevel) WithAttrs([]slog.Attr) slog.Handler { return p }

func (p panickingLevel) WithGroup(string) slog.Handler { return p }

// Events: a handler of the user's Logger panics when it is asked for its level, which the health loops do.
func TestPanickingLevelIsContained(t *testing.T) {
	log := callback.SafeLogger(slog.New(panickingLevel{handlerFunc(func(slog.Record) {})}))
	require.False(t, log.Enabled(t.Context(), slog.LevelDebug))
	log.With("a", 1).WithGroup("g").Info("nobody hears this")
}

// Events: the hook was added to a client that it cannot route, and the Logger blocks. The warning was logged by the
// goroutine that looks for stalls.
func TestBlockingLoggerDoesNotStopTheMonitor(t *testing.T) {
	block := make(chan struct{})
	defer close(block)
	east := redistest.Start(t)
	h := newHook(t, Options{
		Databases: []Database{{Name: "east", URL: "redis://" + east.Addr()}},
		Logger: slog.New(handlerFunc(func(r slog.Record) {
			if r.Level == slog.LevelError {
				<-block
			}
		})),
	})
	db := h.selector.Find("east")
	db.Traffic.Successes.Add(1)
	done := make(chan struct{})
	go func() { h.events.Unrouted(); close(done) }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("it waits for the handler")
	}
}

// What listeners and the log are told: regressions of events.go.

// Events: one switch for each reason. Those that somebody asked for, by SetActive, SetWeight or Remove, were logged like a
// failback: who looks for warnings does not see that the database is another one.
func TestLogLevels(t *testing.T) {
	log := &logtest.Handler{}
	opt := Options{Logger: slog.New(log), Failback: Failback{GracePeriod: time.Second}}
	startBubble(t, 3, opt, func([]*virtual.DB, []Database) {}, func(h *Hook, dbs []*virtual.DB) {
		ctx := context.Background()
		assert.NoError(t, h.SetActive(ctx, "b"))
		h.Release()
		time.Sleep(time.Minute) // back on a
		dbs[0].Up.Store(false)
		time.Sleep(5 * time.Second)
		dbs[0].Up.Store(true)
		time.Sleep(time.Minute) // and again
		a := h.selector.Find("a").Health
		a.Trip(a.Generation(), health.Outage{ByTraffic: true, Cause: virtual.ErrUnreachable})
		time.Sleep(time.Minute)
		assert.NoError(t, h.SetWeight("c", 9))
		time.Sleep(time.Minute)
		assert.NoError(t, h.Remove(ctx, "c"))
		for _, v := range dbs {
			v.Up.Store(false)
		}
		time.Sleep(time.Minute)
		dbs[1].Up.Store(true)
		time.Sleep(time.Minute)
	})
	require.Equal(t, map[string]slog.Level{
		"manual": slog.LevelWarn, "failback": slog.LevelInfo, "health_check": slog.LevelWarn,
		"failure_detector": slog.LevelWarn, "weight": slog.LevelWarn, "removed": slog.LevelWarn,
	}, log.Levels("multidb: switched", "reason"))
	require.Equal(t, map[string]slog.Level{"": slog.LevelWarn}, log.Levels("multidb: database UNUSABLE", ""))
	require.Equal(t, map[string]slog.Level{"": slog.LevelInfo}, log.Levels("multidb: database usable again", ""))
	require.Equal(t, map[string]slog.Level{"": slog.LevelError}, log.Levels("multidb: no database is usable", ""))
	require.Equal(t, map[string]slog.Level{"": slog.LevelInfo}, log.Levels("multidb: recovered", ""))
	require.Equal(t, map[string]slog.Level{"": slog.LevelDebug}, log.Levels("multidb: checked", ""))
}
