package prober

import (
	"sync/atomic"
	"time"
)

// distance is how far a database is: the smoothed round trip of PINGs, in ns; 0 before the first.
type distance struct{ ns atomic.Int64 }

// Scaled stretches a timeout that suits a near database to one that is far: four round trips leave room for a connection
// to be made. Safe for concurrent use.
func (d *distance) Scaled(timeout time.Duration) time.Duration {
	return max(timeout, 4*d.RoundTrip())
}

// RoundTrip is the smoothed round trip of PINGs over established connections; 0 before the first. One atomic load.
func (d *distance) RoundTrip() time.Duration { return time.Duration(d.ns.Load()) }

// saw smooths the round trip. One slow answer must not stretch the timeouts by much, and by nothing that the next quick ones
// do not take back: so it rises by an eighth of the difference, as TCP does, and falls by half.
func (d *distance) saw(took time.Duration) {
	for {
		old := d.ns.Load()
		next := int64(took)
		switch {
		case old == 0:
		case next < old:
			next = old - (old-next)/2
		default:
			next = old + (next-old)/8
		}
		if d.ns.CompareAndSwap(old, max(1, next)) {
			return
		}
	}
}
