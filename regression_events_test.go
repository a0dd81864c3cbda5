package multidb

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What listeners and the log are told: regressions of events.go.

// recordingHandler keeps what is logged.
type recordingHandler struct {
	mu      sync.Mutex
	records []slog.Record
}

func (r *recordingHandler) Enabled(context.Context, slog.Level) bool { return true }
func (r *recordingHandler) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *recordingHandler) WithGroup(string) slog.Handler            { return r }
func (r *recordingHandler) Handle(_ context.Context, record slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, record)
	return nil
}

// levels returns the levels of all lines with that message, by the value of one attribute ("": by nothing).
func (r *recordingHandler) levels(message, attribute string) map[string]slog.Level {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := make(map[string]slog.Level)
	for _, record := range r.records {
		if record.Message != message {
			continue
		}
		key := ""
		record.Attrs(func(a slog.Attr) bool {
			if a.Key == attribute {
				key = a.Value.String()
			}
			return true
		})
		found[key] = record.Level
	}
	return found
}

// Events: one switch for each reason. Those that somebody asked for, by SetActive, SetWeight or Remove, were logged like a
// failback: who looks for warnings does not see that the database is another one.
func TestRegressionLogLevels(t *testing.T) {
	log := &recordingHandler{}
	opt := Options{Logger: slog.New(log), Failback: Failback{GracePeriod: time.Second}}
	startBubble(t, 3, opt, func([]*virtual, []Database) {}, func(h *Hook, dbs []*virtual) {
		ctx := context.Background()
		assert.NoError(t, h.SetActive(ctx, "b"))
		h.Release()
		time.Sleep(time.Minute) // back on a
		dbs[0].up.Store(false)
		time.Sleep(5 * time.Second)
		dbs[0].up.Store(true)
		time.Sleep(time.Minute) // and again
		h.trip(h.selector.find("a"), h.selector.find("a").currentGeneration(), ReasonFailureDetector, errUnreachable)
		time.Sleep(time.Minute)
		assert.NoError(t, h.SetWeight("c", 9))
		time.Sleep(time.Minute)
		assert.NoError(t, h.Remove(ctx, "c"))
		for _, v := range dbs {
			v.up.Store(false)
		}
		time.Sleep(time.Minute)
		dbs[1].up.Store(true)
		time.Sleep(time.Minute)
	})
	require.Equal(t, map[string]slog.Level{
		"manual": slog.LevelWarn, "failback": slog.LevelInfo, "health_check": slog.LevelWarn,
		"failure_detector": slog.LevelWarn, "weight": slog.LevelWarn, "removed": slog.LevelWarn,
	}, log.levels("multidb: switched", "reason"))
	require.Equal(t, map[string]slog.Level{"": slog.LevelWarn}, log.levels("multidb: database UNUSABLE", ""))
	require.Equal(t, map[string]slog.Level{"": slog.LevelInfo}, log.levels("multidb: database usable again", ""))
	require.Equal(t, map[string]slog.Level{"": slog.LevelError}, log.levels("multidb: no database is usable", ""))
	require.Equal(t, map[string]slog.Level{"": slog.LevelInfo}, log.levels("multidb: recovered", ""))
	require.Equal(t, map[string]slog.Level{"": slog.LevelDebug}, log.levels("multidb: checked", ""))
}

// Events: a callback panics. That is logged, and the events after it still come, in their order.
func TestRegressionPanickingCallbackIsContained(t *testing.T) {
	log := &recordingHandler{}
	var told []string
	opt := Options{Logger: slog.New(log), Failback: Failback{GracePeriod: -1}}
	opt.Events.OnHealth = func(c HealthChange) {
		told = append(told, c.Database+" "+string(c.State))
		panic("boom")
	}
	opt.Events.OnSwitch = func(s Switch) {
		told = append(told, s.From+" to "+s.To)
		panic("boom")
	}
	startBubble(t, 2, opt, func([]*virtual, []Database) {}, func(h *Hook, dbs []*virtual) {
		time.Sleep(time.Second)
		dbs[0].up.Store(false)
		time.Sleep(5 * time.Second)
		dbs[0].up.Store(true)
		time.Sleep(time.Minute)
		assert.NoError(t, h.ForceActive("a", 0))
	})
	require.Len(t, told, 6)
	require.Equal(t, []string{"a open", "a to b", "a closed", "b to a"}, told[2:])
	require.Equal(t, map[string]slog.Level{"boom": slog.LevelError}, log.levels("multidb: an event callback panicked", "panic"))
}
