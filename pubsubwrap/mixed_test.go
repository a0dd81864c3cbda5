package pubsubwrap

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCrashRightAfterAPlannedSwitch: back to the database that was just left, and still lingers.
func TestCrashRightAfterAPlannedSwitch(t *testing.T) {
	p := newPair(t)
	sub, err := PSubscribe(t.Context(), p.rdb, "news:*")
	require.NoError(t, err)
	w := startPress(p.rdb)
	stop := w.readAll(sub, true)
	defer stop()
	for range crashes() {
		w.more(t, 200)
		other := "west"
		if p.hook.Active() == other {
			other = "east"
		}
		require.NoError(t, p.hook.SetActive(t.Context(), other))
		p.hook.Release()
		w.more(t, 50)
		p.crash(t)
	}
	w.end()
	w.arrived(t)
	lost, unsaid := w.missing()
	w.mu.Lock()
	defer w.mu.Unlock()
	t.Logf("%d messages, %d notices, %d lost in gaps", w.count.Load(), len(w.notices), lost)
	require.Empty(t, w.wrong)
	require.Empty(t, unsaid)
}
