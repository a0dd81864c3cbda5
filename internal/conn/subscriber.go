package conn

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redishook/multidb/internal/resp"
)

// subscriber is what a connection of a PubSub has beside others: what it is to be subscribed to, and where it has moved. A planned
// switch ends no such connection. What go-redis holds stays, and leads to a connection of the new database from then on:
//
//  1. a mover dials the new database, logs in and subscribes to the same; if the switch was announced, before it;
//  2. the switch comes; the mover makes up for what the client has changed meanwhile, and hands over: requests go to the replacement;
//  3. it asks the old database to send no more, and to say when it has sent all;
//  4. the reader, which may have waited all the time, reads up to that answer, and goes over to the replacement.
//
// One goroutine writes, one reads, and one moves. The replacement is the mover's until it is handed over; then it is the writer's and the
// reader's.
type subscriber struct {
	conn *Conn

	mu      sync.Mutex         // leaf lock
	wanted  map[topic]struct{} // guarded by mu
	changes uint64             // of wanted; guarded by mu
	unknown bool               // what is wanted is not known any more; guarded by mu

	claimed     atomic.Bool // a mover has it
	early       atomic.Bool // it is a replacement, and its database may not be the active one yet
	replacement atomic.Pointer[replacement]
	readBy      atomic.Int64 // the deadline of the reader, Unix ns; 0: none

	// Of the handshake, for the replacement's: HELLO without credentials, and CLIENT SETNAME. Set before the connection is ready.
	hello, setName []byte
}

// replacement is the connection to which one of a PubSub moves.
type replacement struct {
	to      *Set
	next    *Conn
	has     map[topic]struct{} // what it is subscribed to; the mover's
	changes uint64             // up to which change of wanted; the mover's
	until   time.Time          // how long the old connection is read; set before it is handed over

	// What has come on the new connection before it was handed over: messages, and the beginning of a reply. The mover's, then the
	// reader's.
	came, cameInPart []byte
	coming           resp.Replies // finds them

	handed atomic.Bool // requests go to next. Set with mu held
	marked atomic.Bool // the old connection has been asked to send no more

	// The reader's, once it is handed over.
	begun  bool         // the reader has seen it
	over   bool         // nothing more comes from the old connection
	midway bool         // a reply has been handed out in part
	framer resp.Replies // of the old connection
	part   []byte       // of a reply that has not come whole
	ready  []byte       // to be handed out
}

// topic is a channel (kind 0), a pattern ('p') or a shard channel ('s').
type topic struct {
	kind byte
	name string
}

// verbs are the commands of each kind.
var verbs = map[byte][2]string{
	0: {"subscribe", "unsubscribe"}, 'p': {"psubscribe", "punsubscribe"}, 's': {"ssubscribe", "sunsubscribe"},
}

// newReplacement is what a replacement has from the beginning: its mover has it.
func newReplacement() *subscriber {
	s := &subscriber{wanted: map[topic]struct{}{}}
	s.claimed.Store(true)
	s.early.Store(true)
	return s
}

// note takes in requests of the SUBSCRIBE family.
func (s *subscriber) note(p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes++
	for len(p) > 0 {
		args, rest, ok := resp.Parse(p)
		if !ok || len(args) == 0 {
			s.unknown = true // it comes in pieces
			return
		}
		p = rest
		verb := string(bytes.ToLower([]byte(args[0])))
		for kind, v := range verbs {
			switch verb {
			case v[0]:
				for _, name := range args[1:] {
					s.wanted[topic{kind, name}] = struct{}{}
				}
			case v[1]:
				s.forget(kind, args[1:])
			}
		}
	}
}

// forget takes topics of one kind out, or all of that kind. Caller must hold mu.
func (s *subscriber) forget(kind byte, names []string) {
	for _, name := range names {
		delete(s.wanted, topic{kind, name})
	}
	if len(names) > 0 {
		return
	}
	for t := range s.wanted {
		if t.kind == kind {
			delete(s.wanted, t)
		}
	}
}

// handOver hands over, if the replacement has what is wanted; otherwise it returns what the replacement must be sent. known is false if that cannot be
// said.
func (s *subscriber) handOver(r *replacement, until time.Time) (requests [][]byte, handed, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unknown {
		return nil, false, false
	}
	if r.changes == s.changes {
		r.until = until
		r.handed.Store(true)
		return nil, true, true
	}
	return s.update(r), false, true
}

// catchUp returns what the replacement must be sent for now. known is as for handOver.
func (s *subscriber) catchUp(r *replacement) (requests [][]byte, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.update(r), !s.unknown
}

// update notes what is wanted now as what the replacement has, and returns what it must be sent for that. Caller must hold mu.
func (s *subscriber) update(r *replacement) (requests [][]byte) {
	ask := map[string][]string{}
	for t := range s.wanted {
		if _, has := r.has[t]; !has {
			ask[verbs[t.kind][0]] = append(ask[verbs[t.kind][0]], t.name)
			r.has[t] = struct{}{}
		}
	}
	for t := range r.has {
		if _, wanted := s.wanted[t]; !wanted {
			ask[verbs[t.kind][1]] = append(ask[verbs[t.kind][1]], t.name)
			delete(r.has, t)
		}
	}
	r.changes = s.changes
	for verb, names := range ask {
		requests = append(requests, resp.Encode(append([]string{verb}, names...)...))
	}
	return requests
}

// lastRequests is what ends the old connection: it sends no more, and then says so.
func (s *subscriber) lastRequests(r *replacement) []byte {
	var kinds [256]bool
	for t := range r.has {
		kinds[t.kind] = true
	}
	var p []byte
	for kind, v := range verbs {
		if kinds[kind] {
			p = append(p, resp.Encode(v[1])...)
		}
	}
	return append(p, resp.Encode("ping", endMark)...)
}

// endMark is what the old connection is asked to say last.
const endMark = "multidb:moved"

// moved returns the connection to which requests go, if that is another one.
func (s *subscriber) moved() *Conn {
	if r := s.handedOver(); r != nil {
		return r.next
	}
	return nil
}

// handedOver returns the replacement if the connection has been handed over to it.
func (s *subscriber) handedOver() *replacement {
	if s == nil {
		return nil
	}
	if r := s.replacement.Load(); r != nil && r.handed.Load() {
		return r
	}
	return nil
}

// excused reports whether a request may be written although the database is not the active one: by the mover of a replacement, or while the
// connection is about to move.
func (s *subscriber) excused() bool {
	return s != nil && (s.early.Load() || s.claimed.Load() && s.conn.set.draining.Load())
}
