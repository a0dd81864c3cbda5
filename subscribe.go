package multidb

import "sync"

// subscribers are the functions that are told of events: those of Options.Events, and what Subscribe has added.
type subscribers struct {
	mu  sync.Mutex
	all []*Events // never changed in place
}

// Subscribe adds functions to call when something happens, beside those of Options.Events and under the same rules: one
// after the other, in the order of what happened, with no lock held. It hears what happens from now on, and what has not been delivered yet. cancel ends it; an
// event that is being delivered may still arrive after that. Safe for concurrent use.
func (h *Hook) Subscribe(events Events) (cancel func()) {
	this := &events
	s := &h.events.subscribers
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
