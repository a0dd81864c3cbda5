package prober

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redishook/multidb/internal/patience"
	"github.com/redishook/multidb/internal/wait"
)

// How one quick question is put, and how long its answer is waited for.

// signsOfLife is what the connections of the probing clients of one database have met, for those who wait for an answer.
type signsOfLife struct {
	dialed, written, read atomic.Uint64
	asking                atomic.Int64 // connections on which a question waits for its answer
	dialTook              atomic.Int64 // of the last dial that succeeded, ns
}

// Ask puts a question to the database, up to n times. It returns nil with the first answer, and an error when all have failed or
// the silence is a verdict. A question that fails fast is followed by the next; one that is slow is joined by the next, on another
// connection, so that a connection that died quietly costs a fraction of the timeout.
func (p *Prober) Ask(ctx context.Context, n int, question Question) error {
	return p.ask(ctx, n, question, newWaiting(p, p.cfg.Timeout))
}

// AskConnect asks for a new connection: see Connect and Ask. What other questions meet meanwhile on connections that were there
// is no sign of it, so the time that suits a first packet goes on until a dial has ended.
func (p *Prober) AskConnect(ctx context.Context, n int) error {
	patient := newWaiting(p, p.cfg.Timeout)
	patient.dials = p.cluster == nil // of a cluster, Connect asks over connections that are there
	return p.ask(ctx, n, p.Connect, patient)
}

func (p *Prober) ask(ctx context.Context, n int, question Question, patient *waiting) error {
	timeout := p.cfg.Timeout
	limit := patience.Phases * max(patience.Connect, p.Scaled(timeout))
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	results := make(chan error, n)
	asked, failed := 0, 0
	askOnce := func() {
		asked++
		if !p.cfg.Go(func() { results <- question(ctx) }) {
			results <- context.Canceled
		}
	}
	tick := time.NewTicker(patient.Step())
	defer tick.Stop()
	late := time.NewTimer(max(timeout/16, 2*p.RoundTrip()))
	defer late.Stop()
	hedge := time.NewTicker(p.Scaled(timeout) / 4)
	defer hedge.Stop()
	askOnce()
	last := errors.New("no answer")
	for {
		select {
		case err := <-results:
			if err == nil || p.cfg.Ctx.Err() != nil {
				return nil // if it is closed, so is the probing client
			}
			last = err
			p.cfg.Late()
			if failed++; failed == n {
				return last
			}
			if asked < n {
				wait.For(ctx, 5*time.Millisecond)
				askOnce()
			}
		case <-late.C:
			p.cfg.Late()
		case <-hedge.C:
			if asked < n {
				askOnce()
			}
		case now := <-tick.C:
			if patient.over(now) {
				return fmt.Errorf("%w: %w", errNoAnswer{patient.Waited().Round(time.Millisecond)}, last)
			}
		case <-ctx.Done():
			if p.cfg.Ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("%w: %w", errNoAnswer{limit}, last)
		}
	}
}

// waiting is the patience with one question, fed by what the connections meet.
type waiting struct {
	*patience.Patience
	signs                 *signsOfLife
	dialed, written, read uint64
	dials                 bool // nothing counts before a dial has ended
}

func newWaiting(p *Prober, timeout time.Duration) *waiting {
	w := &waiting{Patience: patience.New(time.Now(), timeout, p.RoundTrip()), signs: &p.signs}
	w.dialed, w.written, w.read = w.signs.dialed.Load(), w.signs.written.Load(), w.signs.read.Load()
	return w
}

func (w *waiting) over(now time.Time) bool {
	if w.dials && w.signs.dialed.Load() == w.dialed {
		return w.Tick(now)
	}
	w.dials = false
	if written := w.signs.written.Load(); written != w.written || w.signs.asking.Load() > 0 {
		w.written = written // an earlier question may have the connection, so that this one has to dial
		w.Reached(0)
	}
	if dialed := w.signs.dialed.Load(); dialed != w.dialed {
		w.dialed = dialed
		w.Reached(time.Duration(w.signs.dialTook.Load()))
	}
	if read := w.signs.read.Load(); read != w.read {
		w.read = read
		w.Alive()
	}
	return w.Tick(now)
}

// errNoAnswer is the verdict on a database that does not answer.
type errNoAnswer struct{ within time.Duration }

// NoAnswer tells a verdict of silence from others, where errors alone are looked at.
func (e errNoAnswer) NoAnswer() {}

func (e errNoAnswer) Error() string { return "no probe answered within " + e.within.String() }
