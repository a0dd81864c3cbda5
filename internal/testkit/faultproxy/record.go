package faultproxy

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Command is a request as a client sent it.
type Command struct {
	Conn      uint64    // counts from 1, in the order in which connections were accepted
	At        time.Time // when it was forwarded, or its fate decided
	Args      []string  // the name first, as it was written
	Forwarded bool      // the server has it; otherwise the proxy answered it or reset the connection before
}

// Name is the command's name in capitals.
func (c Command) Name() string { return strings.ToUpper(c.Args[0]) }

// Stats is what went through a [Proxy] since it was started.
type Stats struct {
	Accepted uint64            // connections
	Open     int               // connections that neither side has ended; in mode Hang, too, a client's end counts at once
	Commands map[string]uint64 // by their names in capitals, forwarded or not
	ToServer uint64            // bytes
	ToClient uint64            // bytes
	Garbled  uint64            // connections on which a request was not RESP: what followed is neither counted nor recorded
}

// log counts and records.
type log struct {
	accepted, toServer, toClient, garbled atomic.Uint64

	mu       sync.Mutex
	counts   map[string]uint64 // Guarded by mu
	record   bool              // Guarded by mu
	commands []Command         // Guarded by mu
}

func (l *log) add(commands []Command) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts == nil {
		l.counts = make(map[string]uint64)
	}
	for _, c := range commands {
		l.counts[c.Name()]++
		if l.record {
			c.At = now
			l.commands = append(l.commands, c)
		}
	}
}

// Stats returns the counters.
func (p *Proxy) Stats() Stats {
	l := &p.log
	l.mu.Lock()
	counts := maps.Clone(l.counts)
	l.mu.Unlock()
	return Stats{
		Accepted: l.accepted.Load(),
		Open:     int(p.open.Load()),
		Commands: counts,
		ToServer: l.toServer.Load(),
		ToClient: l.toClient.Load(),
		Garbled:  l.garbled.Load(),
	}
}

// Count is how often clients have sent a command, by its name in any case.
func (p *Proxy) Count(name string) uint64 {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	return p.log.counts[strings.ToUpper(name)]
}

// Record starts a new record of commands, or ends it. The commands recorded so far stay until the next start.
func (p *Proxy) Record(on bool) {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	if p.log.record = on; on {
		p.log.commands = nil
	}
}

// Commands returns the recorded commands of all connections, in the order in which they were forwarded. A command is on
// record before its answer can be seen.
func (p *Proxy) Commands() []Command {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	return slices.Clone(p.log.commands)
}
