package pair

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/load"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// RequireExact asserts what may be asserted of a counter that the load has added 1 to: every success is there, and nothing
// is there that was neither a success nor reported as unknown.
func (p *Pair) RequireExact(t testing.TB, key string, l *load.Load) {
	t.Helper()
	sum := p.Sum(t, key)
	t.Logf("successes %d, unknown %d, sum over both databases %d", l.Ops.Load(), l.Unknown.Load(), sum)
	require.GreaterOrEqual(t, sum, l.Ops.Load(), "a reported success is lost")
	require.LessOrEqual(t, sum, l.Ops.Load()+l.Unknown.Load(), "something was executed twice")
}

// RequireOneSwitch asserts that there was one switch, from east to west, for the reason and with a cause.
func (p *Pair) RequireOneSwitch(t testing.TB, reason multidb.Reason) {
	t.Helper()
	redistest.Eventually(t, time.Second, "the event", func() bool { return len(p.Switched()) > 0 })
	switches := p.Switched()
	require.Len(t, switches, 1)
	require.Equal(t, reason, switches[0].Reason)
	require.Error(t, switches[0].Cause)
	require.Equal(t, []string{"east", "west"}, []string{switches[0].From, switches[0].To})
}
