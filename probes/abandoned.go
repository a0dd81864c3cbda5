package probes

import (
	"context"
	"reflect"
	"slices"
	"sync"
	"time"
)

// returnGrace is how long after the end of its time a probe that heeds its context
// may take to return before it counts as stuck. A process short of CPU needs tens of
// milliseconds for that.
const returnGrace = 100 * time.Millisecond

// abandoned knows the probes of the whole process that were left to themselves.
// They are kept here and not in a Check because a Check is a value that may be
// copied, and because they need no cleaning up: an entry is gone when its
// goroutine is.
var abandoned register

type register struct {
	mu   sync.Mutex
	runs map[identity][]*run // guarded by mu
}

// identity is what is asked once at a time after it did not answer.
type identity struct {
	probe, client any
	name, addr    string
}

// identify falls back to the type of what cannot be compared. Two such probes are
// then taken for one, and the worst of it is that one waits for the other to return.
func identify(p Probe, db Target) identity {
	key := func(v any) any {
		if v == nil || reflect.ValueOf(v).Comparable() {
			return v
		}
		return reflect.TypeOf(v)
	}
	return identity{probe: key(p), client: key(db.Client), name: db.Name, addr: db.Addr}
}

// run is one call of Probe.Check.
type run struct {
	deadline time.Time
	gone     chan struct{} // closed when the probe has returned
}

func newRun(deadline time.Time) *run {
	return &run{deadline: deadline, gone: make(chan struct{})}
}

// leave enters a run that nobody waits for any more, unless it has just returned.
func (r *register) leave(id identity, left *run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-left.gone:
		return
	default:
	}
	if r.runs == nil {
		r.runs = make(map[identity][]*run)
	}
	r.runs[id] = append(r.runs[id], left)
}

// returned takes a run out, if it was ever entered.
func (r *register) returned(id identity, left *run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(left.gone)
	rest := slices.DeleteFunc(r.runs[id], func(other *run) bool { return other == left })
	if len(rest) > 0 {
		r.runs[id] = rest
	} else {
		delete(r.runs, id)
	}
}

func (r *register) first(id identity) *run {
	r.mu.Lock()
	defer r.mu.Unlock()
	if runs := r.runs[id]; len(runs) > 0 {
		return runs[0]
	}
	return nil
}

// wait returns ErrStillRunning if an earlier run of id is stuck. One that was cut
// short by its caller is not stuck yet: it is waited for until its own time is over.
func (r *register) wait(ctx context.Context, id identity) error {
	for {
		left := r.first(id)
		if left == nil {
			return ctx.Err()
		}
		timer := time.NewTimer(time.Until(left.deadline) + returnGrace)
		select {
		case <-left.gone:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
			return ErrStillRunning
		}
	}
}
