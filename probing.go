package multidb

import (
	"fmt"
	"slices"

	"github.com/redishook/multidb/internal/prober"
	"github.com/redishook/multidb/probes"
)

// AddProbe adds a check to those of every database, from its next round on, and to those of databases added later that
// have none of their own. The error is that of the check's options, or ErrClosed. Safe for concurrent use.
//
// The hook closes the probe when nobody has it any more: see [probes.Close].
func (h *Hook) AddProbe(check probes.Check) error {
	if err := (probes.Checks{check}).Validate(); err != nil {
		return prefixed("multidb: AddProbe: Check", err)
	}
	_, _, err := h.selector.editChecks(func(checks probes.Checks) probes.Checks {
		return append(slices.Clone(checks), check)
	})
	return err
}

// RemoveProbe removes the checks whose probe has that name (see [probes.Name]: "ping", "write", "lag-aware", ...) from
// every database, and closes them (see [probes.Close]). A database that is left without a check is asked by PING. The error
// says if no database had it, or is that of closing it. Safe for concurrent use.
func (h *Hook) RemoveProbe(name string) error {
	named := func(c probes.Check) bool { return probes.Name(c.Probe) == name }
	before, inUse, err := h.selector.editChecks(func(checks probes.Checks) probes.Checks {
		return slices.DeleteFunc(slices.Clone(checks), named)
	})
	removed := slices.DeleteFunc(before, func(c probes.Check) bool { return !named(c) })
	switch {
	case err != nil:
		return err
	case len(removed) == 0:
		return fmt.Errorf("multidb: RemoveProbe: no database has a probe named %q", name)
	}
	if err := removed.CloseUnused(inUse); err != nil {
		return fmt.Errorf("multidb: RemoveProbe: closing %q: %w", name, err)
	}
	return nil
}

// editChecks replaces the checks of all databases, and those that later ones get, and returns what they were and all that are
// in use then. Probes say by functions of a user's what they are, so the new checks are made without the lock, and anew if
// anything has moved: somebody else may have removed the same ones meanwhile.
func (s *selector) editChecks(edit func(probes.Checks) probes.Checks) (before, inUse probes.Checks, err error) {
	for {
		s.mu.Lock()
		version, dbs, later, closed := s.version, slices.Clone(s.dbs), s.checks, s.closed
		s.mu.Unlock()
		if closed {
			return nil, nil, ErrClosed
		}
		before = slices.Clone(later)
		later = edit(later)
		sets := make([]*prober.Checks, len(dbs))
		for i, db := range dbs {
			all := db.prober.Checks().All
			before = append(before, all...)
			sets[i] = db.prober.NewChecks(edit(all))
		}
		if inUse, ok := s.storeChecks(version, later, dbs, sets); ok {
			recheckAll(dbs)
			return before, inUse, nil
		}
	}
}

func (s *selector) storeChecks(version uint64, later probes.Checks, dbs []*database, sets []*prober.Checks) (inUse probes.Checks, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.version != version {
		return nil, false
	}
	s.version++
	s.checks = later
	for i, db := range dbs {
		db.prober.SetChecks(sets[i])
	}
	return s.probing(), true
}

// laterChecks are those of a database that is added now and has none of its own.
func (s *selector) laterChecks() (checks probes.Checks, version uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.checks, s.version
}

// closeProbes closes all that are left.
func (s *selector) closeProbes() error {
	s.mu.Lock()
	all := s.probing()
	s.mu.Unlock()
	return all.Close()
}

// probing is all checks that databases have, or will get when they are added. Caller must hold mu.
func (s *selector) probing() probes.Checks {
	all := slices.Clone(s.checks)
	for _, db := range slices.Concat(s.dbs, s.leaving) {
		all = append(all, db.prober.Checks().All...)
	}
	return all
}
