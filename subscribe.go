package multidb

// Subscribe adds functions to call when something happens, beside those of Options.Events and under the same rules: one
// after the other, in the order of what happened, with no lock held. It hears what happens from now on, and what has not been delivered yet. cancel ends it; an
// event that is being delivered may still arrive after that. Safe for concurrent use.
func (h *Hook) Subscribe(events Events) (cancel func()) {
	return h.events.subscribers.add(&events)
}
