package health

import (
	"sync/atomic"
	"time"
)

// pulse is when the database has proved alive last. Safe for concurrent use.
type pulse struct {
	clockStart time.Time
	lastHeard  atomic.Int64 // by traffic or by a probe; ns since clockStart, so that no clock step counts
	served     atomic.Int64 // when traffic was answered last; ns since clockStart, 0: never
}

// heard notes that the database has proved alive.
func (p *pulse) heard(at time.Time) { p.lastHeard.Store(int64(at.Sub(p.clockStart))) }

// answered notes that traffic was answered.
func (p *pulse) answered(at time.Time) {
	p.served.Store(int64(at.Sub(p.clockStart)))
	p.heard(at)
}

// silence is how long ago the database has proved alive.
func (p *pulse) silence() time.Duration {
	return time.Since(p.clockStart) - time.Duration(p.lastHeard.Load())
}

// servedWithin reports whether traffic has been answered in that time.
func (p *pulse) servedWithin(d time.Duration) bool {
	at := p.served.Load()
	return at != 0 && time.Since(p.clockStart)-time.Duration(at) < d
}
