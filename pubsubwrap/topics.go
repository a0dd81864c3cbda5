package pubsubwrap

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Handler is called for each message, by Run, one at a time.
type Handler func(ctx context.Context, m *redis.Message)

// Subscribe subscribes to channels and waits until the active database has confirmed, or until ctx ends. The
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
	if s.isClosed() {
		s.mu.Unlock()
		return ErrClosed
	}
	for _, name := range names {
		if _, ok := s.topics[topic{other, name}]; ok {
			s.mu.Unlock()
			return fmt.Errorf("pubsubwrap: %q is a %s of this subscriber already; use another subscriber", name, other)
		}
	}
	asked := make(map[*link][]string)
	for slot, names := range s.bySlot(kind, names) {
		k := s.links[slot]
		if k == nil {
			k = s.start(slot)
		}
		k.add(kind, names)
		asked[k] = names
	}
	for _, name := range names {
		s.topics[topic{kind, name}] = h
	}
	s.mu.Unlock()
	return s.await(ctx, asked, func(k *link, l *subConn) (bool, error) { return k.subscribed(l, kind, asked[k]) })
}

func (s *Subscriber) drop(ctx context.Context, kind Kind, names []string) error {
	s.mu.Lock()
	if s.isClosed() {
		s.mu.Unlock()
		return ErrClosed
	}
	asked := make(map[*link][]string)
	for slot, names := range s.bySlot(kind, names) {
		k := s.links[slot]
		if k == nil {
			continue
		}
		asked[k] = k.drop(kind, names)
		if names := asked[k]; slot != noSlot {
			s.wg.Go(func() { s.retire(k, kind, names) })
		}
	}
	for _, name := range names {
		delete(s.topics, topic{kind, name})
	}
	s.mu.Unlock()
	return s.await(ctx, asked, func(k *link, l *subConn) (bool, error) { return k.unsubscribed(l, kind, asked[k]) })
}

// bySlot tells names apart by the link that they belong to. There is one without names if there are none.
func (s *Subscriber) bySlot(kind Kind, names []string) map[int][]string {
	bySlot := make(map[int][]string)
	for _, name := range names {
		slot := s.slotFor(topic{kind, name})
		bySlot[slot] = append(bySlot[slot], name)
	}
	if len(names) == 0 && !s.onCluster {
		bySlot[noSlot] = nil
	}
	return bySlot
}

// refusal returns what the database has answered, if that was an error.
func (l *subConn) refusal(t topic) *SubscribeError {
	answer, _ := l.settled.Load(t)
	refusal, _ := answer.(*SubscribeError)
	return refusal
}

// await waits until all links have been answered, and returns the first error. What lies before an answer on its connection is
// read meanwhile, even if the application does not take it: it may be the application that waits here.
func (s *Subscriber) await(ctx context.Context, asked map[*link][]string, answered func(*link, *subConn) (bool, error)) error {
	defer s.buf.call()()
	var first error
	for k := range asked {
		err := k.await(ctx, func(l *subConn) (bool, error) { return answered(k, l) })
		if first == nil {
			first = err
		}
	}
	return first
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
