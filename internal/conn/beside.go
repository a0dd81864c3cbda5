package conn

import (
	"context"
	"errors"
	"time"
)

// Functions of the user's that a dial needs: the dialer and the provider of credentials. Some take no context, or do not heed
// it. A caller waits for them no longer than its context lasts, and a switch ends that.

// besidePatience is how long a function may take to notice that its context has ended. What it says then is better than what
// can be said without it.
const besidePatience = 20 * time.Millisecond

// maxAbandoned is how many functions of one database may be on their way with nobody waiting.
const maxAbandoned = 256

var errAbandoned = errors.New("multidb: too many dials to this database have not returned although their time is over")

// beside runs a function of the user's in a goroutine of its own. If nobody waits any more when it returns, its result goes to
// late. A panic reaches the caller, if there is one.
func beside[T any](ctx context.Context, s *Set, call func() (T, error), late func(T)) (result T, err error) {
	if s.abandoned.Load() >= maxAbandoned {
		return result, errAbandoned
	}
	type outcome struct {
		result   T
		err      error
		panicked any
	}
	done := make(chan outcome) // without room: whoever sends knows whether somebody has taken it
	gone := make(chan struct{})
	go func() {
		var o outcome
		defer func() {
			o.panicked = recover()
			select {
			case done <- o:
			case <-gone:
				s.abandoned.Add(-1)
				if o.err == nil && o.panicked == nil {
					late(o.result)
				}
			}
		}()
		o.result, o.err = call()
	}()
	take := func(o outcome) (T, error) {
		if o.panicked != nil {
			panic(o.panicked)
		}
		return o.result, o.err
	}
	select {
	case o := <-done:
		return take(o)
	case <-ctx.Done():
	}
	timer := time.NewTimer(besidePatience)
	defer timer.Stop()
	select {
	case o := <-done:
		return take(o)
	case <-timer.C:
		s.abandoned.Add(1)
		close(gone)
		return result, ctx.Err()
	}
}
