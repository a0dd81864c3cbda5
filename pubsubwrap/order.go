package pubsubwrap

import (
	"sync"
	"sync/atomic"
)

// While two databases are subscribed, messages of one publisher may come over both connections: first over the old one,
// then, once it has moved, over the new one. To deliver them in that order, the links of a subscriber stand in a row, and
// what a link receives is held until the link before it has answered a PING that was sent after it came: whatever the
// publisher had sent to the old database before is in front of that answer.
//
// A link that has not been promoted yet is gated: it holds everything. The first of the row that is not gated delivers
// directly, without a lock.

// row is the order of a subscriber's links.
type row struct {
	mu   sync.Mutex
	room sync.Cond // of a link that holds too much
	tail *link     // guarded by mu, as is every place
}

// place is a link's place in the row, guarded by row.mu.
type place struct {
	direct  atomic.Bool
	pred    *link
	succ    *link
	inRow   bool
	gated   bool
	held    []Event
	covered int // the first of held that are waiting for an answer of pred; 0: none was asked for
}

// queue puts a new link at the end, gated.
func (s *Subscriber) queue(l *link) {
	s.row.mu.Lock()
	defer s.row.mu.Unlock()
	l.gated = true
	s.row.append(l)
}

// append puts a link at the end. Caller must hold mu.
func (r *row) append(l *link) {
	l.inRow = true
	l.direct.Store(false)
	l.pred, l.succ = r.tail, nil
	if r.tail != nil {
		r.tail.succ = l
	}
	r.tail = l
}

// deliver gives an event to the application, or holds it. Called by the link's reader, or by that of the link before it.
func (l *link) deliver(e Event) {
	if l.direct.Load() {
		if l.sub.buf.push(e) {
			l.fellBehind()
		}
		return
	}
	row, waited := &l.sub.row, false
	row.mu.Lock()
	for len(l.held) >= l.sub.opt.Buffer+heldMore && (l.pred != nil || l.gated) && !l.killed.Load() && !l.sub.isClosed() {
		row.room.Wait()
		waited = true
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

// heldMore is what a link may hold beyond the size of the buffer, so that a small buffer does not stop the reader, which
// has answers to read, for every message.
const heldMore = 1024

// cover asks the link before for an answer behind which everything held may be delivered, unless that has been asked
// already. Caller must hold mu, and call the result without it.
func (l *link) cover() func() {
	if l.gated || l.covered > 0 || l.pred == nil || len(l.held) == 0 {
		return func() {}
	}
	l.covered = len(l.held)
	pred := l.pred
	return func() { pred.ping(tokenBarrier) }
}

// drain delivers what a link has held that is the first now. Called by its reader.
func (l *link) drain() {
	row := &l.sub.row
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
			if l.sub.buf.push(e) {
				l.fellBehind()
			}
		}
	}
}

// release delivers what the link behind has held until this answer. Called by this link's reader.
func (l *link) release() {
	row := &l.sub.row
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
	next.covered = 0
	ask := func() {}
	if l.succ == next {
		ask = next.cover()
	}
	row.mu.Unlock()
	ask()
}

// promote opens the gate: what the link has held and will receive follows the notice.
func (l *link) promote(notice ...Event) {
	row := &l.sub.row
	row.mu.Lock()
	l.gated = false
	l.held = append(append([]Event(nil), notice...), l.held...)
	ask := l.cover()
	first := l.pred == nil
	row.mu.Unlock()
	row.room.Broadcast()
	if first {
		ask = func() { l.ping(tokenDrain) }
	}
	ask()
}

// stepBehind takes a link that was about to leave to the end of the row, because its database is about to be used again.
// Called by its reader, or by the follower if there is no time for that.
func (l *link) stepBehind() {
	row := &l.sub.row
	row.mu.Lock()
	ask := row.remove(l)
	l.gated = true
	row.append(l)
	row.mu.Unlock()
	ask()
}

// finish takes a link out of the row, when what it holds has been delivered: that waits for the link before it, which
// answers or is ended by the follower. Called by its reader, as the last thing.
func (l *link) finish() {
	row := &l.sub.row
	row.mu.Lock()
	for l.pred != nil && !l.gated && len(l.held) > 0 && !l.sub.isClosed() {
		row.room.Wait()
	}
	row.mu.Unlock()
	l.drain()
	row.mu.Lock()
	if !l.inRow {
		row.mu.Unlock()
		return
	}
	ask := row.remove(l)
	row.mu.Unlock()
	ask()
}

// remove takes a link out of the row. What it holds goes to the link behind it. Caller must hold mu, and call the result
// without it.
func (r *row) remove(l *link) func() {
	r.room.Broadcast()
	pred, next := l.pred, l.succ
	l.inRow, l.pred, l.succ = false, nil, nil
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
		l.held = nil // or a link that goes to the end of the row would deliver it once more
	}
	next.covered = 0
	if pred == nil && !next.gated {
		return func() { next.ping(tokenDrain) }
	}
	return next.cover()
}

// wakeHeld wakes a reader that waits for room.
func (l *link) wakeHeld() {
	l.sub.row.mu.Lock()
	defer l.sub.row.mu.Unlock()
	l.sub.row.room.Broadcast()
}
