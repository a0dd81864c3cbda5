// Package patience decides how long a question may stay without an answer before the silence is a verdict. It counts the time in
// which this process was awake, and follows the distance of the one who is asked.
package patience

import "time"

// Patience is how long one question may wait. The zero value is not useful: see New. Not safe for concurrent use.
type Patience struct {
	step    time.Duration
	timeout time.Duration
	last    time.Time
	waited  time.Duration // since the last sign of life
	total   time.Duration

	roundTrip time.Duration
	reached   bool
}

// Ticks is how many looks a timeout is divided into.
const Ticks = 16

// RoundTrips is how many round trips one phase may take: TCP, TLS, the login, and the question are a phase each.
const RoundTrips = 4

// Connect is the least budget of a first packet that nobody has answered yet. The distance is not known then, and a packet that
// was lost is sent again after a second.
const Connect = 1200 * time.Millisecond

// Phases bounds the whole: somebody who answers every phase but the last must not hold up the verdict for ever.
const Phases = 5

// New begins to wait at now. timeout suits somebody near; roundTrip is the distance as it was last known, or 0.
func New(now time.Time, timeout, roundTrip time.Duration) *Patience {
	return &Patience{step: max(timeout/Ticks, 1), timeout: timeout, last: now, roundTrip: roundTrip}
}

// Step is the time from one Tick to the next.
func (p *Patience) Step() time.Duration { return p.step }

// Tick is called after every Step and reports whether the patience is over. A tick that is late counts as one that is in time
// with a quarter more: the process was paused or starved, so the silence may be our own. After one that is late by a quarter of the
// budget the wait begins anew.
func (p *Patience) Tick(now time.Time) (over bool) {
	took := now.Sub(p.last)
	d := min(took, p.step*5/4)
	p.last = now
	if took-p.step > p.budget()/4 {
		p.waited = 0
	}
	p.waited += d
	p.total += d
	return p.waited >= p.budget() || p.total >= Phases*p.budget()
}

// Reached notes that a connection was made, or that one which had been there is asked, and how long it took to make it (0: it
// was there). From here on the distance is known.
func (p *Patience) Reached(took time.Duration) {
	p.reached = true
	p.roundTrip = max(p.roundTrip, took)
}

// Alive notes that something was read: a phase is over, and the next one has its own budget.
func (p *Patience) Alive() {
	p.reached = true
	p.waited = 0
}

func (p *Patience) budget() time.Duration {
	budget := max(p.timeout, RoundTrips*p.roundTrip)
	if !p.reached {
		budget = max(budget, Connect)
	}
	return budget
}

// Waited is how long nothing has been heard, as the verdict counts it.
func (p *Patience) Waited() time.Duration { return p.waited }
