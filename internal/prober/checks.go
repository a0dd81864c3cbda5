package prober

import (
	"context"
	"slices"

	"github.com/redishook/multidb/probes"
)

// Checks is what a database is asked. It never changes.
type Checks struct {
	All      probes.Checks // as they were given
	Evicting probes.Checks // what may cause a move away from it, and must pass before one to it
	Gates    probes.Checks // what must pass before a planned move to it, and causes none away from it
	Brief    probes.Checks // the evicting ones but PING, with one probe each: what is asked while nothing is usable
}

// NewChecks makes what the database is asked of checks as they were given. It calls functions of the user's.
func (p *Prober) NewChecks(all probes.Checks) *Checks {
	all = p.shareProbeConn(all)
	set := &Checks{All: all, Evicting: all.Evicting()}
	for _, check := range all {
		if probes.GatesOnly(check.Probe) {
			set.Gates = append(set.Gates, check)
		}
	}
	if len(set.Evicting) == 0 {
		// Checks that only gate would leave nobody to notice a death.
		set.Evicting = p.shareProbeConn(probes.Checks{{Probe: probes.Ping(), Probes: 1}})
	}
	set.Brief = slices.DeleteFunc(slices.Clone(set.Evicting), func(c probes.Check) bool { return c.Probe == quickPing{p} })
	for i := range set.Brief {
		set.Brief[i].Probes = 1
	}
	return set
}

// quickPing is [probes.Ping] over the connection that quick probes have: a database that is asked nothing else needs no
// second one.
type quickPing struct{ prober *Prober }

func (quickPing) String() string { return "ping" }

// Check sends PING.
func (p quickPing) Check(ctx context.Context, db probes.Target) error {
	db.Client = p.prober.quick
	return p.prober.refusal.learn(probes.Ping().Check(ctx, db))
}

// shareProbeConn makes each Ping a quickPing of this database, or its survey if the database is a cluster: a PING to each node
// would give a cluster up for one master that the cluster is about to replace.
func (p *Prober) shareProbeConn(checks probes.Checks) probes.Checks {
	checks = slices.Clone(checks)
	for i := range checks {
		if checks[i].Probe == probes.Ping() {
			checks[i].Probe = quickPing{p}
			if p.cluster != nil {
				checks[i].Probe = clusterCheck{p}
			}
		}
	}
	return checks
}

// Checks returns what the database is asked now.
func (p *Prober) Checks() *Checks { return p.checks.Load() }

// SetChecks changes what the database is asked, from the next round on.
func (p *Prober) SetChecks(checks *Checks) { p.checks.Store(checks) }
