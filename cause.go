package multidb

import (
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/redishook/multidb/internal/goredis"
)

// What the cause of a switch or of an outage says: where the database is, what it replied last, and since when its users have
// felt it.

// causeAt is a cause with the address of the database, which most causes do not name by themselves.
type causeAt struct {
	addr string
	err  error
}

// at adds the address of the database to a cause that does not have it.
func (db *database) at(cause error) error {
	addr := db.endpoint().Addr
	if cause == nil || addr == "" || strings.Contains(cause.Error(), addr) {
		return cause
	}
	return &causeAt{addr, cause}
}

func (e *causeAt) Error() string { return e.addr + ": " + e.err.Error() }
func (e *causeAt) Unwrap() error { return e.err }

// detectorError is the cause of a switch that a failure detector asked for, with the last failure that it has seen: the reply
// (READONLY, say) tells what to do, and a number of failures does not.
type detectorError struct {
	reason string
	last   error
}

func (e *detectorError) Error() string {
	text := "failure detector: " + e.reason
	if e.last == nil || strings.Contains(e.reason, e.last.Error()) {
		return text
	}
	return text + "; the last one: " + e.last.Error()
}

func (e *detectorError) Unwrap() error { return e.last }

// failureGap separates two troubles: failures that are further apart belong to different ones.
const failureGap = time.Second

// failing is since when commands have been failing on a database.
type failing struct {
	mu          sync.Mutex
	since, last time.Time
	err         error // the last of them
}

// note notes that a request that was made, or had its last answer, at a certain time has failed now.
func (f *failing) note(at, now time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.last) > failureGap || at.Before(f.since) {
		f.since = at
	}
	f.last, f.err = now, err
}

// began returns when the trouble of now began; false if there is none.
func (f *failing) began(now time.Time) (since time.Time, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.since, !f.last.IsZero() && now.Sub(f.last) <= failureGap
}

// lastError is the last failure, if it belongs to the trouble of now.
func (f *failing) lastError(now time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last.IsZero() || now.Sub(f.last) > failureGap {
		return nil
	}
	return f.err
}

// noteFailing notes evidence that users have felt. That another database is suspected is not felt by anybody.
func (db *database) noteFailing(cause error) {
	var beside suspectedWith
	if errors.As(cause, &beside) {
		return
	}
	now := time.Now()
	at := now
	var quiet stallError
	if errors.As(cause, &quiet) {
		at = now.Add(-time.Duration(quiet))
	}
	db.failing.note(at, now, goredis.Cause(cause))
}
