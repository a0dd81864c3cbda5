package multidb

// Subscribe adds functions to call when something happens, beside those of Options.Events and under the same
// rules. They are called one after the other, in the order of what happened, with no lock held. They hear what
// happens from now on, and what has not been delivered yet. cancel ends that; an event that is being delivered may
// still arrive after it. Safe for concurrent use.
func (h *Hook) Subscribe(events Events) (cancel func()) {
	return h.events.subscribers.add(&events)
}
