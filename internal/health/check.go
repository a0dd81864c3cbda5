package health

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/ownfault"
	"github.com/redishook/multidb/probes"
)

// What the answers of checks mean: which pass, which only gate, and which have no right to ask.

// pingOnce sends PING. A probe that is not permitted to ask proves that the database answers; one whose login is refused is no
// place to go to.
func (h *Health) pingOnce(ctx context.Context) error { return unlessForbidden(h, h.prober.Ping(ctx)) }

func unlessForbidden(h *Health, err error) error {
	if h.prober.Cluster() == nil && probes.OutcomeOf(err) == probes.NotPermitted && (!redis.IsAuthError(err) || h.inUse()) {
		h.listener.Forbidden(err)
		return nil
	}
	return err
}

// check runs checks and returns nil if they pass. A probe that is not permitted to ask proves that the database answers, which is
// enough to stay there; one whose login is refused is no place to go to.
func (h *Health) check(ctx context.Context, checks probes.Checks) error {
	began := time.Now()
	err := h.prober.Run(ctx, checks)
	h.listener.Checked(err, time.Since(began), false)
	if errors.Is(err, redis.ErrPoolTimeout) {
		// The checks have waited for one another, which says nothing about the database.
		err = h.confirm()
	}
	switch probes.OutcomeOf(err) {
	case probes.NotPermitted:
		if redis.IsAuthError(err) && !h.inUse() {
			return err
		}
		h.listener.Forbidden(err)
		return nil
	case probes.Passed:
		return nil
	}
	return err
}

// firstCheck finds out what the database is like before it may be chosen.
func (h *Health) firstCheck() {
	generation := h.Generation()
	if h.lockChecks(h.ctx) != nil {
		return
	}
	err := h.prober.AskConnect(h.ctx, 1) // however far it is: what follows finds the distance known
	if err == nil {
		err = h.prober.Ask(h.ctx, 1, h.pingOnce) // a quick probe that must dial first has to wait as long as a dial may take
	}
	if err == nil {
		err = h.check(h.ctx, h.prober.Checks().Evicting)
	}
	h.unlockChecks()
	switch {
	case h.isClosed():
	case err != nil:
		h.Trip(generation, Outage{Cause: err}) // unless ForceActive, which needs no check, has come first
	default:
		h.Restore(generation)
	}
}

// checkRegularly asks a usable database, and considers a return to it if it passes.
func (h *Health) checkRegularly(ctx context.Context) error {
	if !h.isActive() {
		// It may be needed at any moment, and then everybody needs a new connection.
		if err := h.prober.AskConnect(ctx, confirmProbes); err != nil && ctx.Err() == nil && !ownfault.Is(err) {
			return err
		}
	}
	if err := h.check(ctx, h.prober.Checks().Evicting); err != nil {
		// Once more before the verdict: one lost packet is no outage.
		if quick := h.confirm(); quick != nil {
			return h.excuse(quick)
		}
		if err = h.check(ctx, h.prober.Checks().Evicting); err != nil {
			// PING passes, so what fails may be what the check leans on: an API, say, that is away for all databases.
			if h.inUse() && ctx.Err() == nil && !h.fleet.AlternativePasses(Checks(ctx)) {
				h.listener.NowhereBetter(err)
				return nil
			}
			return err
		}
	}
	h.Heard(time.Now())
	if h.askGates(ctx) == nil {
		h.fleet.Failback(ctx)
	}
	return nil
}

// checkOnce asks a half-open database.
func (h *Health) checkOnce(ctx context.Context) error {
	if err := h.prober.AskConnect(ctx, 1); err != nil {
		return err
	}
	return h.check(ctx, h.prober.Checks().Evicting)
}

// checkBriefly asks a database for the quickest answer that there is: over a new connection, because everybody needs one.
func (h *Health) checkBriefly(ctx context.Context) error {
	began := time.Now()
	err := h.prober.AskNew(ctx, 1, func(ctx context.Context) error { return unlessForbidden(h, h.prober.Return(ctx)) })
	h.listener.Checked(err, time.Since(began), true)
	if brief := h.prober.Checks().Brief; err == nil && len(brief) > 0 {
		err = h.check(ctx, brief)
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
	err := h.prober.Ask(ctx, 1, h.ping)
	if err == nil {
		err = h.prober.AskConnect(ctx, 1)
	}
	if err == nil {
		err = h.checkWholly(ctx)
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

// checkWholly asks whatever a planned move to the database must pass. What may evict has the same say as in the background: a
// probe that is not permitted to ask keeps nobody out. A gate that is not permitted does.
func (h *Health) checkWholly(ctx context.Context) error {
	if err := h.lockChecks(ctx); err != nil {
		return err
	}
	defer h.unlockChecks()
	set := h.prober.Checks()
	if err := h.check(ctx, set.Evicting); err != nil {
		return err
	}
	if err := h.prober.Degraded(); err != nil {
		return err
	}
	if err := h.replica(); err != nil {
		return err
	}
	if err := asRefusing(h).still(ctx); err != nil {
		return err
	}
	if len(set.Gates) == 0 {
		return nil
	}
	return h.prober.Run(ctx, set.Gates)
}

// askGates runs the checks that only gate against a database that is not in use. What they say is kept, so that a failover
// can prefer one that they would let it move to without asking anybody. One that is not permitted to ask has not asked, and
// lets nobody pass.
func (h *Health) askGates(ctx context.Context) error {
	if err := h.prober.Degraded(); err != nil && !h.isActive() {
		return err
	}
	if err := h.replica(); err != nil {
		return err
	}
	if err := asRefusing(h).still(ctx); err != nil {
		h.gateErr.Store(&err)
		return err
	}
	gates := h.prober.Checks().Gates
	if len(gates) == 0 || h.isActive() {
		h.gateErr.Store(nil)
		return nil
	}
	began := time.Now()
	err := h.prober.Run(ctx, gates)
	h.listener.Checked(err, time.Since(began), false)
	switch {
	case ctx.Err() != nil:
		return ctx.Err() // the database has failed meanwhile
	case err == nil:
		h.gateErr.Store(nil)
		return nil
	}
	if probes.OutcomeOf(err) == probes.NotPermitted {
		h.listener.Forbidden(err)
	}
	if wasOpen := h.gateErr.Load() == nil; wasOpen && h.fleet.Prefers() {
		defer h.fleet.Recheck() // the choice is among the others now
	}
	h.gateErr.Store(&err)
	return err
}

// errReplica is why a database is not moved to as planned.
var errReplica = errors.New("the database is a replica")

// replica returns an error if the database is a replica and is not in use, and the one in use is none: who uses replicas only reads.
func (h *Health) replica() error {
	if h.prober.Replica() && !h.isActive() && !h.fleet.AmongReplicas() {
		return errReplica
	}
	return nil
}

// GateError is what keeps the database from being moved to as planned: that it is a replica, or what a check that only gates has
// answered the last time. nil if nothing does.
func (h *Health) GateError() error {
	if err := h.replica(); err != nil {
		return err
	}
	if err := h.gateErr.Load(); err != nil {
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
