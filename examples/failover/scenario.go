package main

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/redishook/multidb/internal/testkit/faultproxy"
)

// scenario is what happens to the active database.
type scenario struct {
	name    string
	what    string // it is, in capitals
	proxied bool   // it happens on the way to the server, not in it
	begin   func(m *member) error
	end     func(m *member) error
	expect  string // what is to be seen
}

const (
	crash = "crash"
	none  = "none"
)

// farAway is what is added to each round trip.
const farAway = 80 * time.Millisecond

// scenarios by name.
var scenarios = map[string]scenario{
	crash: {
		what: "KILLED", expect: "a failover, and the return",
		begin: func(m *member) error { return m.server.Kill() },
		end:   func(m *member) error { return m.server.Restart() },
	},
	"hang": {
		what: "STOPPED: it accepts connections and answers nothing", expect: "a failover, and the return",
		begin: func(m *member) error { return m.server.Stop() },
		end:   func(m *member) error { return m.server.Cont() },
	},
	"readonly": {
		what: "READ-ONLY: it refuses writes, and reads and PING pass", proxied: true, expect: "a failover without errors, and the return",
		begin: func(m *member) error {
			writes := faultproxy.Named("SET", "INCR")
			m.proxy.Answer(func(args []string) (string, bool) {
				return "-READONLY You can't write against a read only replica.\r\n", writes(args)
			})
			return nil
		},
		end: func(m *member) error { m.proxy.Answer(nil); return nil },
	},
	"pausewrites": {
		what: "PAUSED: writes wait, reads and PING pass", proxied: true,
		begin: func(m *member) error {
			writes, end := faultproxy.Named("SET", "INCR"), make(chan struct{})
			m.release = end
			m.proxy.Answer(func(args []string) (string, bool) {
				if writes(args) {
					<-end
				}
				return "", false
			})
			return nil
		},
		end: func(m *member) error { m.proxy.Answer(nil); m.unblock(); return nil },
	},
	"login": {
		what: "GIVEN A NEW PASSWORD: connections are lost once, and logins are refused", proxied: true,
		begin: func(m *member) error {
			logins := faultproxy.Named("HELLO", "AUTH")
			m.proxy.Answer(func(args []string) (string, bool) {
				return "-WRONGPASS invalid username-password pair or user is disabled.\r\n", logins(args)
			})
			m.proxy.Reset()
			return nil
		},
		end: func(m *member) error { m.proxy.Answer(nil); return nil },
	},
	"far": {
		what: "FAR AWAY: each round trip takes " + farAway.String() + " more", proxied: true, expect: "no switch and no error: slow is not dead",
		begin: func(m *member) error { m.proxy.Delay(farAway); return nil },
		end:   func(m *member) error { m.proxy.Delay(0); return nil },
	},
	none: {expect: "nothing"},
}

// scenarioNames is for people.
func scenarioNames() string { return strings.Join(slices.Sorted(maps.Keys(scenarios)), ", ") }

// hangByProxy is how a server hangs that is part of this program.
func hangByProxy(s scenario) scenario {
	s.proxied = true
	s.begin = func(m *member) error { m.proxy.Hang(); return nil }
	s.end = func(m *member) error { m.proxy.Pass(); return nil }
	return s
}

// unblock lets go on what waits in the proxy. Further calls do nothing.
func (m *member) unblock() {
	if m.release != nil {
		close(m.release)
		m.release = nil
	}
}
