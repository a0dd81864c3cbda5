package callback

import (
	"cmp"
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// Functions of the user's that a connection needs: the dialer and the provider of credentials. Some take no context, or do not heed
// it. Nobody waits for them any longer than the context lasts.

const defaultPatience = 20 * time.Millisecond

const (
	// maxStrays is how many functions may be on their way with nobody waiting.
	maxStrays = 256
	// strayPause is the time after which one more is called although there are so many: some may never return, and what they have
	// hung on may be well again.
	strayPause = 10 * time.Second
)

var errStrays = errors.New("multidb: too many calls of the dialer or the credentials provider have not returned although their time is over")

// Strays counts functions that nobody waits for any more. The zero value is ready. Safe for concurrent use.
type Strays struct {
	// Patience is how long a function may take to notice that its context has ended. What it says then is better than what can be
	// said without it. Default: 20 ms.
	Patience time.Duration

	left    atomic.Int64
	allowed atomic.Int64 // when one was called although there were too many, ns since strayEpoch
}

var strayEpoch = time.Now()

// Left returns how many have not returned.
func (s *Strays) Left() int { return int(s.left.Load()) }

// mayCall reports whether one more may be called.
func (s *Strays) mayCall() bool {
	if s.left.Load() < maxStrays {
		return true
	}
	now, last := int64(time.Since(strayEpoch)), s.allowed.Load()
	return (last == 0 || now-last >= int64(strayPause)) && s.allowed.CompareAndSwap(last, now)
}

// Beside runs a function of the user's in a goroutine of its own. If nobody waits any more when it returns, its result goes to
// late. A panic reaches the caller, if there is one.
func Beside[T any](ctx context.Context, s *Strays, call func() (T, error), late func(T)) (result T, err error) {
	if !s.mayCall() {
		return result, errStrays
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
				s.left.Add(-1)
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
	timer := time.NewTimer(cmp.Or(s.Patience, defaultPatience))
	defer timer.Stop()
	select {
	case o := <-done:
		return take(o)
	case <-timer.C:
		s.left.Add(1)
		close(gone)
		return result, ctx.Err()
	}
}
