package traffic

import (
	"sync"
	"time"
)

// failureGap separates two troubles: failures that are further apart belong to different ones.
const failureGap = time.Second

// failing is since when commands have been failing on a database.
type failing struct {
	mu          sync.Mutex
	since, last time.Time
	err         error // the last of them
}

// NoteFailing notes that a request that was made, or had its last answer, at a certain time has failed now.
func (f *failing) NoteFailing(at, now time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.last) > failureGap || at.Before(f.since) {
		f.since = at
	}
	f.last, f.err = now, err
}

// FailingSince returns when the trouble of now began; false if there is none.
func (f *failing) FailingSince(now time.Time) (since time.Time, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.since, !f.last.IsZero() && now.Sub(f.last) <= failureGap
}

// LastFailure is the last failure, if it belongs to the trouble of now.
func (f *failing) LastFailure(now time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last.IsZero() || now.Sub(f.last) > failureGap {
		return nil
	}
	return f.err
}
