package conn

import (
	"sync"
	"sync/atomic"

	"github.com/redishook/multidb/internal/resp"
)

// subscriptions tells confirmations, messages and replies apart on a connection that has subscribed.
//
// SUBSCRIBE and its kin are answered by one confirmation per channel, or by one error. UNSUBSCRIBE without a channel is
// answered by one per channel subscribed, or by a single one if there is none. With RESP3 confirmations are pushes; with
// RESP2 they are arrays, and so is the answer to PING. Each confirmation says how many subscriptions are left: channels and
// patterns together, shard channels by themselves.
type subscriptions struct {
	mu    sync.Mutex
	queue []subscribeRequest // not confirmed

	total                     atomic.Int64 // what the connection is subscribed to now
	channels, patterns, shard int64        // the reader's
}

// subscribeRequest is a request whose confirmations have numbers from..upTo in the ledger.
type subscribeRequest struct {
	from, upTo uint64
	all        bool // it unsubscribes from all, and has as many confirmations as there are
}

// Subscribed reports that the connection has subscriptions, or has asked for some.
func (l *Ledger) Subscribed() bool {
	subs := l.subs.Load()
	if subs == nil {
		return false
	}
	if subs.total.Load() > 0 {
		return true
	}
	subs.mu.Lock()
	defer subs.mu.Unlock()
	return len(subs.queue) > 0
}

// OwesConfirmations reports that something is owed, and all of it is confirmations of subscriptions.
func (l *Ledger) OwesConfirmations() bool {
	subs := l.subs.Load()
	if subs == nil || !l.Exact() {
		return false
	}
	owed := l.Owed()
	subs.mu.Lock()
	defer subs.mu.Unlock()
	answered := l.answered.Load()
	for _, r := range subs.queue {
		owed -= min(owed, r.upTo-max(answered, r.from-1))
	}
	return len(subs.queue) > 0 && owed == 0
}

// beginSubscribe notes a request of the SUBSCRIBE family, for the writer.
func (l *Ledger) beginSubscribe(p []byte, args int, number uint64) (more uint64) {
	subs := l.subs.Load()
	if subs == nil {
		subs = &subscriptions{}
		l.subs.Store(subs)
	}
	if l.state.Load()&stateMulti != 0 {
		l.set(stateInexact) // its confirmations come within the reply to EXEC
	}
	r := subscribeRequest{from: number, upTo: number, all: args == 1}
	if args > 2 {
		more = uint64(args - 2)
		r.upTo += more
	}
	subs.mu.Lock()
	defer subs.mu.Unlock()
	subs.queue = append(subs.queue, r)
	return more
}

// drop forgets the requests after the first so many: they were not written.
func (s *subscriptions) drop(written uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) > 0 && s.queue[len(s.queue)-1].from > written {
		s.queue = s.queue[:len(s.queue)-1]
	}
}

// answer returns how many of the replies owed a frame settles, for the reader.
func (s *subscriptions) answer(l *Ledger, kind byte, answered uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var head *subscribeRequest
	if len(s.queue) > 0 && s.queue[0].from <= answered+1 {
		head = &s.queue[0]
	}
	settled := s.settle(l, kind, answered, head)
	for len(s.queue) > 0 && s.queue[0].upTo <= answered+settled {
		s.queue = s.queue[1:]
	}
	return settled
}

func (s *subscriptions) settle(l *Ledger, kind byte, answered uint64, head *subscribeRequest) uint64 {
	mayBeMessage := kind == resp.Push || kind == '*' && l.speaksRESP2() && (head != nil || s.total.Load() > 0)
	if !mayBeMessage {
		if kind == '-' && head != nil {
			return head.upTo - answered // refused as a whole
		}
		return 1
	}
	left, confirms := s.confirm(l.replies.Name(), l.replies.Number())
	switch {
	case confirms && head == nil:
		return 0 // nobody has asked: the slot of a shard channel has moved
	case confirms && head.all && left > 0:
		return 0 // there are more to come
	case confirms:
		return 1
	case kind == resp.Push, isMessage(l.replies.Name()):
		return 0
	}
	return 1 // PING with RESP2
}

// confirm takes in a confirmation and returns how many subscriptions of its sort are left.
func (s *subscriptions) confirm(name []byte, number int64) (left int64, confirms bool) {
	switch string(name) {
	case "subscribe", "unsubscribe":
		s.channels = max(0, number-s.patterns)
		left = s.channels
	case "psubscribe", "punsubscribe":
		s.patterns = max(0, number-s.channels)
		left = s.patterns
	case "ssubscribe", "sunsubscribe":
		s.shard = number
		left = s.shard
	default:
		return 0, false
	}
	s.total.Store(s.channels + s.patterns + s.shard)
	return left, true
}

func isMessage(name []byte) bool {
	switch string(name) {
	case "message", "pmessage", "smessage":
		return true
	}
	return false
}
