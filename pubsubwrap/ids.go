package pubsubwrap

import (
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/callback"
)

// idSet remembers the ids of the latest messages, of all connections together. Safe for concurrent use.
type idSet struct {
	of       func(*redis.Message) string
	panicked atomic.Bool // it has, and that was said

	mu   sync.Mutex
	seen map[messageKey]struct{}
	ring []messageKey
	next int
}

type messageKey struct{ channel, pattern, id string }

func newIDSet(opt *Options) *idSet {
	return &idSet{
		of: opt.MessageID, seen: make(map[messageKey]struct{}),
		ring: make([]messageKey, opt.MessageIDs),
	}
}

// has reports whether the message has been seen, and remembers it. The error is that of the first panic.
func (s *idSet) has(m *redis.Message) (bool, error) {
	id, err := s.id(m) // without the lock: it is a function of the application's
	if id == "" {
		return false, err
	}
	key := messageKey{m.Channel, m.Pattern, id}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.seen[key]; ok {
		return true, nil
	}
	delete(s.seen, s.ring[s.next])
	s.ring[s.next] = key
	s.next = (s.next + 1) % len(s.ring)
	s.seen[key] = struct{}{}
	return false, nil
}

// id calls the function and survives it: the message has no id then.
func (s *idSet) id(m *redis.Message) (id string, err error) {
	p := callback.Guard(func() { id = s.of(m) })
	if p == nil {
		return id, nil
	}
	if s.panicked.CompareAndSwap(false, true) {
		err = &PanicError{Function: "MessageID", Channel: m.Channel, Value: p.Value, Stack: p.Stack}
	}
	return "", err
}
