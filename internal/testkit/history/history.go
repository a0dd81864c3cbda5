// Package history keeps a log of what callers did to counters and what they were told, and proves from it that nothing
// was lost and nothing was applied twice.
package history

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Outcome is what the caller of an operation was told.
type Outcome int

const (
	// Done: it was executed.
	Done Outcome = iota
	// Unknown: it was sent, and nobody knows.
	Unknown
	// NotDone: it was certainly not executed.
	NotDone
)

// Op is one operation: an addition to a counter.
type Op struct {
	Key     string
	Amount  int64
	Outcome Outcome
}

// Log is the log of all operations. The zero value is ready. Safe for concurrent use.
type Log struct {
	mu   sync.Mutex
	ops  []Op
	errs []error
}

// Add appends an operation. One whose outcome is none of those above fails the check: it could hide anything.
func (l *Log) Add(op Op) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if op.Outcome < Done || op.Outcome > NotDone {
		l.errs = append(l.errs, fmt.Errorf("%s: %d is no outcome", op.Key, op.Outcome))
	}
	l.ops = append(l.ops, op)
}

// Totals of a key: what was reported as done, and what may have been done besides.
type Totals struct{ Done, Unknown int64 }

// Totals returns the totals by key.
func (l *Log) Totals() map[string]Totals {
	l.mu.Lock()
	defer l.mu.Unlock()
	totals := make(map[string]Totals)
	for _, op := range l.ops {
		t := totals[op.Key]
		switch op.Outcome {
		case Done:
			t.Done += op.Amount
		case Unknown:
			t.Unknown += op.Amount
		}
		totals[op.Key] = t
	}
	return totals
}

// Check compares the log with the final value of each counter, summed over all databases. It reports every counter
// that is below what was reported as done (a loss) or above that and everything of unknown fate (a double).
func (l *Log) Check(final map[string]int64) error {
	totals := l.Totals()
	for key := range final {
		if _, ok := totals[key]; !ok {
			totals[key] = Totals{}
		}
	}
	l.mu.Lock()
	errs := slices.Clone(l.errs)
	l.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(totals)) {
		t, got := totals[key], final[key]
		if got < t.Done {
			errs = append(errs, fmt.Errorf("%s: lost %d: %d were reported as done, %d are there", key, t.Done-got, t.Done, got))
		}
		if most := t.Done + t.Unknown; got > most {
			errs = append(errs, fmt.Errorf("%s: doubled %d: %d were done and %d of unknown fate, %d are there",
				key, got-most, t.Done, t.Unknown, got))
		}
	}
	return errors.Join(errs...)
}
