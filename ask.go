package multidb

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/patience"
	"github.com/redishook/multidb/internal/wait"
	"github.com/redishook/multidb/probes"
)

// How a database is asked one quick question, and how long its answer is waited for.

// signsOfLife is what the connections of the probing clients of one database have met, for those who wait for an answer.
type signsOfLife struct {
	dialed, written, read atomic.Uint64
	asking                atomic.Int64 // connections on which a question waits for its answer
	dialTook              atomic.Int64 // of the last dial that succeeded, ns
}

// confirm asks the database itself by PING. It returns nil as soon as one probe passes, and an error when confirmProbes of them
// have failed or the silence is a verdict. A probe that fails fast is followed by the next; one that is slow is joined by the
// next, on another connection, so that a connection that died quietly costs a fraction of the timeout.
func (h *Hook) confirm(db *database) error { return h.ask(h.ctx, db, confirmProbes, h.ping) }

// ask puts a question to a database, up to n times. It returns nil with the first answer.
func (h *Hook) ask(ctx context.Context, db *database, n int, question func(context.Context, *database) error) error {
	timeout := h.opt.Health.Timeout
	limit := patience.Phases * max(patience.Connect, db.scaled(timeout))
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	results := make(chan error, n)
	asked, failed := 0, 0
	askOnce := func() {
		asked++
		if !h.spawn(func() { results <- question(ctx, db) }) {
			results <- ErrClosed
		}
	}
	patient := newWaiting(db, timeout)
	tick := time.NewTicker(patient.Step())
	defer tick.Stop()
	late := time.NewTimer(max(timeout/16, 2*db.roundTrip()))
	defer late.Stop()
	hedge := time.NewTicker(db.scaled(timeout) / 4)
	defer hedge.Stop()
	askOnce()
	last := errors.New("no answer")
	for {
		select {
		case err := <-results:
			if err == nil || h.isClosed() {
				return nil // if it is closed, so is the probing client
			}
			last = err
			h.suspectOthers(db)
			if failed++; failed == n {
				return last
			}
			if asked < n {
				wait.For(ctx, 5*time.Millisecond)
				askOnce()
			}
		case <-late.C:
			h.suspectOthers(db)
		case <-hedge.C:
			if asked < n {
				askOnce()
			}
		case now := <-tick.C:
			if patient.over(now) {
				return fmt.Errorf("%w: %w", errNoAnswer{patient.Waited().Round(time.Millisecond)}, last)
			}
		case <-ctx.Done():
			if h.isClosed() {
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
}

func newWaiting(db *database, timeout time.Duration) *waiting {
	w := &waiting{Patience: patience.New(time.Now(), timeout, db.roundTrip()), signs: &db.signs}
	w.dialed, w.written, w.read = w.signs.dialed.Load(), w.signs.written.Load(), w.signs.read.Load()
	return w
}

func (w *waiting) over(now time.Time) bool {
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

// ping is one quick probe. An answer of any kind that is about the prober's rights proves the database alive.
func (h *Hook) ping(ctx context.Context, db *database) error {
	began := time.Now()
	err := h.pingOnce(ctx, db)
	h.events.checked(HealthCheck{Database: db.name, Err: err, Took: time.Since(began), Quick: true})
	return err
}

// pingOnce sends PING. One that has not returned long after its time, in spite of probeConn, is left to itself: it may be in a
// credentials provider of the user's.
func (h *Hook) pingOnce(ctx context.Context, db *database) error {
	if db.cluster != nil {
		return beside(ctx, func() error { return clusterCheck{db}.Check(ctx, db.target) })
	}
	return beside(ctx, func() error {
		target := db.target
		target.Client = db.probe
		err := probes.Ping().Check(ctx, target)
		if probes.OutcomeOf(err) == probes.NotPermitted && (!redis.IsAuthError(err) || h.inUse(db)) {
			h.forbidden(db, err)
			return nil
		}
		return err
	})
}

// beside runs a question that may be in a function of the user's and not heed its context. It is left to itself a little after
// the end of ctx.
func beside(ctx context.Context, question func() error) error {
	answer := make(chan error, 1)
	go func() { answer <- question() }()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
	}
	late := time.NewTimer(2 * probeGrace)
	defer late.Stop()
	select {
	case err := <-answer:
		return err
	case <-late.C:
		return context.DeadlineExceeded
	}
}
