package window

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSlow(t *testing.T) {
	cfg := SlowConfig{Bound: 50 * ms, Share: 0.5, MinCommands: 4, Window: 2 * sec, Buckets: 10}
	off := cfg
	off.MinCommands = -1

	tests := []struct {
		name  string
		cfg   SlowConfig
		steps []step
	}{
		{"nothing has happened", cfg, []step{{at: 0}}},
		{"trips at exactly both thresholds", cfg, []step{
			{at: 0, sample: Sample{Successes: 3, Slow: 2}},
			{at: 0, sample: Sample{Successes: 1}, want: "2 of 4 answered commands took longer than 50ms within 2s"},
			{at: 0, sample: Sample{Successes: 1}},
		}},
		{"failures neither make it slow nor fast", cfg, []step{
			{at: 0, sample: Sample{Failures: 100}},
			{at: 0, sample: Sample{Successes: 4, Slow: 2, Failures: 100}, want: "2 of 4 answered commands took longer than 50ms within 2s"},
		}},
		{"expires on read", cfg, []step{
			{at: 0, sample: Sample{Successes: 4, Slow: 4}, want: "4 of 4 answered commands took longer than 50ms within 2s"},
			{at: 2 * sec},
		}},
		{"a share reached by fast commands growing old", cfg, []step{
			{at: 0, sample: Sample{Successes: 100}},
			{at: 1 * sec, sample: Sample{Successes: 4, Slow: 2}},
			{at: 2 * sec, want: "2 of 4 answered commands took longer than 50ms within 2s"},
		}},
		{"MinCommands off", off, []step{
			{at: 0, sample: Sample{Successes: 1, Slow: 1}, want: "1 of 1 answered commands took longer than 50ms within 2s"},
		}},
		{"the default", SlowConfig{Bound: sec}, []step{
			{at: 0, sample: Sample{Successes: 19, Slow: 19}},
			{at: 4 * sec, sample: Sample{Successes: 19}, want: "19 of 38 answered commands took longer than 1s within 5s"},
			{at: 4 * sec, sample: Sample{Successes: 1}},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { run(t, NewSlow(tt.cfg), tt.steps) })
	}
}

func TestOnlySlowAsksForDurations(t *testing.T) {
	timed, is := NewSlow(SlowConfig{Bound: 70 * ms})().(Timed)
	require.True(t, is)
	assert.Equal(t, 70*ms, timed.SlowerThan())

	_, is = NewFailureRate(Config{})().(Timed)
	assert.False(t, is)
}

func TestSlowConfigValidate(t *testing.T) {
	assert.NoError(t, SlowConfig{Bound: 1}.Validate())
	assert.NoError(t, SlowConfig{Bound: sec, Share: 1, MinCommands: -1, Window: time.Hour, Buckets: 1000}.Validate())

	for _, share := range []float64{-0.1, 1.1, math.NaN()} {
		assert.ErrorContains(t, SlowConfig{Bound: sec, Share: share}.Validate(), "Share = ")
	}
	err := SlowConfig{Share: 2, Window: -1, Buckets: -1}.Validate()
	for _, field := range []string{"Bound = 0s: must", "Share = 2: must", "Window = -1ns: must", "Buckets = -1: must"} {
		assert.ErrorContains(t, err, field)
	}
	assert.Equal(t, err, NewSlow(SlowConfig{Share: 2, Window: -1, Buckets: -1}).Validate())
}
