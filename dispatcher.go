package multidb

import (
	"log/slog"
	"sync"

	"github.com/redishook/multidb/internal/callback"
)

// Who is told of events, in what order.

// dispatcher tells the log and the subscribers what happens. Its queue keeps the order of what has happened.
type dispatcher struct {
	*callback.Queue
	subscribers subscribers
}

func newDispatcher(user Events, log *slog.Logger) *dispatcher {
	d := &dispatcher{Queue: callback.New(log)}
	d.subscribers.all = []*Events{&user}
	return d
}

// subscribers are the functions that are told of events: those of Options.Events, and what Subscribe has added.
type subscribers struct {
	mu  sync.Mutex
	all []*Events // never changed in place
}

// add adds functions until cancel is called.
func (s *subscribers) add(this *Events) (cancel func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all[:len(s.all):len(s.all)], this)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		var others []*Events
		for _, e := range s.all {
			if e != this {
				others = append(others, e)
			}
		}
		s.all = others
	}
}

// current returns everybody who is told of events now. The slice must not be changed.
func (s *subscribers) current() []*Events {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}

// tell calls a function for each subscriber. A panic of one is no loss of the others.
func (d *dispatcher) tell(call func(*Events)) {
	for _, e := range d.subscribers.current() {
		d.Contain("an event callback", func() { call(e) })
	}
}

// wantsChecks reports whether somebody listens to single checks, which nobody should pay for otherwise.
func (d *dispatcher) wantsChecks() bool {
	for _, e := range d.subscribers.current() {
		if e.OnCheck != nil {
			return true
		}
	}
	return false
}
