package multidb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redishook/multidb/internal/health"
)

// New waits for as many databases as Options.Initial says.

// awaitInitial waits until as many databases are healthy as the policy says, and makes the first choice. It waits for
// the first check of the others too, as long as those take anyway, so that the first one to answer does not win over
// the heaviest.
func (h *Hook) awaitInitial(ctx context.Context, policy Initial) error {
	var settled <-chan time.Time
	began, reminder := time.Now(), time.NewTicker(remindWaiting)
	defer reminder.Stop()
	for {
		healthy, unchecked, total := h.countHealthy()
		need := policy.of(total)
		if healthy >= need {
			if settled == nil {
				settled = time.After(h.opt.Health.Timeout)
			}
			if unchecked == 0 {
				break
			}
		}
		select {
		case <-h.selector.Changed():
			continue
		case now := <-reminder.C:
			h.events.waits(healthy, need, policy, roundedSince(began, now), h.troubles())
			continue
		case <-settled:
		case <-ctx.Done():
			return h.initialError(ctx, policy, healthy, need)
		}
		break
	}
	h.selector.Start()
	return nil
}

func (h *Hook) countHealthy() (healthy, unchecked, total int) {
	dbs := h.selector.All()
	for _, db := range dbs {
		if db.Health.Usable() {
			healthy++
		} else if db.Health.State() == health.Unknown {
			unchecked++
		}
	}
	return healthy, unchecked, len(dbs)
}

// of is the number of databases that the policy wants of n.
func (i Initial) of(n int) int {
	switch i {
	case InitialMajority:
		return n/2 + 1
	case InitialAll:
		return n
	}
	return 1
}

// initialError says what each database that is missing has answered.
func (h *Hook) initialError(ctx context.Context, policy Initial, healthy, need int) error {
	dbs := h.selector.All()
	errs := []error{fmt.Errorf("multidb: %d of %d databases are healthy, Options.Initial = %s needs %d: %w",
		healthy, len(dbs), policy, need, context.Cause(ctx))}
	if healthy == 0 {
		errs = append(errs, ErrNoDatabase)
	}
	for _, db := range dbs {
		if !db.Health.Usable() {
			errs = append(errs, fmt.Errorf("database %q: %w", db.Name, db.Health.Trouble()))
		}
	}
	return errors.Join(errs...)
}

// troubles are the names and causes of all databases that are not usable, as attributes of a log line.
func (h *Hook) troubles() (attrs []any) {
	for _, db := range h.selector.All() {
		if !db.Health.Usable() {
			attrs = append(attrs, db.Name, db.Locate(db.Health.Trouble()))
		}
	}
	return attrs
}
