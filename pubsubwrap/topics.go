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
	s.controlMu.Lock()
	s.mu.Lock()
	for _, name := range names {
		if _, ok := s.topics[topic{other, name}]; ok {
			s.mu.Unlock()
			s.controlMu.Unlock()
			return fmt.Errorf("pubsubwrap: %q is a %s of this subscriber already; use another subscriber", name, other)
		}
	}
	var fresh []string
	for _, name := range names {
		if _, ok := s.topics[topic{kind, name}]; !ok {
			fresh = append(fresh, name)
		}
		s.topics[topic{kind, name}] = h
	}
	links := s.linked()
	s.mu.Unlock()
	s.tellAll(ctx, links, request{kind: kind, names: fresh})
	s.controlMu.Unlock()
	return s.await(ctx, func(l *link) (bool, error) {
		for _, name := range names {
			answer, ok := l.settled.Load(topic{kind, name})
			if !ok {
				return false, nil
			}
			if refusal, _ := answer.(*SubscribeError); refusal != nil {
				return true, refusal
			}
		}
		return true, nil
	})
}

func (s *Subscriber) drop(ctx context.Context, kind Kind, names []string) error {
	s.controlMu.Lock()
	s.mu.Lock()
	var known []string
	for _, name := range names {
		if _, ok := s.topics[topic{kind, name}]; ok {
			known = append(known, name)
			delete(s.topics, topic{kind, name})
		}
	}
	links := s.linked()
	s.mu.Unlock()
	s.tellAll(ctx, links, request{kind: kind, unsubscribe: true, names: known})
	s.controlMu.Unlock()
	return s.await(ctx, func(l *link) (bool, error) {
		for _, name := range known {
			if answer, ok := l.settled.Load(topic{kind, name}); ok && answer == (*SubscribeError)(nil) {
				return false, nil
			}
		}
		return true, nil
	})
}

// linked returns the links. Caller must hold mu.
func (s *Subscriber) linked() []*link {
	links := make([]*link, 0, len(s.links))
	for l := range s.links {
		links = append(links, l)
	}
	return links
}

// tellAll sends a request over every link: also over those that are about to take over, or to leave.
func (s *Subscriber) tellAll(ctx context.Context, links []*link, r request) {
	if len(r.names) == 0 {
		return
	}
	for _, l := range links {
		each := r
		l.send(context.WithoutCancel(ctx), &each)
	}
}

// await waits until the link at home has answered.
func (s *Subscriber) await(ctx context.Context, answered func(*link) (bool, error)) error {
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
