package window

import "time"

// clock turns the times that callers bring into time that only goes forwards.
//
// Callers end concurrently, so a reading may be older than one already seen; it then counts as the
// latest. Readings without a monotonic part follow the wall clock, which may be set back by hours: to
// hold still for hours would keep old failures alive for as long, so once such readings have themselves
// advanced by a whole window without catching up, they are believed and time goes on from there.
//
// A caller that is late by up to a window is therefore never believed. One that is later than that, and is
// followed by others that are late as well, makes old outcomes leave early by as much as those are late.
//
// Not safe for concurrent use.
type clock struct {
	window  time.Duration
	started bool
	latest  time.Time     // the reading that elapsed belongs to
	elapsed time.Duration // since the first reading; never decreases

	behind      bool      // every reading since behindSince was older than latest
	behindSince time.Time // the oldest of those
}

// read returns how much time has passed at the reading t.
func (c *clock) read(t time.Time) time.Duration {
	if !c.started {
		c.started, c.latest = true, t
		return c.elapsed
	}
	d := t.Sub(c.latest)
	if d < 0 {
		if c.setBack(t) {
			c.latest, c.behind = t, false
		}
		return c.elapsed
	}
	// A gap of a window empties it; counting more would only bring elapsed nearer to its limit, and
	// t.Sub may have answered with the largest duration there is.
	c.elapsed += min(d, c.window)
	c.latest, c.behind = t, false
	return c.elapsed
}

// setBack tells a clock that was set back from a caller that is late.
func (c *clock) setBack(t time.Time) bool {
	if !c.behind || t.Before(c.behindSince) {
		c.behind, c.behindSince = true, t
		return false
	}
	return t.Sub(c.behindSince) > c.window
}
