package health

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/wait"
	"github.com/redishook/multidb/window"
)

// What failure detectors say about the traffic, and what follows from it.

// reexamination is a verdict of the detectors that is being put to a cluster.
type reexamination struct {
	h        *Health
	underWay atomic.Bool
}

// reexamineAfter is how long traffic must go on to fail on a cluster that is whole.
const reexamineAfter = 100 * time.Millisecond

// DetectorError is the verdict of a failure detector, with the last failure that it has seen: the reply (READONLY, say) tells what
// to do, and a number of failures does not.
type DetectorError struct {
	reason string
	last   error
}

func (e *DetectorError) Error() string {
	text := "failure detector: " + e.reason
	if e.last == nil || strings.Contains(e.reason, e.last.Error()) {
		return text
	}
	return text + "; the last one: " + e.last.Error()
}

func (e *DetectorError) Unwrap() error { return e.last }

// Failed counts a failure of the database, makes it suspect, and asks the detectors: a PING that passes does not overrule traffic
// that keeps failing.
func (h *Health) Failed(cause error) {
	h.traffic.Failures.Add(1)
	h.Suspect(cause)
	if !goredis.IsReply(cause) && h.cfg.Connections != nil && h.traffic.PartOfBurst(time.Now(), h.cfg.Connections()) {
		return // one event has taken many connections, and was counted
	}
	h.Consult(1)
}

// Consult gives the detectors what has been counted since the last time and acts on their verdicts.
func (h *Health) Consult(failures uint64) {
	generation := h.Generation()
	verdict := h.traffic.Sample(failures)
	if !verdict.Failing || !h.isActive() {
		return
	}
	if h.prober.Cluster() != nil {
		h.reexamination.begin(generation, verdict)
		return
	}
	h.TripByTraffic(generation, verdict.Reason)
}

// begin puts the verdict of a detector to the cluster. If a master of the cluster is being replaced, the traffic of that
// one fails, and the verdict is void. Otherwise traffic that keeps failing has the word, as everywhere.
func (r *reexamination) begin(generation uint64, verdict window.Verdict) {
	if !r.underWay.CompareAndSwap(false, true) {
		return
	}
	started := r.h.fleet.Go(func() {
		defer r.underWay.Store(false)
		ctx, cancel := context.WithTimeout(r.h.ctx, r.h.prober.Scaled(r.h.cfg.Timeout))
		defer cancel()
		if err := r.h.checks.ping(ctx); err != nil {
			r.h.Suspect(err)
			return
		}
		if r.h.prober.Degraded() != nil {
			r.h.traffic.Reset()
			return
		}
		wait.For(r.h.ctx, reexamineAfter)
		if again := r.h.traffic.Sample(0); again.Failing && r.h.prober.Degraded() == nil {
			r.h.TripByTraffic(generation, verdict.Reason)
		}
	})
	if !started {
		r.underWay.Store(false)
	}
}
