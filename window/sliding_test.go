package window

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// event is a sample that the naive model keeps for ever.
type event struct {
	at     time.Duration
	sample Sample
}

// naiveSums gives every answer that is exact to the width of one bucket: what the events in a window sum up
// to, for each length from window-width to window that makes a difference. Events are in the order of time.
func naiveSums(events []event, now, window, width time.Duration) (sums []Sample) {
	var sum Sample
	for i := len(events) - 1; i >= 0; i-- {
		e := events[i]
		age := now - e.at
		if age >= window {
			break
		}
		if age > window-width && (i == len(events)-1 || events[i+1].at != e.at) {
			sums = append(sums, sum) // a window that is just too short for this event
		}
		sum.plus(e.sample)
	}
	return append(sums, sum)
}

// Random times, bursts, pauses, late callers and clocks that are set back: what the window holds is
// always what a model that keeps every event holds, and the verdict is the one that follows.
func TestSlidingAgainstNaiveModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{
			MinFailures: rapid.IntRange(1, 20).Draw(t, "MinFailures"),
			FailureRate: rapid.Float64Range(0.01, 1).Draw(t, "FailureRate"),
			Window:      time.Duration(rapid.Int64Range(int64(50*ms), int64(5*sec)).Draw(t, "Window")),
			Buckets:     rapid.IntRange(1, 50).Draw(t, "Buckets"),
		}
		require.NoError(t, cfg.Validate())
		d := NewFailureRate(cfg)().(*sliding)
		width := cfg.Window / time.Duration(cfg.Buckets)
		whole := width * time.Duration(cfg.Buckets) // the window without the remainder of the division

		var (
			events  []event
			latest  time.Duration // what the model takes for now
			reading time.Duration // what the clock shows
		)
		d.Record(t0, Sample{})
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			at := reading
			// How much older a reading may be without being a window behind the latest, from where on
			// the clock may believe it. Set back and late together must not be more either.
			room := cfg.Window - (latest - reading)
			switch rapid.IntRange(0, 9).Draw(t, "kind") {
			case 0: // the same moment: a burst
			case 1, 2: // within a bucket or so
				reading += time.Duration(rapid.Int64Range(0, int64(2*width)).Draw(t, "short"))
				at = reading
			case 3, 4, 5:
				reading += time.Duration(rapid.Int64Range(0, int64(cfg.Window)).Draw(t, "ahead"))
				at = reading
			case 6: // exactly on the edges of buckets
				reading += width * time.Duration(rapid.IntRange(0, cfg.Buckets+1).Draw(t, "edges"))
				at = reading
			case 7: // a pause
				reading += time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "pause"))
				at = reading
			case 8: // a late caller
				at -= time.Duration(rapid.Int64Range(0, int64(room)).Draw(t, "late"))
			case 9: // the clock is set back and stays back
				reading -= time.Duration(rapid.Int64Range(0, int64(room)).Draw(t, "back"))
				at = reading
			}
			latest = max(latest, at)

			if rapid.Bool().Draw(t, "record") {
				s := Sample{
					Successes: rapid.Uint64Range(0, 30).Draw(t, "Successes"),
					Failures:  rapid.Uint64Range(0, 10).Draw(t, "Failures"),
					Slow:      rapid.Uint64Range(0, 5).Draw(t, "Slow"),
				}
				d.Record(after(at), s)
				events = append(events, event{latest, s})
			}

			possible := naiveSums(events, latest, whole, width)
			var verdicts []bool
			for _, s := range possible {
				n := s.Failures + s.Successes
				verdicts = append(verdicts, n > 0 && int(s.Failures) >= cfg.MinFailures &&
					float64(s.Failures)/float64(n) >= cfg.FailureRate)
			}
			// The verdict first: it must be right without the look of total.
			assert.Contains(t, verdicts, d.Verdict(after(at)).Failing, "verdict at %v", at)
			assert.Contains(t, possible, d.total(after(at)), "sum at %v", at)
		}
	})
}

// No sample is lost or counted twice when detectors are used from many goroutines.
func TestSlidingConcurrently(t *testing.T) {
	const goroutines, each = 8, 5000
	d := NewFailureRate(Config{Window: time.Hour, Buckets: 1000})().(*sliding)
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range each {
				// Every goroutine at its own pace, so that most of them are behind the fastest.
				at := after(time.Duration(i*(g+1)) * 10 * time.Microsecond)
				d.Record(at, Sample{Successes: 3, Failures: 2, Slow: 1})
				d.Verdict(at)
			}
		})
	}
	wg.Wait()
	n := uint64(goroutines * each)
	assert.Equal(t, Sample{Successes: 3 * n, Failures: 2 * n, Slow: n}, d.total(after(0)))
}

func TestResetConcurrently(t *testing.T) {
	d := NewFailureRate(Config{})()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 500 {
				at := after(time.Duration(i) * ms)
				d.Record(at, failed(1))
				d.Verdict(at)
				d.Reset()
			}
		})
	}
	wg.Wait()
	d.Reset()
	assert.False(t, d.Verdict(after(sec)).Failing)
}

func TestDetectorsDoNotAllocate(t *testing.T) {
	for name, f := range map[string]Factory{"failure rate": NewFailureRate(Config{}), "slow": NewSlow(SlowConfig{Bound: sec})} {
		d := f()
		i := 0
		assert.Zero(t, testing.AllocsPerRun(1000, func() {
			i++
			at := after(time.Duration(i) * 10 * ms)
			d.Record(at, Sample{Successes: 100, Failures: 5, Slow: 5})
			if d.Verdict(at).Failing {
				t.Fatal("unexpected verdict")
			}
		}), name)
	}
}

func BenchmarkDetector(b *testing.B) {
	at := after(0)
	b.Run("verdict of a healthy database", func(b *testing.B) {
		d := NewFailureRate(Config{})()
		d.Record(at, ok(1000))
		b.ReportAllocs()
		for b.Loop() {
			d.Verdict(at)
		}
	})
	b.Run("verdict of a suspicious database", func(b *testing.B) {
		d := NewFailureRate(Config{})()
		d.Record(at, Sample{Successes: 1000, Failures: 5})
		b.ReportAllocs()
		for b.Loop() {
			d.Verdict(at)
		}
	})
	b.Run("record", func(b *testing.B) {
		d := NewFailureRate(Config{})()
		now := at
		b.ReportAllocs()
		for b.Loop() {
			now = now.Add(100 * time.Microsecond)
			d.Record(now, Sample{Successes: 10, Failures: 1})
		}
	})
	b.Run("record on all cores", func(b *testing.B) {
		d := NewFailureRate(Config{})()
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				d.Record(at, failed(1))
			}
		})
	})
}
