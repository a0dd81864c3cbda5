package cluster

import (
	"errors"
	"fmt"
	"time"
)

// Whether a cluster is well, from what its nodes have answered. All of it is pure: the answers and the time are given.

// State is how well a cluster is.
type State int

// The states of a cluster.
const (
	// Whole: all masters answer, most of them say that the cluster is up, and every slot has an owner.
	Whole State = iota
	// Degraded: a part of the slots may not be served, and the cluster can see to that by itself.
	Degraded
	// Down: fewer masters answer than the majority that it takes to promote a replica.
	Down
)

// Finding is the outcome of one survey.
type Finding struct {
	State    State
	Masters  int  // of the topology
	Alive    int  // masters that have answered
	Up       int  // of those, how many say that the cluster is up
	Covered  int  // slots that have an owner
	Hopeless bool // a master is silent, and so are all its replicas: nobody can take its slots over
	Silent   map[string]bool

	why error
}

// quorum is how many of n masters it takes to agree.
func quorum(n int) int { return n/2 + 1 }

// Judge makes a finding of the views of a survey. Replicas without a view were not asked; a master without one is silent.
func Judge(t *Topology, views map[string]View) Finding {
	f := Finding{Masters: len(t.masters), Covered: t.covered, Silent: make(map[string]bool)}
	var silence error
	blame := func(master string, err error) {
		if silence == nil || errors.Is(silence, errTooLate) { // a reason says more than silence does
			silence = fmt.Errorf("node %s: %w", master, err)
		}
	}
	for _, master := range t.masters {
		v, asked := views[master]
		switch {
		case !asked:
			blame(master, errNotAsked)
		case v.Err != nil:
			blame(master, v.Err)
		default:
			f.Alive++
			if v.OK || v.Limited {
				f.Up++
			}
			continue
		}
		f.Hopeless = f.Hopeless || !t.hasSuccessor(master, views)
	}
	for addr, v := range views {
		if v.Err != nil {
			f.Silent[addr] = true
		}
	}
	switch {
	case f.Alive < quorum(f.Masters):
		f.State = Down
		f.why = fmt.Errorf("%d of %d masters answer: %w", f.Alive, f.Masters, silence)
	case f.Alive == f.Masters && f.Up >= quorum(f.Masters) && f.Covered == Slots:
		f.State = Whole
	default:
		f.State = Degraded
		f.why = fmt.Errorf("%d of %d masters answer, %d say that the cluster is up, %d of %d slots have an owner",
			f.Alive, f.Masters, f.Up, f.Covered, Slots)
		if silence != nil {
			f.why = fmt.Errorf("%w: %w", f.why, silence)
		}
	}
	return f
}

// hasSuccessor reports whether a replica of a master has answered.
func (t *Topology) hasSuccessor(master string, views map[string]View) bool {
	for _, replica := range t.replicas[master] {
		if v, asked := views[replica]; asked && v.Err == nil {
			return true
		}
	}
	return false
}

// beyondHope reports whether the survey can end: so many masters have failed that the rest is no majority.
func beyondHope(t *Topology, views map[string]View) bool {
	failed := 0
	for _, master := range t.masters {
		if v, asked := views[master]; asked && v.Err != nil {
			failed++
		}
	}
	return len(t.masters)-failed < quorum(len(t.masters))
}

// hasQuorum reports whether enough masters have answered for the cluster to go on.
func hasQuorum(t *Topology, views map[string]View) bool {
	answered := 0
	for _, master := range t.masters {
		if v, asked := views[master]; asked && v.Err == nil {
			answered++
		}
	}
	return answered >= quorum(len(t.masters))
}

// hopelessPatience is the time for a cluster that cannot replace a master: its node may only have been slow to answer.
const hopelessPatience = time.Second

// DefaultTakeover is how long a cluster may be degraded before it counts as down: with its node timeout t, every takeover
// that was measured was over within 2 t + 2 s.
func DefaultTakeover(nodeTimeout time.Duration) time.Duration { return 2*nodeTimeout + 2*time.Second }

// assumedNodeTimeout is that of a cluster that does not tell: the default of Redis.
const assumedNodeTimeout = 15 * time.Second

// ErrDegraded is in the error of a cluster that is degraded and not down.
var ErrDegraded = errors.New("the cluster is degraded")

// patience follows how long a cluster has been degraded. The zero value has seen nothing. Not safe for concurrent use.
type patience struct {
	takeover time.Duration // how long it may be; 0 or less: not at all
	since    time.Time     // zero: it is whole, or was never seen
}

// observe takes a finding of a survey that began at a time, and returns why the cluster cannot be used; nil if it can.
// whole says that a cluster which is degraded will not do.
func (p *patience) observe(f Finding, at time.Time, whole bool) error {
	if f.State == Whole {
		p.since = time.Time{}
		return nil
	}
	if p.since.IsZero() {
		p.since = at
	}
	if f.State == Down {
		return f.why
	}
	lasts, limit := at.Sub(p.since), p.takeover
	if f.Hopeless {
		limit = min(limit, hopelessPatience)
	}
	switch {
	case lasts >= limit:
		return fmt.Errorf("%w; for %v", f.why, lasts.Round(time.Millisecond))
	case whole:
		return fmt.Errorf("%w: %w", ErrDegraded, f.why)
	}
	return nil
}
