package prober

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/patience"
)

// TestANewConnectionIsWaitedForWhateverOthersMeet. Events: 1. A database is asked for a new connection, and its dialer takes 900 ms.
// 2. Meanwhile it is asked over a connection that was there. 3. That was taken for a sign that the new connection had been made,
// so the time of a near database was over, and a healthy database was given up.
func TestANewConnectionIsWaitedForWhateverOthersMeet(t *testing.T) {
	const timeout = 400 * time.Millisecond
	var signs signsOfLife
	now := time.Now()
	w := &waiting{Patience: patience.New(now, timeout, 0), signs: &signs, served: func() uint64 { return 0 }, dials: true}
	waits := func(d time.Duration) (over bool) {
		for end := now.Add(d); now.Before(end) && !over; {
			now = now.Add(w.Step())
			over = w.over(now)
		}
		return over
	}
	require.False(t, waits(700*time.Millisecond))
	signs.written.Add(1)
	signs.asking.Add(1)
	require.False(t, waits(100*time.Millisecond))
	signs.asking.Add(-1)
	signs.read.Add(1)
	require.False(t, waits(300*time.Millisecond))

	signs.dialTook.Store(int64(50 * time.Millisecond))
	signs.dialed.Add(1)
	signs.read.Add(1)
	require.False(t, waits(timeout-w.Step()))
	require.True(t, waits(2*w.Step()), "from then on it is near")
}
