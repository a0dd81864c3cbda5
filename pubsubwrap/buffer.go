package pubsubwrap

import (
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// buffer is where events wait for the application. It bounds their number by its policy.
type buffer struct {
	events  chan Event
	policy  Policy
	closed  <-chan struct{}
	dropped atomic.Uint64
	ids     *idSet // nil: nothing is compared
}

func newBuffer(opt *Options, closed <-chan struct{}) *buffer {
	b := &buffer{events: make(chan Event, opt.Buffer), policy: opt.Policy, closed: closed}
	if opt.MessageID != nil {
		b.ids = &idSet{of: opt.MessageID, seen: make(map[messageKey]struct{}), ring: make([]messageKey, opt.MessageIDs)}
	}
	return b
}

// push puts an event into the buffer, waits for room, or drops a message. It reports whether it had to wait.
func (b *buffer) push(e Event) (waited bool) {
	if b.ids != nil && e.Message != nil && b.ids.has(e.Message) {
		return false
	}
	select {
	case b.events <- e:
		return false
	default:
	}
	switch {
	case b.policy == Block:
		b.wait(e)
		return true
	case b.policy == DropNewest && e.Message != nil:
		b.dropped.Add(1)
		return false
	default:
		b.makeRoom(e)
		return true
	}
}

func (b *buffer) wait(e Event) {
	select {
	case b.events <- e:
	case <-b.closed:
	}
}

// makeRoom drops the oldest message. A notice in its place is taken to the end, since it must not be lost.
func (b *buffer) makeRoom(e Event) {
	for {
		select {
		case b.events <- e:
			return
		case <-b.closed:
			return
		default:
		}
		select {
		case oldest := <-b.events:
			if oldest.Message != nil {
				b.dropped.Add(1)
				continue
			}
			if e.Message != nil {
				// The message gives way instead: room for two is not to be had.
				b.dropped.Add(1)
				e = oldest
				continue
			}
			b.wait(oldest)
			b.wait(e)
			return
		default:
		}
	}
}

// idSet remembers the ids of the latest messages.
type idSet struct {
	of func(*redis.Message) string

	mu   sync.Mutex
	seen map[messageKey]struct{}
	ring []messageKey
	next int
}

type messageKey struct{ channel, pattern, id string }

// has reports whether the message has been seen, and remembers it.
func (s *idSet) has(m *redis.Message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := messageKey{m.Channel, m.Pattern, s.of(m)}
	if key.id == "" {
		return false
	}
	if _, ok := s.seen[key]; ok {
		return true
	}
	delete(s.seen, s.ring[s.next])
	s.ring[s.next] = key
	s.next = (s.next + 1) % len(s.ring)
	s.seen[key] = struct{}{}
	return false
}
