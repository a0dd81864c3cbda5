package health

import (
	"context"
	"errors"
	"time"

	"github.com/redishook/multidb/internal/goredis"
)

// A database that answers PING may be left for what it does with traffic: it refuses requests, or holds writes back. Two in the same
// trouble are no reason to move, so the alternative is asked the same first, and grace holds for such moves as well.

// nowhereFloor is how long the answer that no other database is better off stands.
const nowhereFloor = 500 * time.Millisecond

// refusedError is the verdict that traffic is refused here and would be served elsewhere.
type refusedError struct{ *DetectorError }

func (e refusedError) Unwrap() error { return e.DetectorError }

// refusing is a database that refuses requests, or that may.
type refusing struct{ *Health }

func asRefusing(h *Health) refusing { return refusing{h} }

// TripByTraffic acts on what traffic has met, if there is another database to go to. If there is none, failing traffic is still better
// than none, and the callers see the errors themselves. Replies are evidence that is put to the other databases; the rest is a verdict.
func (h *Health) TripByTraffic(generation uint64, reason string) {
	if !h.fleet.HasAlternative() {
		h.traffic.Reset()
		return
	}
	verdict := &DetectorError{reason, h.traffic.LastFailure(time.Now())}
	if verdict.last == nil || !goredis.IsReply(verdict.last) {
		h.Trip(generation, Outage{ByTraffic: true, Cause: verdict})
		return
	}
	asRefusing(h).suspect(generation, verdict)
}

// suspect makes the database suspect of refusing what another one would do.
func (h refusing) suspect(generation uint64, verdict *DetectorError) {
	h.mu.Lock()
	known := h.breaker.generation != generation || time.Now().Before(h.nowhereUntil)
	if !known {
		if s := h.suspectLocked(verdict, kindReply); s.refused == nil {
			s.refused = verdict
		}
	}
	h.mu.Unlock()
	if !known {
		h.Nudge()
	}
}

// confirm asks the other databases whether they would do what is refused here.
func (h refusing) confirm(verdict *DetectorError) error {
	if !h.inUse() {
		return nil
	}
	if h.fleet.AlternativePasses(Serves(verdict.last)) {
		return refusedError{verdict}
	}
	h.mu.Lock()
	h.nowhereUntil = time.Now().Add(nowhereFloor)
	h.mu.Unlock()
	h.fleet.Go(h.traffic.Reset) // the detectors may be a user's
	h.listener.NowhereBetter(verdict)
	return nil
}

// verdict returns what is refused, by traffic or by the answer to the last PING; nil if nothing is.
func (h refusing) verdict() *DetectorError {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.suspicion != nil && h.suspicion.refused != nil {
		return h.suspicion.refused
	}
	if err := h.prober.RefusesWrites(); err != nil {
		return &DetectorError{"PING is refused", err}
	}
	return nil
}

// steady reports whether the database may be moved to because another one refuses requests or holds them back. One that was left for
// that itself, or has failed again and again, must have been healthy for its grace period.
func (h refusing) steady() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.breaker.grace.failed.IsZero() || !h.breaker.lastOutage.answered() && h.breaker.grace.period <= h.breaker.grace.least() {
		return true
	}
	return h.breaker.state() == Closed && time.Since(h.breaker.since) >= h.breaker.grace.current
}

// answered reports an outage of a database that answered PING.
func (o Outage) answered() bool {
	return errors.As(o.Cause, new(*DetectorError)) || errors.As(o.Cause, new(writeError))
}

// still asks a database that was left because it refused requests whether it still does, before a planned return.
func (h refusing) still(ctx context.Context) error {
	if h.isActive() {
		return nil
	}
	if err := h.prober.RefusesWrites(); err != nil {
		return err
	}
	var verdict *DetectorError
	if !errors.As(h.Outage().Cause, &verdict) || verdict.last == nil || !goredis.IsReply(verdict.last) {
		return nil
	}
	return h.serve(ctx, verdict.last)
}

// serve asks the database whether it would do what was refused with that reply.
func (h refusing) serve(ctx context.Context, refused error) error {
	return h.prober.Ask(ctx, 1, func(ctx context.Context) error { return h.prober.Serve(ctx, refused) })
}
