package multidb

import (
	"fmt"
	"slices"

	"github.com/redishook/multidb/internal/optioncheck"
	"github.com/redishook/multidb/probes"
)

// AddProbe adds a check to those of every database, from its next round on. Databases added later have it too,
// unless they have checks of their own. The error is that of the check's options, or ErrClosed. Safe for
// concurrent use.
//
// Who makes a probe closes it: see [probes.Close].
func (h *Hook) AddProbe(check probes.Check) error {
	if err := (probes.Checks{check}).Validate(); err != nil {
		return optioncheck.Prefixed("multidb: AddProbe: Check", err)
	}
	_, err := h.selector.EditChecks(func(checks probes.Checks) probes.Checks {
		return append(slices.Clone(checks), check)
	})
	return err
}

// RemoveProbe removes the checks whose probe has that name (see [probes.Name]: "ping", "write", "lag-aware", ...) from
// every database. A database that is left without a check is asked by PING. The error says if no database had it. Who has made the
// probe closes it, see [probes.Close]. Safe for concurrent use.
func (h *Hook) RemoveProbe(name string) error {
	named := func(c probes.Check) bool { return probes.Name(c.Probe) == name }
	before, err := h.selector.EditChecks(func(checks probes.Checks) probes.Checks {
		return slices.DeleteFunc(slices.Clone(checks), named)
	})
	removed := slices.DeleteFunc(before, func(c probes.Check) bool { return !named(c) })
	switch {
	case err != nil:
		return err
	case len(removed) == 0:
		return fmt.Errorf("multidb: RemoveProbe: no database has a probe named %q", name)
	}
	return nil
}
