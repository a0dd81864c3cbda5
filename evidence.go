package multidb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/ownfault"
	"github.com/redishook/multidb/internal/reply"
)

// A suspicion has kinds, and is confirmed by the same acts. A PING over a connection that has stood for hours is answered while
// new connections vanish, logins are refused, or writes are held back: it clears none of these.

// evidenceKind is a set of acts that have failed.
type evidenceKind uint8

const (
	kindRequest evidenceKind = 1 << iota // a request on an established connection: asked by PING
	kindConnect                          // a dial, a login, or a handshake that stays without an answer: asked by a new connection
	kindWrite                            // a request without an answer, which may be a write that is held back: asked by PUBLISH
)

// kindOf tells the acts that an error is evidence of.
func kindOf(cause error) evidenceKind {
	switch {
	case goredis.IsHandshakeError(cause):
		return kindConnect
	case timedOut(cause), errors.As(cause, new(stallError)):
		return kindRequest | kindWrite
	}
	return kindRequest
}

func timedOut(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}

// noConnectionError is the verdict that no new connection can be made. Connections that are there may work.
type noConnectionError struct{ err error }

func (e noConnectionError) Error() string { return "no new connection: " + e.err.Error() }
func (e noConnectionError) Unwrap() error { return e.err }

// onlyConnect reports a verdict after which the established connections may still work: they are drained, not cut.
func onlyConnect(cause error) bool { return errors.As(cause, new(noConnectionError)) }

// writeError is the verdict that writes are held back.
type writeError struct{ err error }

func (e writeError) Error() string { return "reads are answered and writes are not: " + e.err.Error() }
func (e writeError) Unwrap() error { return e.err }

// confirmAs asks a suspect by the acts that have failed. It returns the verdict, or nil.
func (h *Hook) confirmAs(db *database) error {
	err := h.confirm(db)
	if err != nil {
		return h.excuse(db, err)
	}
	if db.cluster != nil {
		return nil // its survey asks each node; the acts below would ask one, which may be the one that is being replaced
	}
	for asked := kindRequest; ; {
		kinds := db.suspectedOf() &^ asked // evidence of another kind may have come meanwhile
		switch {
		case kinds&kindConnect != 0:
			asked |= kindConnect
			if err = h.confirmConnect(db); err != nil {
				return err
			}
		case kinds&kindWrite != 0:
			asked |= kindWrite
			if err = h.confirmWrite(db); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// suspectedOf returns the acts that have failed.
func (db *database) suspectedOf() evidenceKind {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.suspicion == nil {
		return 0
	}
	return db.suspicion.kinds
}

// excuse takes back a verdict that says nothing about the database, or about the traffic that it serves:
//   - the prober has met a fault of this process,
//   - the prober cannot connect, and the traffic is served over the connections that there are. If traffic fails to connect as
//     well, that is evidence of its own kind.
func (h *Hook) excuse(db *database, err error) error {
	switch {
	case ownfault.Is(err):
		h.events.ownFault(db.name, err)
		return nil
	case h.inUse(db) && cannotConnect(err) && db.servedWithin(2*time.Second):
		h.events.proberCannotConnect(db.name, err)
		return nil
	}
	return err
}

// servedWithin reports whether traffic has been answered in that time.
func (db *database) servedWithin(d time.Duration) bool {
	at := db.served.Load()
	return at != 0 && time.Since(db.clockStart)-time.Duration(at) < d
}

// cannotConnect reports that a probe has failed before its question: the dial, the login, or what the login is made of.
func cannotConnect(err error) bool {
	if redis.IsAuthError(err) || redis.IsMaxClientsError(err) || errors.As(err, new(dialError)) {
		return true
	}
	row, ok := reply.Of(goredis.ReplyText(err))
	return ok && row.Code == "DENIED"
}

// dialError marks an error of a probing client that was met before its connection could be used.
type dialError struct{ error }

func (e dialError) Unwrap() error { return e.error }

// markProvider marks the error of a credentials provider as one that was met before a connection could be used.
func markProvider(own func(context.Context) (string, string, error)) func(context.Context) (string, string, error) {
	if own == nil {
		return nil
	}
	return func(ctx context.Context) (string, string, error) {
		user, password, err := own(ctx)
		if err != nil && !errors.As(err, new(dialError)) {
			err = dialError{err}
		}
		return user, password, err
	}
}

// confirmConnect makes a new connection, with its login. If that fails, there must be another database that takes one: two in
// the same trouble are no reason to move.
func (h *Hook) confirmConnect(db *database) error {
	err := h.ask(h.ctx, db, confirmProbes, h.connectAnew)
	if err == nil {
		return nil
	}
	if ownfault.Is(err) {
		h.events.ownFault(db.name, err)
		return nil
	}
	if h.inUse(db) && !h.alternativePasses(db, h.connectAnew) {
		h.events.nowhereBetter(db.name, err)
		return nil
	}
	return noConnectionError{err}
}

// confirmWrite asks for a harmless write.
func (h *Hook) confirmWrite(db *database) error {
	err := h.ask(h.ctx, db, 1, h.writeNothing)
	if err == nil {
		return nil
	}
	if h.inUse(db) && !h.alternativePasses(db, h.writeNothing) {
		h.events.nowhereBetter(db.name, err)
		return nil
	}
	return writeError{err}
}

// alternativePasses reports whether a database that would be moved to passes the same act.
func (h *Hook) alternativePasses(db *database, act func(context.Context, *database) error) bool {
	usable, _, _, _ := h.selector.snapshot()
	usable = slices.DeleteFunc(usable, func(other *database) bool { return other == db })
	for len(usable) > 0 {
		best := choose(h.opt.Strategy, passing(usable), db)
		if best == nil {
			return false
		}
		if h.ask(h.ctx, best, 1, act) == nil {
			return true
		}
		usable = slices.DeleteFunc(usable, func(other *database) bool { return other == best })
	}
	return false
}

// connectAnew makes a new connection, logs in and asks by PING, as a command does that finds none in the pool.
func (h *Hook) connectAnew(ctx context.Context, db *database) error {
	if db.cluster != nil {
		return h.pingOnce(ctx, db) // no single node stands for a cluster
	}
	return beside(ctx, func() error {
		client := redis.NewClient(onceOptions(db.opt))
		client.AddHook(probeDial{db})
		defer client.Close()
		return unlessRefused(client.Ping(ctx).Err())
	})
}

// onceOptions are those of a client that is used for one question.
func onceOptions(probing *redis.Options) *redis.Options {
	opt := probeOptions(probing)
	opt.PoolSize = 1
	return opt
}

// unlessRefused takes a reply that is no refusal of the login for an answer: what PING is told is not what is asked here.
func unlessRefused(err error) error {
	if err == nil || !goredis.IsReply(err) {
		return err
	}
	if redis.IsAuthError(err) || redis.IsMaxClientsError(err) || cannotConnect(err) {
		return err
	}
	return nil
}

// nobodysChannel is a channel that nobody listens to.
const nobodysChannel = "multidb:nobody"

// writeNothing is a write that changes nothing and needs no key: PUBLISH to a channel that nobody has. A server that holds back
// writes (CLIENT PAUSE WRITE, SIGTERM with lagging replicas, FAILOVER) holds it back, and answers PING. Any reply will do: where
// the user of the database has no right to it, nothing can be learnt this way.
func (h *Hook) writeNothing(ctx context.Context, db *database) error {
	if db.cluster != nil {
		return h.pingOnce(ctx, db)
	}
	return beside(ctx, func() error {
		err := db.probe.Publish(ctx, nobodysChannel, "").Err()
		if err != nil && goredis.IsReply(err) {
			return nil
		}
		return err
	})
}

// slowConnect is the evidence that a dial, or the handshake after it, stays without an answer.
type slowConnect struct {
	what  string
	after time.Duration
}

func (e slowConnect) Error() string {
	return fmt.Sprintf("%s not answered for %v", e.what, e.after.Round(time.Millisecond))
}

// watchConnect makes a database suspect if what is begun now is not over in time. It returns what ends the watch.
func (h *Hook) watchConnect(db *database, what string, over func() bool) (stop func()) {
	limit := h.opt.Health.StallTimeout
	if limit <= 0 {
		return func() {}
	}
	limit = db.scaled(limit)
	timer := time.AfterFunc(limit, func() {
		if !over() && !h.isClosed() {
			h.suspect(db, goredis.Handshake(slowConnect{what, limit}))
		}
	})
	return func() { timer.Stop() }
}
