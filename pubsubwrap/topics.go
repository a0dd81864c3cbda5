package pubsubwrap

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Handler is called for each message, by Run, one at a time.
type Handler func(ctx context.Context, m *redis.Message)

// Subscribe subscribes to channels and waits until the active database has confirmed, or until ctx ends: the
// subscription stands even then, and is made as soon as it can be. Its messages are in the stream. The error is a
// *[SubscribeError] if the database refuses, ErrClosed, or that of ctx. Safe for concurrent use.
func (s *Subscriber) Subscribe(ctx context.Context, channels ...string) error {
	return s.add(ctx, Channel, nil, channels)
}

// PSubscribe is Subscribe for patterns.
func (s *Subscriber) PSubscribe(ctx context.Context, patterns ...string) error {
	return s.add(ctx, Pattern, nil, patterns)
}

// SSubscribe is Subscribe for shard channels. A name cannot be a channel and a shard channel of one subscriber, because
// go-redis does not say which of them a message came from.
func (s *Subscriber) SSubscribe(ctx context.Context, channels ...string) error {
	return s.add(ctx, ShardChannel, nil, channels)
}

// Handle is Subscribe with a handler that Run calls for the messages of these channels; it replaces an earlier one. Who
// reads the stream with Channel or Receive gets the messages there.
func (s *Subscriber) Handle(ctx context.Context, h Handler, channels ...string) error {
	return s.add(ctx, Channel, h, channels)
}

// PHandle is Handle for patterns.
func (s *Subscriber) PHandle(ctx context.Context, h Handler, patterns ...string) error {
	return s.add(ctx, Pattern, h, patterns)
}

// SHandle is Handle for shard channels.
func (s *Subscriber) SHandle(ctx context.Context, h Handler, channels ...string) error {
	return s.add(ctx, ShardChannel, h, channels)
}

// Unsubscribe ends the subscription to channels, and waits as Subscribe does. Messages that are in the stream stay
// there. Safe for concurrent use.
func (s *Subscriber) Unsubscribe(ctx context.Context, channels ...string) error {
	return s.drop(ctx, Channel, channels)
}

// PUnsubscribe is Unsubscribe for patterns.
func (s *Subscriber) PUnsubscribe(ctx context.Context, patterns ...string) error {
	return s.drop(ctx, Pattern, patterns)
}

// SUnsubscribe is Unsubscribe for shard channels.
func (s *Subscriber) SUnsubscribe(ctx context.Context, channels ...string) error {
	return s.drop(ctx, ShardChannel, channels)
}

func (s *Subscriber) add(ctx context.Context, kind Kind, h Handler, names []string) error {
	other := map[Kind]Kind{Channel: ShardChannel, ShardChannel: Channel}[kind]
	s.mu.Lock()
	for _, name := range names {
		if _, ok := s.topics[topic{other, name}]; ok {
			s.mu.Unlock()
			return fmt.Errorf("pubsubwrap: %q is a %s of this subscriber already; use another subscriber", name, other)
		}
	}
	fresh := make(map[string]bool)
	for _, name := range names {
		if _, ok := s.topics[topic{kind, name}]; !ok {
			fresh[name] = true
		}
		s.topics[topic{kind, name}] = h
	}
	for l := range s.conns {
		var ask []string
		for _, name := range names {
			if fresh[name] || l.refusal(topic{kind, name}) != nil {
				ask = append(ask, name)
			}
		}
		l.subscribe(kind, false, ask...)
	}
	s.mu.Unlock()
	return s.await(ctx, func(l *subConn) (bool, error) {
		for _, name := range names {
			if _, answered := l.settled.Load(topic{kind, name}); !answered && s.wants(topic{kind, name}) {
				return false, nil
			}
			if refusal := l.refusal(topic{kind, name}); refusal != nil {
				return true, refusal
			}
		}
		return true, nil
	})
}

func (s *Subscriber) drop(ctx context.Context, kind Kind, names []string) error {
	s.mu.Lock()
	var known []string
	for _, name := range names {
		if _, ok := s.topics[topic{kind, name}]; ok {
			known = append(known, name)
			delete(s.topics, topic{kind, name})
		}
	}
	for l := range s.conns {
		l.unsubscribe(kind, known...)
	}
	s.mu.Unlock()
	return s.await(ctx, func(l *subConn) (bool, error) {
		for _, name := range known {
			_, settled := l.settled.Load(topic{kind, name})
			refusal := l.refusal(topic{kind, name})
			switch {
			case s.wants(topic{kind, name}):
			case settled && refusal == nil:
				return false, nil
			case refusal != nil && refusal.unsubscribe:
				return true, refusal
			}
		}
		return true, nil
	})
}

// again asks for the names of a refused request one by one, except for those about which the application has changed its
// mind: its later request is in the outbox already, and would be undone.
func (s *Subscriber) again(l *subConn, r *request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range r.names {
		_, wanted := s.topics[topic{r.kind, name}]
		switch {
		case r.unsubscribe && !wanted:
			l.unsubscribe(r.kind, name)
		case !r.unsubscribe && wanted:
			l.subscribe(r.kind, r.initial, name)
		}
	}
}

// wants reports whether something is to be subscribed.
func (s *Subscriber) wants(t topic) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.topics[t]
	return ok
}

// execRefused returns what the database has answered, if that was an error.
func (l *subConn) refusal(t topic) *SubscribeError {
	answer, _ := l.settled.Load(t)
	refusal, _ := answer.(*SubscribeError)
	return refusal
}

// await waits until the connection at home has answered. What lies before the answer on its connection is read meanwhile, even
// if the application does not take it: it may be the application that waits here.
func (s *Subscriber) await(ctx context.Context, answered func(*subConn) (bool, error)) error {
	defer s.buf.call()()
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	for {
		s.mu.Lock()
		l, change := s.home, s.change
		s.mu.Unlock()
		if l != nil && l.alive() {
			if done, err := answered(l); done {
				return err
			}
		}
		select {
		case <-change:
		case <-s.lost:
			return ErrClosed
		case <-s.ctx.Done():
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// handler finds the handler of a message.
func (s *Subscriber) handler(m *redis.Message) Handler {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Pattern != "" {
		return s.topics[topic{Pattern, m.Pattern}]
	}
	if h := s.topics[topic{Channel, m.Channel}]; h != nil {
		return h
	}
	return s.topics[topic{ShardChannel, m.Channel}]
}
