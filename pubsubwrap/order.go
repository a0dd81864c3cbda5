package pubsubwrap

import (
	"strconv"
	"sync"
	"sync/atomic"
)

// While two databases are subscribed, messages of one publisher may come over both connections: first over the old one,
// then, once it has moved, over the new one. To deliver them in that order, the connections of a link stand in an order, and
// what a connection receives is held until the connection before it has answered a PING that was sent after it came: whatever the
// publisher had sent to the old database before is in front of that answer.
//
// A connection that has not been promoted yet is gated: it holds everything. The first of the order that is not gated delivers
// directly, without a lock.

// deliveryOrder is the order of a link's connections.
type deliveryOrder struct {
	mu   sync.Mutex
	room sync.Cond // of a connection that holds too much
	tail *subConn  // guarded by mu, as is every place
}

// place is a connection's place in the order, guarded by order.mu.
type place struct {
	direct  atomic.Bool
	pred    *subConn
	succ    *subConn
	inOrder bool
	gated   bool
	held    []Event
	covered int // the first of held that are waiting for an answer of pred; 0: none was asked for

	owed      bool   // it was in use before it was gated, so what it holds must not be dropped
	returning bool   // it is to go to the end of the order before it is used again
	leaves    int    // requests to close so far
	leaving   string // the token of the latest; empty: none, or it was taken back
	left      bool   // it was answered: nothing that was sent to this connection before is missing
}

// queue puts a new connection at the end, gated.
func (k *link) queue(l *subConn) {
	k.order.mu.Lock()
	defer k.order.mu.Unlock()
	l.gated = true
	k.order.append(l)
}

// append puts a connection at the end. Caller must hold mu.
func (r *deliveryOrder) append(l *subConn) {
	l.inOrder = true
	l.direct.Store(false)
	l.pred, l.succ = r.tail, nil
	if r.tail != nil {
		r.tail.succ = l
	}
	r.tail = l
}

// queueFirst puts a connection to a database that was left before the others.
func (k *link) queueFirst(l *subConn) {
	row := &k.order
	row.mu.Lock()
	first := row.tail
	if first == nil {
		row.append(l)
		row.mu.Unlock()
		return
	}
	for first.pred != nil {
		first = first.pred
	}
	l.inOrder, l.succ, first.pred = true, first, l
	first.direct.Store(false)
	first.covered = 0
	ask := first.cover()
	row.mu.Unlock()
	ask()
}

// deliver gives an event to the application, or holds it. Called by the connection's reader, or by that of the connection before it.
func (l *subConn) deliver(e Event) {
	if l.direct.Load() {
		l.push(e)
		return
	}
	row, waited := &l.link.order, false
	row.mu.Lock()
	for l.opened.Load() && len(l.held) >= l.link.opt.Buffer+heldMore && (l.pred != nil || l.gated) &&
		!l.killed.Load() && !l.link.isClosed() {
		l.blocked.Store(true)
		row.room.Wait()
		waited = true
	}
	if waited {
		l.blocked.Store(false)
	}
	l.held = append(l.held, e)
	if waited {
		defer l.fellBehind()
	}
	if l.pred == nil && !l.gated {
		row.mu.Unlock()
		l.drain()
		return
	}
	ask := l.cover()
	row.mu.Unlock()
	ask()
}

// push gives an event to the application. Called by a reader.
func (l *subConn) push(e Event) {
	if e.Switched != nil {
		e.Switched.ShardChannels = l.link.shardChannels()
	}
	if l.link.buf.push(e, &l.blocked) {
		l.fellBehind()
	}
}

// heldMore is what a connection may hold beyond the size of the buffer, so that a small buffer does not stop the reader, which
// has answers to read, for every message. A connection that is being opened may hold anything: it has all its answers to read.
const heldMore = 1024

// cover asks the connection before for an answer behind which everything held may be delivered, unless that has been asked
// already. Caller must hold mu, and call the result without it.
func (l *subConn) cover() func() {
	if l.gated || l.covered > 0 || l.pred == nil || len(l.held) == 0 {
		return func() {}
	}
	l.covered = len(l.held)
	pred := l.pred
	return func() { pred.ping(tokenBarrier) }
}

// drain delivers what a connection has held that is the first now. Called by its reader.
func (l *subConn) drain() {
	row := &l.link.order
	for {
		row.mu.Lock()
		if l.pred != nil || l.gated {
			row.mu.Unlock()
			return
		}
		batch := l.held
		l.held, l.covered = nil, 0
		if len(batch) == 0 {
			l.direct.Store(true)
		}
		row.room.Broadcast()
		row.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for _, e := range batch {
			l.push(e)
		}
	}
}

// release delivers what the connection behind has held until this answer. Called by this connection's reader.
func (l *subConn) release() {
	row := &l.link.order
	row.mu.Lock()
	next := l.succ
	if next == nil || next.covered == 0 {
		row.mu.Unlock()
		return
	}
	n := min(next.covered, len(next.held))
	batch := next.held[:n:n]
	next.held = append([]Event(nil), next.held[n:]...)
	row.room.Broadcast()
	row.mu.Unlock()
	for _, e := range batch {
		l.deliver(e)
	}
	row.mu.Lock()
	ask := func() {}
	if l.succ == next { // else it has another before it by now, and may wait for the answer of that
		next.covered = 0
		ask = next.cover()
	}
	row.mu.Unlock()
	ask()
}

// promote opens the gate: what the connection has held and will receive follows the notices.
func (l *subConn) promote(notices ...Event) {
	row := &l.link.order
	row.mu.Lock()
	l.gated, l.owed, l.returning = false, false, false
	l.held = append(append([]Event(nil), notices...), l.held...)
	ask := l.cover()
	if l.pred == nil {
		ask = func() { l.ping(tokenDrain) }
	}
	row.room.Broadcast()
	row.mu.Unlock()
	ask()
}

// comeBack takes back the closing of a connection whose database is about to be used again, and reports whether there was time
// for that. The connection is to step behind the others then.
func (l *subConn) comeBack() bool {
	row := &l.link.order
	row.mu.Lock()
	defer row.mu.Unlock()
	if l.left {
		return false
	}
	l.leaving, l.returning = "", true
	return true
}

// stepBehind takes a connection that comes back to the end of the order. It reports whether that was still wanted: the connection may
// have been given up, or promoted, while the answer was on its way, and would be gated with nobody to open the gate.
// Called by its reader, or by the follower if there is no time for that.
func (l *subConn) stepBehind() bool {
	row := &l.link.order
	row.mu.Lock()
	if !l.returning || !l.inOrder {
		row.mu.Unlock()
		return false
	}
	l.returning = false
	ask := row.remove(l)
	l.gated, l.owed = true, true
	row.append(l)
	row.mu.Unlock()
	ask()
	return true
}

// leave asks for the answer behind which the connection may end.
func (l *subConn) leave() {
	row := &l.link.order
	row.mu.Lock()
	l.leaves++
	token := tokenLeave + strconv.Itoa(l.leaves)
	l.leaving = token
	row.mu.Unlock()
	l.ping(token)
}

// mayLeave reports whether a closing with this token stands. Called by its reader, which ends then.
func (l *subConn) mayLeave(token string) bool {
	row := &l.link.order
	row.mu.Lock()
	defer row.mu.Unlock()
	if token != l.leaving || token == "" {
		return false
	}
	l.left = true
	return true
}

// hasLeft reports whether the connection has ended, or is about to, with nothing missing.
func (l *subConn) hasLeft() bool {
	row := &l.link.order
	row.mu.Lock()
	defer row.mu.Unlock()
	return l.left
}

// withdraw takes a connection out of the order that was never used: it may be dialing for a while yet, and those behind it have
// nothing to expect from it.
func (l *subConn) withdraw() {
	row := &l.link.order
	row.mu.Lock()
	if !l.gated || l.owed || !l.inOrder {
		row.mu.Unlock()
		return
	}
	ask := row.remove(l)
	row.mu.Unlock()
	ask()
}

// finish takes a connection out of the order, when what it holds has been delivered: that waits for the connection before it, which
// answers or is ended by the follower. Called by its reader, as the last thing.
func (l *subConn) finish() {
	row := &l.link.order
	row.mu.Lock()
	ask := func() {}
	if l.owed {
		l.gated = false
		ask = l.cover()
	}
	row.mu.Unlock()
	ask()
	row.mu.Lock()
	for l.pred != nil && !l.gated && len(l.held) > 0 && !l.link.isClosed() {
		row.room.Wait()
	}
	row.mu.Unlock()
	l.drain()
	row.mu.Lock()
	if !l.inOrder {
		row.mu.Unlock()
		return
	}
	ask = row.remove(l)
	row.mu.Unlock()
	ask()
}

// remove takes a connection out of the order. What it holds goes to the connection behind it. Caller must hold mu, and call the result
// without it.
func (r *deliveryOrder) remove(l *subConn) func() {
	r.room.Broadcast()
	pred, next := l.pred, l.succ
	l.inOrder, l.pred, l.succ = false, nil, nil
	if pred != nil {
		pred.succ = next
	}
	if r.tail == l {
		r.tail = pred
	}
	l.covered = 0 // no answer counts any more that was asked for from here
	if next == nil {
		return func() {}
	}
	next.pred = pred
	if !l.gated && len(l.held) > 0 && !next.gated {
		next.held = append(l.held, next.held...)
		l.held = nil // or a connection that goes to the end of the order would deliver it once more
	}
	next.covered = 0
	if pred == nil && !next.gated {
		return func() { next.ping(tokenDrain) }
	}
	return next.cover()
}

// wakeHeld wakes a reader that waits for room.
func (l *subConn) wakeHeld() {
	l.link.order.mu.Lock()
	defer l.link.order.mu.Unlock()
	l.link.order.room.Broadcast()
}
