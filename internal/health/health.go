// Package health decides whether one database is well: evidence makes it suspect, probes confirm or clear that, the verdict opens
// or closes its breaker, and checks decide about its recovery. What follows for the choice of a database is not known here: the
// verdict is told to the Fleet, which is implemented by the hook.
package health

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redishook/multidb/internal/prober"
	"github.com/redishook/multidb/internal/traffic"
)

// Config is what the health of one database is decided by. All durations are those of the options of the hook.
type Config struct {
	Name string

	Timeout        time.Duration // of a quick question
	Interval       time.Duration // between the regular rounds of checks
	ActiveInterval time.Duration // how long the active database may be silent before it is asked
	StallTimeout   time.Duration // how long a dial or a handshake may take before the database is suspect; 0 or less: for ever

	BreakerDelay     time.Duration // how long the breaker stays open before it is tried
	BreakerSuccesses int           // how many trials close it
	Grace            GraceRule

	// Databases is how many share the interval, and StartedAt when it began: the rounds of all are spread over it.
	Databases int
	StartedAt time.Time

	// Connections is how many connections the database has, or had a moment ago; nil: nobody knows.
	Connections func() int

	// Locate adds the place of the database to an error that does not name it. It is called with the lock of health held.
	Locate func(error) error
}

// Fleet is what the health of one database must know of the others, and what it asks of whoever chooses among them. The methods
// are called without the lock of health held, from any goroutine.
type Fleet interface {
	// Role reports whether the database is the one in use, or would be in a dry run; and whether no database is usable.
	Role() (active, down bool)
	// Review asks for a decision: a database has become usable or has ceased to be.
	Review()
	// SuspectOthers makes all other usable databases suspect, because this one has not answered at once.
	SuspectOthers()
	// BestAlternative returns the verdict that the database which would be moved to waits for; nil if it waits for none.
	BestAlternative() <-chan struct{}
	// AlternativePasses reports whether a database that would be moved to passes the act.
	AlternativePasses(act Act) bool
	// HasAlternative reports whether another database is usable.
	HasAlternative() bool
	// AmongReplicas reports whether the database in use is a replica.
	AmongReplicas() bool
	// Prefers reports whether the database would be returned to once its grace period is over.
	Prefers() bool
	// Failback considers a return to the database, which has just passed all of its checks.
	Failback(ctx context.Context)
	// Recheck asks for a regular check of all databases, because what a choice is made of has changed.
	Recheck()
	// Go starts a goroutine that somebody joins, unless all is ending: then it reports false.
	Go(f func()) bool
}

// Listener is told what happens. The methods must not block.
type Listener interface {
	// Suspected and Changed are called with the lock of health held, so that the order of what is told is that of what has
	// happened. They may only put something into a queue.
	Suspected(cause error)
	Changed(change Change)
	// Cleared is told of a suspicion that was about nothing, and how long after it.
	Cleared(cause error, after time.Duration)
	// Checked is told of one check: its error, its time, and whether it was a quick question.
	Checked(err error, took time.Duration, quick bool)
	// Forbidden is told of a check that has no right to ask.
	Forbidden(err error)
	// OwnFault is told of a failure that this process has met by itself.
	OwnFault(err error)
	// ProberCannotConnect is told of a database that keeps its place because its traffic is served.
	ProberCannotConnect(err error)
	// NowhereBetter is told of a database that keeps its place because no other passes the act that it has failed.
	NowhereBetter(err error)
}

// Change is the breaker of the database opening or closing.
type Change struct {
	State, From State
	Cause       error         // why it is not usable; nil if it is
	Lasted      time.Duration // how long it was not usable before
}

// Health is whether one database is well. Make it with New, and have Run running. Safe for concurrent use.
//
// Its parts have a type each: breaker (the state), confirmer (what becomes of a suspicion), checks (what the answers of checks mean),
// refusing (traffic that is refused), reexamination (detectors against a cluster), pulse (when it proved alive) and loop, which has
// all of them asked in turn. One lock, mu, is for the breaker and the suspicion, because a verdict moves both.
type Health struct {
	cfg      Config
	ctx      context.Context // ends with the hook
	prober   *prober.Prober
	traffic  *traffic.Traffic
	fleet    Fleet
	listener Listener

	mu           sync.Mutex
	breaker      breaker    // Guarded by mu, but for firstVerdict
	suspicion    *suspicion // Guarded by mu
	calmedAt     time.Time  // Guarded by mu. When the last suspicion ended
	nowhereUntil time.Time  // Guarded by mu. Until when no other database is asked what is refused here

	removed             atomic.Bool
	suspicions, cleared atomic.Uint64
	othersSuspectedAt   atomic.Int64 // when the others were asked because of it; ns since the pulse's clockStart

	pulse         pulse
	confirmer     confirmer
	checks        checks
	reexamination reexamination

	recheck atomic.Bool   // a regular check is wanted now, because a choice may follow from it
	wake    chan struct{} // asks the loop to look again, capacity 1
}

// New makes the health of a database of which nothing is known. ctx ends with the hook.
func New(ctx context.Context, cfg Config, p *prober.Prober, t *traffic.Traffic, fleet Fleet, listener Listener) *Health {
	now := time.Now()
	h := &Health{
		cfg: cfg, ctx: ctx, prober: p, traffic: t, fleet: fleet, listener: listener,
		breaker: newBreaker(cfg, now), pulse: pulse{clockStart: now}, wake: make(chan struct{}, 1),
	}
	h.confirmer = confirmer{h}
	h.checks = checks{h: h, lock: make(chan struct{}, 1)}
	h.reexamination = reexamination{h: h}
	return h
}

// Mutex returns the lock, for a test that looks whether it is held where it must not be.
func (h *Health) Mutex() *sync.Mutex { return &h.mu }

// Remove notes that the database belongs to nobody any more: it is not usable, Run ends, and no change is told from here on.
func (h *Health) Remove() {
	h.mu.Lock()
	h.removed.Store(true)
	h.mu.Unlock()
	h.Nudge()
}

// Removed reports whether Remove was called.
func (h *Health) Removed() bool { return h.removed.Load() }

// Nudge makes the loop look at once.
func (h *Health) Nudge() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Recheck asks for a regular check now, because what a choice is made of has changed.
func (h *Health) Recheck() {
	h.recheck.Store(true)
	h.Nudge()
}

// FirstVerdict is closed when the first check is over.
func (h *Health) FirstVerdict() <-chan struct{} { return h.breaker.firstVerdict }

// inUse reports whether commands go to the database now, or in a dry run would.
func (h *Health) inUse() bool {
	active, down := h.fleet.Role()
	return active && !down
}

func (h *Health) isActive() bool {
	active, _ := h.fleet.Role()
	return active
}

func (h *Health) isClosed() bool { return h.ctx.Err() != nil }

// Served notes that traffic was answered.
func (h *Health) Served(at time.Time) { h.pulse.answered(at) }
