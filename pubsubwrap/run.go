package pubsubwrap

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/callback"
)

// Channel returns the stream as a Go channel, closed by Close. It is the same channel each time.
func (s *Subscriber) Channel() <-chan Event { return s.buf.events }

// Receive returns the next event. The error is that of ctx, or ErrClosed after Close, when everything has been read.
func (s *Subscriber) Receive(ctx context.Context) (Event, error) {
	select {
	case e, ok := <-s.buf.events:
		if !ok {
			return Event{}, ErrClosed
		}
		return e, nil
	default:
	}
	select {
	case e, ok := <-s.buf.events:
		if !ok {
			return Event{}, ErrClosed
		}
		return e, nil
	case <-ctx.Done():
		return Event{}, ctx.Err()
	}
}

// ReceiveMessage returns the next message, and skips notices. An event with an error is returned as that error; the
// stream goes on after it.
func (s *Subscriber) ReceiveMessage(ctx context.Context) (*redis.Message, error) {
	for {
		e, err := s.Receive(ctx)
		switch {
		case err != nil:
			return nil, err
		case e.Err != nil:
			return nil, e.Err
		case e.Message != nil:
			return e.Message, nil
		}
	}
}

// Run calls the handlers for what comes, one event after the other, until ctx ends or Close. Then, and only then,
// it returns, when the handler that is running has. Messages without a handler, notices and errors go to other,
// which may be nil. A handler that panics is survived: other gets a *[PanicError], and Run goes on. It returns nil
// after Close, and otherwise the error of ctx, each joined with the first panic.
//
// To run it in the background: go sub.Run(ctx), or with a sync.WaitGroup to join it.
func (s *Subscriber) Run(ctx context.Context, other func(ctx context.Context, e Event)) error {
	if other == nil {
		other = func(context.Context, Event) {}
	}
	var first error
	for {
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), first)
		}
		e, err := s.Receive(ctx)
		if err != nil {
			if errors.Is(err, ErrClosed) {
				err = nil
			}
			return errors.Join(err, first)
		}
		call := other
		if e.Message != nil {
			if h := s.handler(e.Message); h != nil {
				call = func(ctx context.Context, e Event) { h(ctx, e.Message) }
			}
		}
		panicked := contain(ctx, call, e)
		if panicked == nil {
			continue
		}
		if first == nil {
			first = panicked
		}
		_ = contain(ctx, other, Event{Err: panicked})
	}
}

// contain calls a handler and survives it.
func contain(ctx context.Context, call func(context.Context, Event), e Event) (panicked error) {
	p := callback.Guard(func() { call(ctx, e) })
	if p == nil {
		return nil
	}
	err := &PanicError{Function: "handler", Value: p.Value, Stack: p.Stack}
	if e.Message != nil {
		err.Channel = e.Message.Channel
	}
	return err
}
