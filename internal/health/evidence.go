package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/ownfault"
	"github.com/redishook/multidb/internal/prober"
	"github.com/redishook/multidb/internal/traffic"
)

// A suspicion has kinds, and is confirmed by the same acts. A PING over a connection that has stood for hours is answered while
// new connections vanish, logins are refused, or writes are held back: it clears none of these.

// evidenceKind is a set of acts that have failed.
type evidenceKind uint8

const (
	kindRequest evidenceKind = 1 << iota // a request on an established connection: asked by PING
	kindConnect                          // a dial, a login, or a handshake that stays without an answer: asked by a new connection
	kindWrite                            // a request without an answer, which may be a write that is held back: asked by PUBLISH
	kindReply                            // requests that are refused: asked of the other databases, by a write that changes nothing
)

// count counts evidence by its kind.
func (k evidenceKind) count(e *traffic.Evidence) {
	switch {
	case k&kindConnect != 0:
		e.Connect.Add(1)
	case k&kindReply != 0:
		e.Refusal.Add(1)
	case k&kindWrite != 0:
		e.Silence.Add(1)
	default:
		e.Request.Add(1)
	}
}

// kindOf tells the acts that an error is evidence of.
func kindOf(cause error) evidenceKind {
	switch {
	case goredis.IsHandshakeError(cause):
		return kindConnect
	case timedOut(cause), errors.As(cause, new(Stall)):
		return kindRequest | kindWrite
	}
	return kindRequest
}

func timedOut(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}

// Stall is the evidence that requests are outstanding and nothing comes back, for that time.
type Stall time.Duration

func (e Stall) Error() string {
	return "requests outstanding and no byte read for " + time.Duration(e).Round(time.Millisecond).String()
}

// noConnectionError is the verdict that no new connection can be made. Connections that are there may work.
type noConnectionError struct{ err error }

func (e noConnectionError) Error() string { return "no new connection: " + e.err.Error() }
func (e noConnectionError) Unwrap() error { return e.err }

// OnlyConnect reports a verdict after which the established connections may still work: they are drained, not cut.
func OnlyConnect(cause error) bool { return errors.As(cause, new(noConnectionError)) }

// writeError is the verdict that writes are held back.
type writeError struct{ err error }

func (e writeError) Error() string { return "reads are answered and writes are not: " + e.err.Error() }
func (e writeError) Unwrap() error { return e.err }

// lonely is how long the silence of a database lasts before it is a verdict, if there is no other one to go to: as long as a client
// without the hook waits for a reply.
const lonely = 5 * time.Second

// confirmer turns a suspicion into a verdict: it asks the database, and the others if it must. It holds no lock while it asks.
type confirmer struct{ h *Health }

// quickly asks by PING. What is known to have been silent for a while has less time left, so that all silences are equally long.
func (c confirmer) quickly() error {
	within := c.h.cfg.Timeout
	if c.h.inUse() && !c.h.fleet.HasAlternative() {
		within = max(within, lonely)
	} else {
		_, silent := c.evidence()
		within -= min(silent, within/2)
	}
	return c.h.prober.AskWithin(c.h.ctx, confirmProbes, within, c.h.checks.ping)
}

// byActs asks a suspect by the acts that have failed. It returns the verdict, or nil.
func (c confirmer) byActs() error {
	err := c.quickly()
	if err != nil {
		return c.excuse(err)
	}
	asked := kindRequest
	if c.h.prober.Cluster() != nil {
		asked |= kindConnect | kindWrite // its survey asks each node; these would ask one, which may be the one that is being replaced
	}
	for {
		kinds, _ := c.evidence() // of another kind may have come meanwhile
		kinds &^= asked
		switch refused := asRefusing(c.h).verdict(); {
		case refused != nil && asked&kindReply == 0:
			asked |= kindReply
			if err = asRefusing(c.h).confirm(refused); err != nil {
				return err
			}
		case kinds&kindConnect != 0:
			asked |= kindConnect
			if err = c.byConnecting(); err != nil {
				return err
			}
		case kinds&kindWrite != 0:
			asked |= kindWrite
			if err = c.byWriting(); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// excuse takes back a verdict that says nothing about the database, or about the traffic that it serves:
//   - the prober has met a fault of this process,
//   - the prober cannot connect, and the traffic is served over the connections that there are. If traffic fails to connect as
//     well, that is evidence of its own kind.
func (c confirmer) excuse(err error) error {
	switch {
	case ownfault.Is(err):
		c.h.listener.OwnFault(err)
		return nil
	case c.h.inUse() && prober.CannotConnect(err) && c.h.pulse.servedWithin(2*time.Second):
		c.h.listener.ProberCannotConnect(err)
		return nil
	}
	return err
}

// byConnecting makes a new connection, with its login. If that fails, there must be another database that takes one: two in
// the same trouble are no reason to move.
func (c confirmer) byConnecting() error {
	err := c.h.prober.AskConnect(c.h.ctx, confirmProbes)
	if err == nil {
		return nil
	}
	if ownfault.Is(err) {
		c.h.listener.OwnFault(err)
		return nil
	}
	if c.h.inUse() && !c.h.fleet.AlternativePasses(Connects) {
		c.h.listener.NowhereBetter(err)
		return nil
	}
	return noConnectionError{err}
}

// byWriting asks for a harmless write.
func (c confirmer) byWriting() error {
	err := c.h.prober.Ask(c.h.ctx, 1, c.h.prober.Write)
	if err == nil {
		return nil
	}
	if c.h.inUse() && !c.h.fleet.AlternativePasses(Writes) {
		c.h.listener.NowhereBetter(err)
		return nil
	}
	return writeError{err}
}

// Act is what another database is asked to do before this one is left. It reports whether that has passed.
type Act func(other *Health) bool

// Connects makes a new connection with its login.
func Connects(h *Health) bool { return h.prober.AskConnect(h.ctx, 1) == nil }

// Writes asks for a write that changes nothing.
func Writes(h *Health) bool {
	return asRefusing(h).steady() && h.prober.Ask(h.ctx, 1, h.prober.Write) == nil
}

// Checks is the act of passing all checks that may evict.
func Checks(ctx context.Context) Act {
	return func(h *Health) bool {
		ctx, cancel := context.WithTimeout(ctx, otherRound)
		defer cancel()
		if h.checks.begin(ctx) != nil {
			return false
		}
		defer h.checks.end()
		return h.checks.run(ctx, h.prober.Checks().Evicting) == nil
	}
}

// otherRound is how long a round of checks of another database may take that is asked because one fails here.
const otherRound = 10 * time.Second

// Serves is the act of doing what was refused with a reply.
func Serves(refused error) Act {
	return func(h *Health) bool {
		return asRefusing(h).steady() && asRefusing(h).serve(h.ctx, refused) == nil
	}
}

// slowConnect is the evidence that a dial, or the handshake after it, stays without an answer.
type slowConnect struct {
	what  string
	after time.Duration
}

func (e slowConnect) Error() string {
	return fmt.Sprintf("%s not answered for %v", e.what, e.after.Round(time.Millisecond))
}

// WatchConnect makes the database suspect if what is begun now is not over in time. It returns what ends the watch.
func (h *Health) WatchConnect(what string, over func() bool) (stop func()) {
	limit := h.cfg.StallTimeout
	if limit <= 0 {
		return func() {}
	}
	limit = h.prober.Scaled(limit)
	timer := time.AfterFunc(limit, func() {
		if !over() && !h.isClosed() {
			h.Suspect(goredis.Handshake(slowConnect{what, limit}))
		}
	})
	return func() { timer.Stop() }
}

// noteFailing notes evidence that users have felt. That another database is suspected is not felt by anybody.
func noteFailing(t *traffic.Traffic, cause error) {
	var beside SuspectedWith
	if errors.As(cause, &beside) {
		return
	}
	now := time.Now()
	at := now
	var quiet Stall
	if errors.As(cause, &quiet) {
		at = now.Add(-time.Duration(quiet))
	}
	t.NoteFailing(at, now, goredis.Cause(cause))
}
