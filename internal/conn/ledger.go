package conn

import (
	"sync/atomic"
	"time"

	"github.com/redishook/multidb/internal/resp"
)

// Ledger knows what a connection owes: which requests have been handed to the socket, and how many of them have been
// answered. It reads both directions as RESP and infers nothing from the order of calls.
//
// One goroutine writes (Begin, Undo) and one reads (Received); they may be the same. Everybody may ask. Nothing on the way
// of an ordinary request allocates or locks, and each direction stores one word.
//
// A request is counted before it is handed to the socket, so that nobody who asks finds it executed and not counted:
//
//  1. the writer counts a request, then looks whether the connection has failed, then hands it to the socket;
//  2. the reader notes that the connection has failed, then looks what is owed.
//
// Whichever comes first, a request that may have reached the socket is owed, or its writer has seen the failure.
type Ledger struct {
	table *Table

	// The writer's.
	requests resp.Requests
	written  atomic.Uint64 // requests begun; a SUBSCRIBE counts as many as it has confirmations
	unsafe   atomic.Uint64 // the last one whose second run is not harmless
	fills    atomic.Uint64 // the last one of class Fills
	empties  atomic.Uint64 // the last one of class Empties
	blocking atomic.Uint64 // the last one that may block
	bound    atomic.Int64  // how long that one may block; 0: for ever
	awaits   atomic.Uint64 // the last one that waits for something to come: WAIT and WAITAOF are about their own connection
	state    atomic.Uint32 // the session, see below
	cut      []byte        // the beginning of a request whose name has not arrived whole
	before   mark          // where the last Begin has begun

	_ [64]byte // the writer and the reader may run on two processors

	// The reader's.
	replies  resp.Replies
	answered atomic.Uint64 // replies read to their end
	reads    atomic.Uint64 // pieces read: a large reply is progress before it ends

	subs atomic.Pointer[subscriptions] // from the first SUBSCRIBE on
}

// The state of a session. All of it but the subscriptions is set by the writer.
const (
	stateWatching uint32 = 1 << iota
	stateMulti
	stateChanged // another index, user or tracking, for good
	stateInexact // replies cannot be counted any more
	stateRESP2
)

// NewLedger makes a ledger at the beginning of a connection. table may be nil.
func NewLedger(table *Table) *Ledger { return &Ledger{table: table} }

// mark is a place in the ledger to which Undo returns.
type mark struct {
	requests                                  resp.Requests
	written, unsafe, fills, empties, blocking uint64
}

// Begin counts the requests that begin in p, which is about to be handed to the socket. It returns what their classes have in
// common with those of a session. Until the next call, Undo takes it back.
func (l *Ledger) Begin(p []byte) Class {
	written := l.written.Load()
	l.before.written, l.before.unsafe, l.before.blocking = written, l.unsafe.Load(), l.blocking.Load()
	l.before.fills, l.before.empties = l.fills.Load(), l.empties.Load()
	if l.answered.Load() > written {
		l.set(stateInexact) // a reply that nobody has asked for
	}
	if l.before.requests = l.requests; l.requests.Idle() {
		// Most often p is one request and no more, and the connection is the same after it.
		if n, name, args := resp.Whole(p); n == len(p) {
			if class := l.table.Of(name, args); class&special == 0 {
				written++
				if class&Again == 0 && !l.composes(p, class, args, written) {
					l.unsafe.Store(written)
				}
				l.written.Store(written)
				return 0
			}
		}
	}
	return l.count(p, written)
}

// BeginHandshake counts the requests in p, which make a connection what it is to everybody: they begin no session. p holds
// whole requests.
func (l *Ledger) BeginHandshake(p []byte) {
	written := l.written.Load()
	for len(p) > 0 {
		n, ends := l.requests.Next(p)
		if p = p[n:]; ends {
			written++
		}
	}
	l.unsafe.Store(written)
	l.written.Store(written)
}

// count is Begin.
func (l *Ledger) count(p []byte, written uint64) (classes Class) {
	unsafe := uint64(0)
	if l.cut != nil {
		class, more := l.finishCut(p, written)
		classes, written = class&special, written+more
	}
	for len(p) > 0 {
		n := 0
		if l.requests.Idle() {
			written++
			var name []byte
			var args int
			if n, name, args = resp.Whole(p); n == 0 {
				if name, args = resp.Arg(p, 0); name == nil {
					l.cut = append([]byte(nil), p[:min(len(p), maxCut)]...)
				}
			}
			class := l.table.Of(name, args)
			if class&special != 0 {
				classes |= class & special
				written += l.begin(p, class, args, written)
			}
			if class&Again == 0 && !l.composes(p, class, args, written) {
				unsafe = written
			}
		}
		if n == 0 {
			n, _ = l.requests.Next(p)
		}
		p = p[n:]
	}
	if unsafe > 0 {
		l.unsafe.Store(unsafe)
	}
	if l.requests.Lost() {
		l.set(stateInexact)
	}
	l.written.Store(written)
	return classes
}

// composes reports that a request whose class alone does not say so may run twice.
func (l *Ledger) composes(p []byte, class Class, args int, written uint64) bool {
	switch {
	case class&Expires != 0:
		option, _ := resp.Arg(p, args-2)
		return timeToLive(option)
	case class&Scores != 0:
		if score, _ := resp.Arg(p, 2); !isNumber(score) {
			return false
		}
		l.fills.Store(written)
	case class&Fills != 0:
		l.fills.Store(written)
	case class&Empties != 0:
		l.empties.Store(written)
	default:
		return false
	}
	return true
}

// maxCut is how much of a request is kept until its name is whole.
const maxCut = 64

// finishCut finds the name of a request of which an earlier piece had only a part. Meanwhile it counted as one that must not
// run twice.
func (l *Ledger) finishCut(p []byte, written uint64) (class Class, more uint64) {
	l.cut = append(l.cut, p[:min(len(p), maxCut)]...)
	name, args := resp.Arg(l.cut, 0)
	if name == nil && len(l.cut) < maxCut {
		return 0, 0
	}
	if class = l.table.Of(name, args); class&special != 0 {
		more = l.begin(l.cut, class, args, written)
	}
	l.cut = nil
	return class, more
}

// begin notes what a request of a special class does to the session. It returns how many replies more than one it has.
func (l *Ledger) begin(p []byte, class Class, args int, written uint64) (more uint64) {
	switch {
	case class&Subscribes != 0:
		return l.beginSubscribe(p, args, written)
	case class&Blocks != 0:
		if bound, blocks := blockingTime(p); blocks {
			l.bound.Store(int64(bound))
			l.blocking.Store(written)
			if !isWait(p) {
				l.awaits.Store(written)
			}
		}
	case class&Watches != 0:
		l.set(stateWatching)
	case class&Unwatches != 0:
		l.clear(stateWatching)
	case class&Multi != 0:
		l.set(stateMulti)
	case class&Exec != 0:
		if l.state.Load()&stateMulti != 0 {
			l.clear(stateMulti | stateWatching)
		}
	case class&Changes != 0:
		if name, _ := resp.Arg(p, 0); len(name) == len("client") && name[0]|0x20 == 'c' {
			sub, _ := resp.Arg(p, 1)
			class = ofClient(sub)
		}
		if class&Changes != 0 {
			l.set(stateChanged)
		}
	}
	if class&Opaque != 0 {
		l.set(stateInexact)
	}
	return 0
}

// Undo takes back what the last Begin has counted of p, of which the socket has taken n bytes only.
func (l *Ledger) Undo(p []byte, n int) {
	m := &l.before
	l.requests, l.cut = m.requests, nil
	l.unsafe.Store(m.unsafe)
	l.fills.Store(m.fills)
	l.empties.Store(m.empties)
	l.blocking.Store(m.blocking)
	if l.awaits.Load() > m.written {
		l.awaits.Store(0)
	}
	if subs := l.subs.Load(); subs != nil {
		subs.drop(m.written)
	}
	l.count(p[:n], m.written)
}

// Received counts the replies that end in p, which has been read from the socket. It returns how many bytes at the end of p belong to
// a push that is not whole.
func (l *Ledger) Received(p []byte) (last int) {
	answered := l.answered.Load()
	before := answered
	subs := l.subs.Load()
	if subs != nil && l.speaksRESP2() {
		l.replies.NameArrays()
	}
	for len(p) > 0 {
		n, kind := l.replies.Next(p)
		p = p[n:]
		switch {
		case kind == 0 && l.replies.InPush():
			last = n
		case kind == 0:
		case subs != nil:
			answered += subs.answer(l, kind, answered)
		case kind != resp.Push:
			answered++
		}
	}
	if answered != before {
		l.answered.Store(answered)
	}
	l.reads.Store(l.reads.Load() + 1)
	if l.replies.Lost() {
		l.set(stateInexact)
	}
	return last
}

// Owed returns how many replies have not come. Where they cannot be counted it is at least 1 once anything was written.
func (l *Ledger) Owed() uint64 {
	answered := l.answered.Load() // first, or a request written and answered in between would count as a debt below zero
	written := l.written.Load()
	if l.state.Load()&stateInexact != 0 || answered > written {
		return max(1, written-min(written, answered))
	}
	return written - answered
}

// OwesHarmless reports that all that is owed may run twice, in its order, without harm. No request is harmful by itself then, and what
// fills a key is not mixed with what empties one.
func (l *Ledger) OwesHarmless() bool {
	answered := l.answered.Load()
	return l.Exact() && l.unsafe.Load() <= answered && (l.fills.Load() <= answered || l.empties.Load() <= answered)
}

// Settle takes the oldest request that is owed for answered. For the reader, when no reply will come any more.
func (l *Ledger) Settle() { l.answered.Store(l.answered.Load() + 1) }

// Exact reports that replies can be counted.
func (l *Ledger) Exact() bool {
	return l.state.Load()&stateInexact == 0 && l.answered.Load() <= l.written.Load()
}

// Written returns how many requests were handed to the socket. That it has not changed proves that none was.
func (l *Ledger) Written() uint64 { return l.written.Load() }

// Answered returns how many replies were read to their end.
func (l *Ledger) Answered() uint64 { return l.answered.Load() }

// Reads returns how many pieces were read.
func (l *Ledger) Reads() uint64 { return l.reads.Load() }

// Between reports that the writer is between two requests. For the writer alone.
func (l *Ledger) Between() bool { return l.requests.Idle() }

// Session reports that the connection holds something that another connection would not: a watch, a transaction,
// subscriptions, another index or user, or replies that cannot be counted.
func (l *Ledger) Session() bool {
	return l.state.Load()&^stateRESP2 != 0 || l.Subscribed()
}

// Neutral reports that nothing is owed and the connection is like any other.
func (l *Ledger) Neutral() bool { return !l.Session() && l.Owed() == 0 }

// InMulti reports that a transaction has been begun and not ended.
func (l *Ledger) InMulti() bool { return l.state.Load()&stateMulti != 0 }

// Blocking reports that a request is owed that may block, and for how long; 0 is for ever.
func (l *Ledger) Blocking() (time.Duration, bool) {
	if l.blocking.Load() <= l.answered.Load() {
		return 0, false
	}
	return time.Duration(l.bound.Load()), true
}

// Awaits returns the number of the request that waits for something to come, if its reply is all that is owed. What was sent
// behind it would be run in its place if it were ended.
func (l *Ledger) Awaits() (number uint64, alone bool) {
	number = l.awaits.Load()
	return number, number > 0 && l.Exact() && l.answered.Load() == number-1 && l.written.Load() == number
}

// SpeaksRESP2 says that HELLO has not chosen RESP3: messages are arrays then. For the writer, before the first SUBSCRIBE.
func (l *Ledger) SpeaksRESP2() { l.set(stateRESP2) }

func (l *Ledger) speaksRESP2() bool { return l.state.Load()&stateRESP2 != 0 }

// set and clear store only what is new: most of these words are read by another processor.
func (l *Ledger) set(bits uint32) {
	if l.state.Load()&bits != bits {
		l.state.Or(bits)
	}
}

func (l *Ledger) clear(bits uint32) {
	if l.state.Load()&bits != 0 {
		l.state.And(^bits)
	}
}
