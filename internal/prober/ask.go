package prober

import (
	"context"
	"errors"
	"fmt"
	"runtime"
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
	return p.AskWithin(ctx, n, p.cfg.Timeout, question)
}

// AskWithin is Ask with another time for the answer.
func (p *Prober) AskWithin(ctx context.Context, n int, timeout time.Duration, question Question) error {
	return p.ask(ctx, n, timeout, question, newWaiting(p, timeout))
}

// AskConnect asks for a new connection: see Connect and AskNew.
func (p *Prober) AskConnect(ctx context.Context, n int) error { return p.AskNew(ctx, n, p.Connect) }

// AskNew is Ask for a question that needs a new connection. What other questions meet meanwhile on connections that were there is no
// sign of it, so the time that suits a first packet goes on until a dial has ended.
func (p *Prober) AskNew(ctx context.Context, n int, question Question) error {
	patient := newWaiting(p, p.cfg.Timeout)
	patient.dials = p.cluster == nil // of a cluster, Connect asks over connections that are there
	return p.ask(ctx, n, p.cfg.Timeout, question, patient)
}

func (p *Prober) ask(ctx context.Context, n int, timeout time.Duration, question Question, patient *waiting) error {
	limit := patience.Phases * max(patience.Connect, p.Scaled(timeout))
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer func() { cancel() }()
	results := make(chan answer, n)
	stood := !patient.dials && p.quick.PoolStats().IdleConns > 0 // the first question has a connection that was there
	asked, failed := 0, 0
	askOnce := func() {
		asked++
		number := asked
		if !p.cfg.Go(func() { results <- answer{question(ctx), number == 1} }) {
			results <- answer{context.Canceled, number == 1}
		}
	}
	tick := time.NewTicker(patient.Step())
	defer tick.Stop()
	late := time.NewTimer(max(p.cfg.Timeout/16, 2*p.RoundTrip()))
	defer late.Stop()
	hedge := time.NewTicker(p.Scaled(p.cfg.Timeout) / 4)
	defer hedge.Stop()
	askOnce()
	last := errors.New("no answer")
	for {
		select {
		case a := <-results:
			stood = stood && !a.first
			if a.err == nil && stood {
				end := cancel
				cancel = func() {} // the first question is still waited for
				if !p.cfg.Go(func() { defer end(); p.awaitFirst(results) }) {
					end()
				}
			}
			if a.err == nil || p.cfg.Ctx.Err() != nil {
				return nil // if it is closed, so is the probing client
			}
			last = a.err
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
		case <-tick.C:
			// A process that is short of processors runs whoever waits for a timer at once, and whoever waits for the network in
			// its turn. So this goroutine waits for its turn as well, or it would be in time while the answer is late.
			runtime.Gosched()
			if !patient.over(time.Now()) {
				break
			}
			wait.For(ctx, lastLook) // what has arrived may not have been read yet, by a process that is short of processors
			select {
			case a := <-results:
				if a.err == nil {
					return nil
				}
			default:
			}
			if !patient.heard() {
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

// lastLook is how long before a verdict of silence is looked once more for an answer.
const lastLook = 3 * time.Millisecond

// answer is what one of several questions has met.
type answer struct {
	err   error
	first bool // it is the answer to the first question
}

// retransmitted is when a packet that was lost has come after all, near by: it is sent again after 200 ms.
const retransmitted = 250 * time.Millisecond

// awaitFirst waits a little for the answer to the first question, which was put on a connection that had stood. A later one, on a
// connection that was made for it, has been answered. A server that was frozen answers all of them at once. One that has forgotten
// its connections, or something in between, does not.
func (p *Prober) awaitFirst(results <-chan answer) {
	silent := patience.New(time.Now(), retransmitted, p.RoundTrip())
	silent.Reached(0)
	tick := time.NewTicker(silent.Step())
	defer tick.Stop()
	for {
		select {
		case a := <-results:
			if a.first {
				return // a connection that broke is not silent
			}
		case now := <-tick.C:
			if silent.Tick(now) {
				p.cfg.Forgotten()
				return
			}
		case <-p.cfg.Ctx.Done():
			return
		}
	}
}

// waiting is the patience with one question, fed by what the connections meet.
type waiting struct {
	*patience.Patience
	signs                 *signsOfLife
	served                func() uint64
	dialed, written, read uint64
	reads                 uint64 // by users
	dials                 bool   // nothing counts before a dial has ended
}

func newWaiting(p *Prober, timeout time.Duration) *waiting {
	w := &waiting{Patience: patience.New(time.Now(), timeout, p.RoundTrip()), signs: &p.signs, served: p.cfg.Reads, reads: p.cfg.Reads()}
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
	w.heard()
	return w.Tick(now)
}

// heard reports whether something was read since the last time. What users have read counts: the way may have become longer than the
// answer may take, and replies arrive.
func (w *waiting) heard() bool {
	read, reads := w.signs.read.Load(), w.served()
	if read == w.read && reads == w.reads {
		return false
	}
	w.read, w.reads = read, reads
	w.Alive()
	return true
}

// errNoAnswer is the verdict on a database that does not answer.
type errNoAnswer struct{ within time.Duration }

// NoAnswer tells a verdict of silence from others, where errors alone are looked at.
func (e errNoAnswer) NoAnswer() {}

func (e errNoAnswer) Error() string { return "no probe answered within " + e.within.String() }
