package monitor

// Commands over connections that were there before the hook was added to the client. They go where those connections lead.

// unroutedMargin is how many more commands than requests tell. A connection that is just being closed may not count its last ones.
const unroutedMargin = 8

// warnIfUnrouted reports such commands, once. Each command that has succeeded was a request. So if there are more of them than the
// connections of the hook have written, others have written the rest. A client may have connections of both kinds, because go-redis
// fills up MinIdleConns through the hook. Of a client with a cache the numbers tell nothing: its hits are no requests.
func (m *Monitor) warnIfUnrouted() {
	if m.unrouted {
		return
	}
	var commands, requests uint64
	cached := false
	for _, db := range m.cfg.Choice.All() {
		commands += db.Traffic.Successes.Load() // first, so that none is counted whose request is not
		requests += db.Conns.Requests()
		cached = cached || db.Conns.Tracked()
	}
	if none := m.cfg.Dials() == 0 && commands > 0; none || !cached && commands > requests+unroutedMargin {
		m.unrouted = true
		m.cfg.Listener.Unrouted()
	}
}
