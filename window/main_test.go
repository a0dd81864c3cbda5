package window

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// t0 is where virtual time begins in the tests of this package.
var t0 = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func after(d time.Duration) time.Time { return t0.Add(d) }

// step is one thing done to a detector in a table test.
type step struct {
	at     time.Duration
	sample Sample
	reset  bool
	want   string // the reason of the verdict after the step; empty for none
}

func run(t *testing.T, f Factory, steps []step) {
	t.Helper()
	require.NoError(t, f.Validate())
	d := f()
	for i, s := range steps {
		if s.reset {
			d.Reset()
		}
		if s.sample != (Sample{}) {
			d.Record(after(s.at), s.sample)
		}
		got := d.Verdict(after(s.at))
		assert.Equal(t, Verdict{Failing: s.want != "", Reason: s.want}, got, "step %d at %v", i, s.at)
	}
}

func ok(n uint64) Sample     { return Sample{Successes: n} }
func failed(n uint64) Sample { return Sample{Failures: n} }

const (
	ms  = time.Millisecond
	sec = time.Second
)
