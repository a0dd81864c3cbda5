package window

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"
)

func TestClock(t *testing.T) {
	tests := []struct {
		name string
		at   []time.Duration // readings
		want []time.Duration // elapsed at each; the window is 2 s
	}{
		{"steady", []time.Duration{0, 1 * sec, 1 * sec, 3 * sec}, []time.Duration{0, 1 * sec, 1 * sec, 3 * sec}},
		{"late callers count as the latest", []time.Duration{5 * sec, 4 * sec, 0, 6 * sec}, []time.Duration{0, 0, 0, 1 * sec}},
		{"a gap counts as one window", []time.Duration{0, time.Hour, time.Hour + sec}, []time.Duration{0, 2 * sec, 3 * sec}},
		{
			"a clock that is set back is believed after a window",
			[]time.Duration{time.Hour, 0, 1 * sec, 2 * sec, 2*sec + 1, 3 * sec},
			[]time.Duration{0, 0, 0, 0, 0, sec - 1},
		},
		{
			"a clock that is set back twice",
			[]time.Duration{time.Hour, 10 * sec, 0, 2 * sec, 3 * sec, 4 * sec},
			[]time.Duration{0, 0, 0, 0, 0, 1 * sec},
		},
		{
			"late callers among others are never believed",
			[]time.Duration{10 * sec, 0, 11 * sec, 3 * sec, 12 * sec, 6 * sec, 13 * sec},
			[]time.Duration{0, 0, 1 * sec, 1 * sec, 2 * sec, 2 * sec, 3 * sec},
		},
		{
			"callers up to a window late are never believed",
			[]time.Duration{10 * sec, 8 * sec, 9 * sec, 10*sec - 1, 8 * sec, 10*sec - 1, 11 * sec},
			[]time.Duration{0, 0, 0, 0, 0, 0, 1 * sec},
		},
		{
			"a caller later than a window costs as much as the next one is late",
			[]time.Duration{10 * sec, 0, 10*sec - ms, 10 * sec, 11 * sec},
			[]time.Duration{0, 0, 0, 1 * ms, sec + ms},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := clock{window: 2 * sec}
			for i, at := range tt.at {
				assert.Equal(t, tt.want[i], c.read(after(at)), "reading %d", i)
			}
		})
	}
}

// Whatever the readings are, time never goes back, never runs faster than the readings move forwards, and
// goes on within two windows of steady readings.
func TestClockOnAnyReadings(t *testing.T) {
	const window = 2 * sec
	rapid.Check(t, func(t *rapid.T) {
		c := clock{window: window}
		var elapsed, moved, last time.Duration
		read := func(at time.Duration) {
			now := c.read(after(at))
			assert.GreaterOrEqual(t, now, elapsed, "time went back")
			assert.LessOrEqual(t, now-elapsed, window, "a step of more than a window")
			moved += max(0, at-last)
			assert.LessOrEqual(t, now, moved, "faster than the readings")
			elapsed, last = now, at
		}
		read(0)
		for range rapid.IntRange(1, 100).Draw(t, "readings") {
			by := rapid.Int64Range(int64(-3*window), int64(3*window)).Draw(t, "by")
			read(last + time.Duration(by))
		}
		before := elapsed
		for range 30 {
			read(last + 100*ms)
		}
		assert.Greater(t, elapsed, before, "time stands still")
	})
}

// The wall clock is set to anything at all, time.Sub saturates, and still old failures leave the window
// and new ones enter it.
func TestNoClockStepWedgesTheWindow(t *testing.T) {
	f := NewFailureRate(Config{MinFailures: 3, FailureRate: 0.5, Window: 2 * sec, Buckets: 10})
	rapid.Check(t, func(t *rapid.T) {
		d := f()
		var now time.Time
		for range rapid.IntRange(1, 5).Draw(t, "clock steps") {
			now = time.Unix(rapid.Int64Range(math.MinInt64/4, math.MaxInt64/4).Draw(t, "unix"), 0)
			d.Record(now, failed(3))
			d.Verdict(now)
		}
		for range 60 { // three windows of looks, 100 ms apart
			now = now.Add(100 * ms)
			d.Verdict(now)
		}
		assert.False(t, d.Verdict(now).Failing, "failures older than the window still count")
		d.Record(now, failed(3))
		assert.True(t, d.Verdict(now).Failing, "new failures do not count")
	})
}
