package multidb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/health"
	"github.com/redishook/multidb/internal/selector"
)

// New waits for as many databases as Options.Initial says.

// initial is that wait.
type initial struct {
	selector *selector.Selector
	events   *dispatcher
	policy   Initial
	timeout  time.Duration // of a check
}

// remindWaiting is how often New says what it waits for.
const remindWaiting = 5 * time.Second

// await waits until as many databases are healthy as the policy says, and makes the first choice. It waits for
// the first check of the others too, as long as those take anyway, so that the first one to answer does not win over
// the heaviest.
func (i initial) await(ctx context.Context) error {
	var settled <-chan time.Time
	began, reminder := time.Now(), time.NewTicker(remindWaiting)
	defer reminder.Stop()
	for {
		healthy, unchecked, total := i.countHealthy()
		need := i.policy.of(total)
		if healthy >= need {
			if settled == nil {
				settled = time.After(i.timeout)
			}
			if unchecked == 0 {
				break
			}
		}
		select {
		case <-i.selector.Changed():
			continue
		case now := <-reminder.C:
			i.events.waits(healthy, need, i.policy, now.Sub(began).Round(time.Second), database.Troubles(i.selector.All()))
			continue
		case <-settled:
		case <-ctx.Done():
			return i.fail(ctx, healthy, need)
		}
		break
	}
	i.selector.Start()
	return nil
}

func (i initial) countHealthy() (healthy, unchecked, total int) {
	dbs := i.selector.All()
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

// fail says what each database that is missing has answered.
func (i initial) fail(ctx context.Context, healthy, need int) error {
	dbs := i.selector.All()
	errs := []error{fmt.Errorf("multidb: %d of %d databases are healthy, Options.Initial = %s needs %d: %w",
		healthy, len(dbs), i.policy, need, context.Cause(ctx))}
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
