package health

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/ownfault"
	"github.com/redishook/multidb/probes"
)

// checks is what the answers of checks mean: which pass, which only gate, and which have no right to ask.
type checks struct {
	h       *Health
	gateErr atomic.Pointer[error] // what a check that only gates has answered the last time, if that keeps it out; or nil
	lock    chan struct{}         // held by the round of checks that is under way, capacity 1
}

// begin waits until nobody else runs a round of checks of the database: a method of control asks it beside the health
// loop, and a check must not be run twice at a time. Brief rounds have no turn.
func (c *checks) begin(ctx context.Context) error {
	select {
	case c.lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *checks) end() { <-c.lock }

// ping is one quick probe. An answer of any kind that is about the prober's rights proves the database alive.
func (c *checks) ping(ctx context.Context) error {
	began := time.Now()
	err := c.pingOnce(ctx)
	c.h.listener.Checked(err, time.Since(began), true)
	return err
}

// pingOnce sends PING. A probe that is not permitted to ask proves that the database answers; one whose login is refused is no
// place to go to.
func (c *checks) pingOnce(ctx context.Context) error {
	return unlessForbidden(c.h, c.h.prober.Ping(ctx))
}

func unlessForbidden(h *Health, err error) error {
	if h.prober.Cluster() == nil && probes.OutcomeOf(err) == probes.NotPermitted && (!redis.IsAuthError(err) || h.inUse()) {
		h.listener.Forbidden(err)
		return nil
	}
	return err
}

// run runs checks and returns nil if they pass. A probe that is not permitted to ask proves that the database answers, which is
// enough to stay there; one whose login is refused is no place to go to.
func (c *checks) run(ctx context.Context, checks probes.Checks) error {
	began := time.Now()
	err := c.h.prober.Run(ctx, checks)
	c.h.listener.Checked(err, time.Since(began), false)
	if errors.Is(err, redis.ErrPoolTimeout) {
		// The checks have waited for one another, which says nothing about the database.
		err = c.h.confirmer.quickly()
	}
	switch probes.OutcomeOf(err) {
	case probes.NotPermitted:
		if redis.IsAuthError(err) && !c.h.inUse() {
			return err
		}
		c.h.listener.Forbidden(err)
		return nil
	case probes.Passed:
		return nil
	}
	return err
}

// regularly asks a usable database, and considers a return to it if it passes.
func (c *checks) regularly(ctx context.Context) error {
	if !c.h.isActive() {
		// It may be needed at any moment, and then everybody needs a new connection.
		if err := c.h.prober.AskConnect(ctx, confirmProbes); err != nil && ctx.Err() == nil && !ownfault.Is(err) {
			return err
		}
	}
	if err := c.run(ctx, c.h.prober.Checks().Evicting); err != nil {
		// Once more before the verdict: one lost packet is no outage.
		if quick := c.h.confirmer.quickly(); quick != nil {
			return c.h.confirmer.excuse(quick)
		}
		if err = c.run(ctx, c.h.prober.Checks().Evicting); err != nil {
			// PING passes, so what fails may be what the check leans on: an API, say, that is away for all databases.
			if c.h.inUse() && ctx.Err() == nil && !c.h.fleet.AlternativePasses(Checks(ctx)) {
				c.h.listener.NowhereBetter(err)
				return nil
			}
			return err
		}
	}
	c.h.pulse.heard(time.Now())
	if c.askGates(ctx) == nil {
		c.h.fleet.Failback(ctx)
	}
	return nil
}

// once asks a half-open database.
func (c *checks) once(ctx context.Context) error {
	if err := c.h.prober.AskConnect(ctx, 1); err != nil {
		return err
	}
	return c.run(ctx, c.h.prober.Checks().Evicting)
}

// briefly asks a database for the quickest answer that there is: over a new connection, because everybody needs one.
func (c *checks) briefly(ctx context.Context) error {
	began := time.Now()
	err := c.h.prober.AskNew(ctx, 1, func(ctx context.Context) error { return unlessForbidden(c.h, c.h.prober.Return(ctx)) })
	c.h.listener.Checked(err, time.Since(began), true)
	if brief := c.h.prober.Checks().Brief; err == nil && len(brief) > 0 {
		err = c.run(ctx, brief)
	}
	return err
}

// Probe runs the whole set of checks for a caller: a round of its own, after the one that is under way. The error is that of ctx,
// of a check, or whatever the database has failed with since.
func (h *Health) Probe(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.ctx, cancel)()
	generation := h.Generation()
	err := h.prober.Ask(ctx, 1, h.checks.ping)
	if err == nil {
		err = h.prober.AskConnect(ctx, 1)
	}
	if err == nil {
		err = h.checks.wholly(ctx)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	h.Restore(generation)
	if !h.Usable() {
		return h.Trouble() // it has failed since the first of the checks has passed
	}
	return nil
}

// wholly asks whatever a planned move to the database must pass. What may evict has the same say as in the background: a
// probe that is not permitted to ask keeps nobody out. A gate that is not permitted does.
func (c *checks) wholly(ctx context.Context) error {
	if err := c.begin(ctx); err != nil {
		return err
	}
	defer c.end()
	set := c.h.prober.Checks()
	if err := c.run(ctx, set.Evicting); err != nil {
		return err
	}
	if err := c.h.prober.Degraded(); err != nil {
		return err
	}
	if err := c.replica(); err != nil {
		return err
	}
	if err := asRefusing(c.h).still(ctx); err != nil {
		return err
	}
	if len(set.Gates) == 0 {
		return nil
	}
	return c.h.prober.Run(ctx, set.Gates)
}

// askGates runs the checks that only gate against a database that is not in use. What they say is kept, so that a failover
// can prefer one that they would let it move to without asking anybody. One that is not permitted to ask has not asked, and
// lets nobody pass.
func (c *checks) askGates(ctx context.Context) error {
	if err := c.h.prober.Degraded(); err != nil && !c.h.isActive() {
		return err
	}
	if err := c.replica(); err != nil {
		return err
	}
	if err := asRefusing(c.h).still(ctx); err != nil {
		c.gateErr.Store(&err)
		return err
	}
	gates := c.h.prober.Checks().Gates
	if len(gates) == 0 || c.h.isActive() {
		c.gateErr.Store(nil)
		return nil
	}
	began := time.Now()
	err := c.h.prober.Run(ctx, gates)
	c.h.listener.Checked(err, time.Since(began), false)
	switch {
	case ctx.Err() != nil:
		return ctx.Err() // the database has failed meanwhile
	case err == nil:
		c.gateErr.Store(nil)
		return nil
	}
	if probes.OutcomeOf(err) == probes.NotPermitted {
		c.h.listener.Forbidden(err)
	}
	if wasOpen := c.gateErr.Load() == nil; wasOpen && c.h.fleet.Prefers() {
		defer c.h.fleet.Recheck() // the choice is among the others now
	}
	c.gateErr.Store(&err)
	return err
}

// errReplica is why a database is not moved to as planned.
var errReplica = errors.New("the database is a replica")

// replica returns an error if the database is a replica and is not in use, and the one in use is none: who uses replicas only reads.
func (c *checks) replica() error {
	if c.h.prober.Replica() && !c.h.isActive() && !c.h.fleet.AmongReplicas() {
		return errReplica
	}
	return nil
}

// GateError is what keeps the database from being moved to as planned: that it is a replica, or what a check that only gates has
// answered the last time. nil if nothing does.
func (h *Health) GateError() error {
	if err := h.checks.replica(); err != nil {
		return err
	}
	if err := h.checks.gateErr.Load(); err != nil {
		return *err
	}
	return nil
}

// Gate is why the database is left out of a choice that has others: what a gate has answered, or a cluster that is not whole.
func (h *Health) Gate() error {
	if err := h.GateError(); err != nil {
		return err
	}
	return h.prober.Degraded()
}
