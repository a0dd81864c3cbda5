package multidb

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The return comes when the grace period is over, and not up to an interval of health checks later, whenever the outage
// began. (After a short outage the next regular check was not due yet, and only a check leads to a return.)
func TestFailbackDoesNotWaitForTheNextInterval(t *testing.T) {
	for offset := range 5 {
		opt := Options{Failback: Failback{GracePeriod: 300 * time.Millisecond, Jitter: -1}}
		bubble(t, 2, opt, func(h *Hook, dbs []*virtual) {
			time.Sleep(10*time.Second + time.Duration(offset)*time.Second)
			dbs[0].up.Store(false)
			for h.Active() == "a" {
				time.Sleep(10 * time.Millisecond)
			}
			dbs[0].up.Store(true)
			for h.Stats().Databases[0].Breaker != BreakerClosed {
				time.Sleep(10 * time.Millisecond)
			}
			time.Sleep(time.Second)
			require.Equal(t, "a", h.Active(), "a second after it was usable again, with a grace period of 0.3 s")
		})
	}
}
