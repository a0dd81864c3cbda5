package window

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFailureRate(t *testing.T) {
	// Ten buckets of 200 ms in 2 s.
	cfg := Config{MinFailures: 3, FailureRate: 0.5, Window: 2 * sec, Buckets: 10}
	with := func(change func(*Config)) Config {
		c := cfg
		change(&c)
		return c
	}

	tests := []struct {
		name  string
		cfg   Config
		steps []step
	}{
		{"nothing has happened", cfg, []step{{at: 0}}},
		{"trips at exactly both thresholds", cfg, []step{
			{at: 0, sample: Sample{Successes: 3, Failures: 2}},
			{at: 0, sample: failed(1), want: "3 of 6 commands failed within 2s"},
		}},
		{"enough failures and too low a rate", cfg, []step{
			{at: 0, sample: Sample{Successes: 4, Failures: 3}},
		}},
		{"enough of a rate and too few failures", cfg, []step{
			{at: 0, sample: failed(2)},
		}},
		{"successes end it", cfg, []step{
			{at: 0, sample: failed(3), want: "3 of 3 commands failed within 2s"},
			{at: 0, sample: ok(4)},
		}},
		{"failures expire on read", cfg, []step{
			{at: 0, sample: failed(3), want: "3 of 3 commands failed within 2s"},
			{at: 1999 * ms, want: "3 of 3 commands failed within 2s"},
			{at: 2000 * ms},
		}},
		{"failures expire on write", cfg, []step{
			{at: 0, sample: failed(2)},
			{at: 2000 * ms, sample: failed(2)},
			{at: 2000 * ms, sample: failed(1), want: "3 of 3 commands failed within 2s"},
		}},
		{"a rate reached by successes growing old, with nothing recorded since", cfg, []step{
			{at: 0, sample: ok(100)},
			{at: 1000 * ms, sample: failed(3)},
			{at: 1999 * ms},
			{at: 2000 * ms, want: "3 of 3 commands failed within 2s"},
		}},
		{"one bucket leaves at a time", cfg, []step{
			{at: 199 * ms, sample: failed(1)}, // time begins here
			{at: 399 * ms, sample: failed(1)},
			{at: 599 * ms, sample: failed(2), want: "4 of 4 commands failed within 2s"},
			{at: 2198 * ms, want: "4 of 4 commands failed within 2s"},
			{at: 2199 * ms, want: "3 of 3 commands failed within 2s"},
			{at: 2399 * ms},
		}},
		{"a pause of many windows", cfg, []step{
			{at: 0, sample: failed(3), want: "3 of 3 commands failed within 2s"},
			{at: 24 * time.Hour},
			{at: 24 * time.Hour, sample: failed(3), want: "3 of 3 commands failed within 2s"},
			{at: 24*time.Hour + 1800*ms, want: "3 of 3 commands failed within 2s"},
			{at: 24*time.Hour + 2000*ms},
		}},
		{"reset forgets", cfg, []step{
			{at: 0, sample: failed(3), want: "3 of 3 commands failed within 2s"},
			{at: 0, reset: true},
			{at: 0, sample: failed(2)},
			{at: 0, sample: failed(1), want: "3 of 3 commands failed within 2s"},
		}},
		{"a clock that goes backwards counts as the latest time", cfg, []step{
			{at: 10 * sec, sample: failed(2)},
			{at: 9 * sec, sample: failed(1), want: "3 of 3 commands failed within 2s"},
			{at: 9 * sec, want: "3 of 3 commands failed within 2s"},
			{at: 11999 * ms, want: "3 of 3 commands failed within 2s"},
			{at: 12 * sec},
		}},
		{"MinFailures off", with(func(c *Config) { c.MinFailures = -1 }), []step{
			{at: 0, sample: ok(1)},
			{at: 0, sample: failed(1), want: "1 of 2 commands failed within 2s"},
			{at: 0, sample: ok(1)},
		}},
		{"FailureRate off", with(func(c *Config) { c.FailureRate = -1 }), []step{
			{at: 0, sample: ok(1_000_000)},
			{at: 0, sample: failed(2)},
			{at: 0, sample: failed(1), want: "3 of 1000003 commands failed within 2s"},
		}},
		{"the rate is not rounded up", with(func(c *Config) { c.FailureRate = 0.1 }), []step{
			{at: 0, sample: Sample{Successes: 900_001, Failures: 99_999}}, // 9.9999 %
			{at: 0, sample: failed(2), want: "100001 of 1000002 commands failed within 2s"},
		}},
		{"the rate of a decimal fraction is met exactly", with(func(c *Config) { c.FailureRate = 0.07 }), []step{
			{at: 0, sample: Sample{Successes: 93, Failures: 7}, want: "7 of 100 commands failed within 2s"},
			{at: 0, sample: ok(1)},
		}},
		{"a rate of 1", with(func(c *Config) { c.FailureRate = 1 }), []step{
			{at: 0, sample: failed(3), want: "3 of 3 commands failed within 2s"},
			{at: 0, sample: ok(1)},
		}},
		{"one bucket is a window that ends at once", with(func(c *Config) { c.Buckets = 1 }), []step{
			{at: 0, sample: failed(3), want: "3 of 3 commands failed within 2s"},
			{at: 1999 * ms, want: "3 of 3 commands failed within 2s"},
			{at: 2 * sec},
		}},
		{"the default", Config{}, []step{
			{at: 0, sample: ok(10)},
			{at: 1 * sec, sample: failed(1)},
			{at: 2 * sec, sample: failed(1)},
			{at: 3 * sec, sample: failed(1)},
			{at: 4 * sec, sample: failed(1)},
			{at: 5 * sec, sample: failed(1), want: "5 of 5 commands failed within 5s"},
		}},
		{"the peers' preset", Peers(), []step{
			{at: 0, sample: Sample{Successes: 9000, Failures: 999}},
			{at: 0, sample: failed(1), want: "1000 of 10000 commands failed within 2s"},
			{at: 0, sample: ok(1)},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { run(t, NewFailureRate(tt.cfg), tt.steps) })
	}
}

func TestFactoryMakesIndependentDetectors(t *testing.T) {
	f := NewFailureRate(Config{})
	east, west := f(), f()
	east.Record(t0, failed(100))
	assert.True(t, east.Verdict(t0).Failing)
	assert.False(t, west.Verdict(t0).Failing)
}

func TestConfigValidate(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
		want []string // each problem; empty when there is none
	}{
		{"zero value", Config{}, nil},
		{"peers", Peers(), nil},
		{"MinFailures off", Config{MinFailures: -1}, nil},
		{"FailureRate off", Config{FailureRate: -1}, nil},
		{"every field at its limit", Config{MinFailures: 1, FailureRate: 1, Window: time.Hour, Buckets: 1000}, nil},
		{"both off", Config{MinFailures: -1, FailureRate: -0.5}, []string{"MinFailures = -1 and FailureRate = -0.5: must not both be off"}},
		{"percent", Config{FailureRate: 10}, []string{"FailureRate = 10: must be a share of at most 1, 0 for the default or negative for off"}},
		{"NaN", Config{FailureRate: math.NaN()}, []string{"FailureRate = NaN: must be"}},
		{"too many buckets for the window", Config{Window: 10 * ms}, []string{"Window = 10ms: must be 1ms or more for each of 20 Buckets"}},
		{"too long", Config{Window: math.MaxInt64}, []string{"Window = 2562047h47m16.854775807s: must be positive and at most 1h0m0s"}},
		{"all at once", Config{FailureRate: 2, Window: -sec, Buckets: -1}, []string{
			"FailureRate = 2: must be", "Window = -1s: must be positive", "Buckets = -1: must be positive",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.cfg.Validate()
			assert.Equal(t, err, NewFailureRate(tt.cfg).Validate(), "the factory reports the same")
			if tt.want == nil {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			for _, problem := range tt.want {
				assert.ErrorContains(t, err, problem)
			}
			many, isJoined := err.(interface{ Unwrap() []error })
			require.True(t, isJoined)
			assert.Len(t, many.Unwrap(), len(tt.want))
		})
	}
}

func TestFactoryValidate(t *testing.T) {
	assert.EqualError(t, Factory(nil).Validate(), "window: the Factory is nil")
	assert.EqualError(t, Factory(func() Detector { return nil }).Validate(), "window: the Factory made a nil Detector")
	assert.NoError(t, Factory(func() Detector { return newSliding(sec, 1, failureRate{}) }).Validate())

	d := NewFailureRate(Config{FailureRate: 7})()
	d.Record(t0, failed(1_000_000))
	assert.False(t, d.Verdict(t0).Failing, "wrong settings never trip")
	d.Reset()
}
