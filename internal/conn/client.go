package conn

import (
	"slices"
	"sync/atomic"
)

// Client is what the connections of one client have in common.
type Client struct {
	// noSelect: the client uses index 0, so that its handshake has no SELECT and one that follows HELLO is a user's.
	// Learnt from the first handshake that went on without one.
	noSelect atomic.Bool

	// hasSelect: the opposite, learnt from a SELECT that came with what only a handshake sends.
	hasSelect atomic.Bool

	// tracking: the client caches on its side. Learnt from the first CLIENT TRACKING.
	tracking atomic.Bool

	// contradicted: the log says already that the client names another index than a database does.
	contradicted atomic.Bool

	// pooled is how many routed connections the client has, those of subscriptions left out.
	pooled atomic.Int64
}

// NewClient makes one. caches says that the client caches on its side, as far as that is known.
func NewClient(caches bool) *Client {
	c := &Client{}
	c.tracking.Store(caches)
	return c
}

// Pooled returns how many routed connections the client has, those of subscriptions left out.
func (c *Client) Pooled() int { return int(c.pooled.Load()) }

// Selects counts the SELECTs under way that the process hooks have seen: those that came as one command, and in a batch.
type Selects struct{ Single, Batch atomic.Int64 }

// selectIsHandshake decides about a SELECT that follows HELLO: is it the client's own, of its handshake, or a user's
// first command? A client whose handshake went on without one has none. Otherwise the process hook has seen it come: the
// handshake's in a batch, a user's alone. A clone of the client passes no hook and is taken at its word.
// What comes with it (the identity of the client, which only handshakes send) can settle it for good.
func (s *Set) selectIsHandshake(client *Client, rest []string) bool {
	switch {
	case client.hasSelect.Load():
		return true
	case client.noSelect.Load():
		return false
	case slices.Contains(rest, "client|setinfo"):
		client.hasSelect.Store(true)
		return true
	}
	batch, single := s.cfg.Selects.Batch.Load() > 0, s.cfg.Selects.Single.Load() > 0
	if batch && !single {
		client.hasSelect.Store(true)
	}
	return batch || !single
}
