package console

import (
	"log/slog"
	"math"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/multidbtest"
)

// full is a console with 15 minutes of two databases in its memory, and 100 events.
func full(tb testing.TB) *Console {
	pair := multidbtest.NewPair(tb)
	c := New(pair.Hook, Options{Logger: slog.New(slog.DiscardHandler)})
	tb.Cleanup(c.Close)
	c.history.mu.Lock()
	defer c.history.mu.Unlock()
	for i := range samples {
		wave := 5000 * (1 + math.Sin(float64(i)/17))
		c.history.past = append(c.history.past, sample{
			At: time.Now().Add(time.Duration(i-samples) * step), Active: i / 100 % 2, Ops: []float64{wave, 10_000 - wave},
			Failed: float64(i % 7), Told: float64(i % 3), P99: 0.001 + wave/1e7,
		})
	}
	for range kept {
		c.events.add(switched(multidb.Switch{From: "east", To: "west", Reason: multidb.ReasonManual, Planned: true}))
	}
	return c
}

func BenchmarkPage(b *testing.B) {
	c := full(b)
	b.ReportAllocs()
	for b.Loop() {
		c.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	}
}

func BenchmarkTimer(b *testing.B) {
	var t timer
	b.ReportAllocs()
	for b.Loop() {
		t.took(time.Millisecond)
	}
}

// An open page asks once a second, so 1 % of a core is 10 ms for each page.
func TestWhatAPageOf15MinutesCosts(t *testing.T) {
	best := time.Hour
	c := full(t)
	for range 20 { // the shortest one: a busy machine lengthens the others
		began := time.Now()
		w := httptest.NewRecorder()
		c.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		best = min(best, time.Since(began))
		require.Contains(t, w.Body.String(), "<svg")
		t.Logf("%d bytes in %v", w.Body.Len(), time.Since(began))
	}
	limit := 10 * time.Millisecond
	if raceEnabled {
		limit *= 10
	}
	require.Less(t, best, limit)
}

// The percentile of what has been measured is at most an eighth off.
func TestTimer(t *testing.T) {
	var tm timer
	require.Zero(t, tm.percentile(0.99))
	for i := range 1000 {
		tm.took(time.Duration(i+1) * time.Millisecond)
	}
	require.InEpsilon(t, 990*time.Millisecond, tm.percentile(0.99), 0.125)
	require.Zero(t, tm.percentile(0.99), "each second begins anew")
	for d := time.Duration(1); d < time.Hour; d = d*5/4 + 1 {
		tm.took(d)
		require.InEpsilon(t, float64(d), float64(tm.percentile(0.5)), 0.51, "%v", d)
		if d > 16 {
			tm.took(d)
			require.InEpsilon(t, float64(d), float64(tm.percentile(0.5)), 0.126, "%v", d)
		}
	}
	tm.took(-time.Second) // a clock that was set back
	tm.took(0)
	require.Positive(t, tm.percentile(1))
}

func TestTimerAllocatesNothing(t *testing.T) {
	var tm timer
	require.Zero(t, testing.AllocsPerRun(100, func() { tm.took(time.Millisecond) }))
}
