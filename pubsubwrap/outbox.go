package pubsubwrap

import (
	"context"
	"slices"
	"sync"
)

// outbox is what is to be written to a connection, in this order, by one goroutine. Who changes subscriptions puts
// the change into the outboxes of all connections while it holds the link's mu: so each database gets the changes in the
// order of the calls, also one that is still being dialed, and nobody waits for a connection that is not his.
type outbox struct {
	mu      sync.Mutex
	unsent  []*request    // guarded by mu, as all of these
	asked   []*request    // what was not answered, sent or not, because an error says nothing of what it is the answer to
	initial int           // of those, how many must be answered before the connection is ready
	wake    chan struct{} // room for one
}

// request is a SUBSCRIBE or UNSUBSCRIBE of any kind, which waits for its answers, or a PING.
type request struct {
	token       string // of a PING; empty: it is none
	kind        Kind
	unsubscribe bool
	names       []string
	left        int // answers that are still to come
	initial     bool
	at          int64 // of a PING: when it was asked for
}

// enqueue leaves a request to the writer.
func (l *subConn) enqueue(r *request) {
	o := &l.outbox
	o.mu.Lock()
	o.unsent = append(o.unsent, r)
	o.asked = append(o.asked, r)
	r.left = len(r.names)
	if r.initial {
		o.initial++
	}
	if r.token != "" {
		r.at = now()
		l.stalled.CompareAndSwap(0, r.at)
	}
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// subscribe has names subscribed. Caller must hold the link's mu.
func (l *subConn) subscribe(kind Kind, initial bool, names ...string) {
	if len(names) == 0 {
		return
	}
	for _, name := range names {
		l.settled.Delete(topic{kind, name}) // what was answered before does not count
	}
	l.enqueue(&request{kind: kind, names: names, initial: initial})
}

// unsubscribe has subscriptions ended. Those that were refused are none: a server may refuse to end what is not there. Caller must
// hold the link's mu.
func (l *subConn) unsubscribe(kind Kind, names ...string) {
	var there []string
	for _, name := range names {
		if refusal := l.refusal(topic{kind, name}); refusal != nil && !refusal.unsubscribe {
			l.settled.Delete(topic{kind, name})
			continue
		}
		there = append(there, name)
	}
	if len(there) > 0 {
		l.enqueue(&request{kind: kind, unsubscribe: true, names: there})
	}
}

// write sends what comes into the outbox, until the connection ends. The error of a write is left to the reader, whose
// connection is broken then.
func (l *subConn) write() {
	o := &l.outbox
	for {
		o.mu.Lock()
		batch := o.unsent
		o.unsent = nil
		o.mu.Unlock()
		for _, r := range batch {
			if l.send(r) != nil {
				l.kill()
				return
			}
		}
		if len(batch) > 0 {
			continue
		}
		select {
		case <-o.wake:
		case <-l.done:
			return
		}
	}
}

func (l *subConn) send(r *request) error {
	ctx := context.Background() // bounded by WriteTimeout, and ended by kill
	if r.token != "" {
		return l.ps.Ping(ctx, r.token)
	}
	do := l.ps.Subscribe
	switch {
	case r.kind == Channel && r.unsubscribe:
		do = l.ps.Unsubscribe
	case r.kind == Pattern && r.unsubscribe:
		do = l.ps.PUnsubscribe
	case r.kind == ShardChannel && r.unsubscribe:
		do = l.ps.SUnsubscribe
	case r.kind == Pattern:
		do = l.ps.PSubscribe
	case r.kind == ShardChannel:
		do = l.ps.SSubscribe
	}
	return do(ctx, r.names...)
}

// Tokens are payloads of PING that say what its answer is for.
const (
	tokenHealth  = "health"
	tokenBarrier = "barrier" // everything that was sent before has been delivered
	tokenDrain   = "drain"   // wakes the reader, to deliver what is held
	tokenBehind  = "behind"  // the connection takes its place behind the others
	tokenLeave   = "leave "  // the connection ends; followed by a number
	tokenAbreast = "abreast" // everything that was sent before has been read
)

// ping asks for an answer, for which it does not wait.
func (l *subConn) ping(token string) { l.enqueue(&request{token: token}) }

// answers takes an answer to the first of the requests that wait for one like it; whole is one in place of all that are
// left. last is true if there are no more. The result is nil if no such request waits.
func (l *subConn) answers(whole bool, like func(*request) bool) (r *request, last bool) {
	o := &l.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	i := slices.IndexFunc(o.asked, like)
	if i < 0 {
		return nil, false
	}
	r = o.asked[i]
	r.left--
	if last = whole || r.left <= 0; last {
		o.asked = slices.Delete(o.asked, i, i+1)
	}
	if isPing(r) {
		if took := now() - r.at; r.at != 0 && (l.distance.Load() == 0 || took < l.distance.Load()) {
			l.distance.Store(took)
		}
		l.stalled.Store(0)
		if i := slices.IndexFunc(o.asked, isPing); i >= 0 {
			l.stalled.Store(o.asked[i].at)
		}
	}
	return r, last
}

func isPing(r *request) bool { return r.token != "" }

// initialAnswered notes that an initial request is answered. The connection is ready when that was the last one.
func (l *subConn) initialAnswered() {
	o := &l.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.initial--; o.initial == 0 {
		close(l.ready)
	}
}
