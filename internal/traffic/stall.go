package traffic

import "time"

// Stall measures how long requests have been outstanding without one byte being read. It belongs to one goroutine.
type Stall struct {
	of          any // whose connections they are
	reads       uint64
	since       time.Time
	outstanding bool
}

// Look returns how long nothing has been read although something is outstanding, and whether anything was read since the last
// look. reads counts what was read. After a rest nobody knows since when something is outstanding.
func (s *Stall) Look(of any, reads uint64, outstanding, rested bool, now time.Time) (quiet time.Duration, served bool) {
	served = of == s.of && reads != s.reads
	if of != s.of || reads != s.reads || !outstanding || rested {
		s.of, s.reads, s.since = of, reads, now
	}
	s.outstanding = outstanding
	return now.Sub(s.since), served
}

// Calm reports whether nothing is outstanding, and nothing has happened since another look.
func (s *Stall) Calm(before Stall) bool {
	return s.of == before.of && s.reads == before.reads && !s.outstanding
}

// PutOff puts off the next suspicion of the same silence: blocking commands are silent by nature.
func (s *Stall) PutOff(now time.Time, rest time.Duration) {
	s.since = now.Add(max(0, rest))
}
