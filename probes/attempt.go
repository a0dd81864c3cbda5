package probes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redishook/multidb/internal/callback"
)

type answer struct {
	err error
	at  time.Time
}

var errGoexit = errors.New("probe ended its goroutine without an answer")

// attempt runs a probe once. What counts is when the probe returned, not when this
// goroutine got to read the answer: a process short of CPU must neither accept a
// late success nor turn one that came in time into a failure.
func attempt(ctx context.Context, p Probe, db Target, timeout time.Duration) error {
	id := identify(p, db)
	if err := abandoned.wait(ctx, id); err != nil {
		return err
	}

	deadline := time.Now().Add(timeout)
	late := &timeoutError{after: timeout}
	probeCtx, cancel := context.WithDeadlineCause(ctx, deadline, late)
	defer cancel()

	run := newRun(deadline)
	answers := make(chan answer, 1)
	go func() {
		err := errGoexit
		defer func() {
			answers <- answer{err: err, at: time.Now()}
			abandoned.returned(id, run)
		}()
		err = guard(probeCtx, p, db)
	}()

	var got answer
	select {
	case got = <-answers:
	case <-probeCtx.Done():
		select {
		case got = <-answers:
		default:
			abandoned.leave(id, run)
			return late
		}
	}
	if got.at.Before(deadline) {
		return got.err
	}
	if got.err != nil && !errors.Is(got.err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", late, got.err)
	}
	return late
}

// guard turns a panic into an error.
func guard(ctx context.Context, p Probe, db Target) (err error) {
	if v := callback.Guard(func() { err = p.Check(ctx, db) }); v != nil {
		return &PanicError{Value: v.Value, Stack: v.Stack}
	}
	return err
}

// timeoutError is what a probe fails with that took too long. It is a timeout to
// errors.Is(err, context.DeadlineExceeded) and to net.Error alike.
type timeoutError struct{ after time.Duration }

func (e *timeoutError) Error() string      { return fmt.Sprintf("no answer within %v", e.after) }
func (*timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }
func (*timeoutError) Timeout() bool        { return true }
func (*timeoutError) Temporary() bool      { return true }
