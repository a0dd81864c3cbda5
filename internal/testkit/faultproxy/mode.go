package faultproxy

import (
	"fmt"
	"sync"
	"time"
)

// Mode is what a [Proxy] does with all connections alike.
type Mode int

const (
	// Pass forwards.
	Pass Mode = iota
	// Refuse listens no more, so that dials are refused, and drops all connections: what a killed server looks like.
	Refuse
	// RefuseNew listens no more and keeps the connections that exist: what a server looks like behind a firewall that was
	// changed.
	RefuseNew
	// Hang accepts connections and keeps the existing ones, and forwards nothing either way: what a stopped server looks
	// like. Whatever was sent meanwhile goes on its way afterwards, even if its sender has given up.
	Hang
)

// String returns the mode's name.
func (m Mode) String() string {
	switch m {
	case Pass:
		return "Pass"
	case Refuse:
		return "Refuse"
	case RefuseNew:
		return "RefuseNew"
	case Hang:
		return "Hang"
	}
	return fmt.Sprintf("Mode(%d)", int(m))
}

// Pass is SetMode(Pass). Its error, if there is one, fails the test of [Start]; without a test it panics. So do Refuse, RefuseNew and Hang.
func (p *Proxy) Pass() { p.must(p.SetMode(Pass)) }

// RefuseNew is SetMode(RefuseNew).
func (p *Proxy) RefuseNew() { p.must(p.SetMode(RefuseNew)) }

// Refuse is SetMode(Refuse).
func (p *Proxy) Refuse() { p.must(p.SetMode(Refuse)) }

// Hang is SetMode(Hang).
func (p *Proxy) Hang() { p.must(p.SetMode(Hang)) }

func (p *Proxy) must(err error) {
	if err != nil {
		p.report(err)
	}
}

// Mode returns the present mode.
func (p *Proxy) Mode() Mode {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mode
}

// SetMode changes the mode. When it returns, the new one holds: after Hang not one more byte is forwarded, after Refuse
// every dial is refused, and after leaving Refuse every dial is accepted. It fails only when somebody else took the port
// while the proxy refused. After Close it does nothing.
func (p *Proxy) SetMode(m Mode) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.mode == m {
		return nil
	}
	if p.listener == nil && (m == Pass || m == Hang) {
		ln, err := p.transport.listenAgain(p.addr)
		if err != nil {
			return fmt.Errorf("faultproxy: leave %v: %w", p.mode, err)
		}
		p.serve(ln)
	}
	p.mode = m
	switch m {
	case Pass:
		p.gate.open()
	case Refuse:
		p.refuse()
		p.gate.open()
	case RefuseNew:
		p.deafen()
		p.gate.open()
	case Hang:
		p.interrupt()
	}
	return nil
}

// refuse requires p.mu.
func (p *Proxy) refuse() {
	p.deafen()
	p.killAll(false)
}

// deafen requires p.mu.
func (p *Proxy) deafen() {
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
}

// interrupt shuts the gate. A write that is under way keeps it from shutting, and may be under way for ever when its
// receiver does not read: a deadline in the past ends it, and what it has not written stays to be written. Requires p.mu.
func (p *Proxy) interrupt() {
	for c := range p.conns {
		c.setWriteDeadline(time.Unix(1, 0))
	}
	p.gate.shut()
	for c := range p.conns {
		c.setWriteDeadline(time.Time{})
	}
}

// gate is what all forwarded bytes pass through. The zero gate is open.
type gate struct {
	mu     sync.RWMutex
	opened chan struct{} // Guarded by mu; closed when a shut gate opens; nil while it is open
}

// enter waits until the gate is open and keeps it so until leave. False is that done was closed first.
func (g *gate) enter(done <-chan struct{}) bool {
	for {
		g.mu.RLock()
		opened := g.opened
		if opened == nil {
			return true
		}
		g.mu.RUnlock()
		select {
		case <-opened:
		case <-done:
			return false
		}
	}
}

func (g *gate) leave() { g.mu.RUnlock() }

// shut returns when nobody is inside.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened == nil {
		g.opened = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened != nil {
		close(g.opened)
		g.opened = nil
	}
}
