package conn

import (
	"context"
	"errors"
	"time"

	"github.com/redishook/multidb/internal/resp"
	"github.com/redishook/multidb/internal/wait"
)

// Who moves the connections of PubSubs in a planned switch: see subscriber.

const (
	// replacingTime bounds a dial, a login and the subscriptions.
	replacingTime = 5 * time.Second
	// replacementAge is how long a replacement waits for a switch that was announced.
	replacementAge = 5 * time.Second
	// endMarkTime is how long the old database may take to say that it has sent all.
	endMarkTime = time.Second
	// debtTime is how long answers may be owed before the old database is not asked for that.
	debtTime = 200 * time.Millisecond
	// maxCame is how much may come on a new connection before it is handed over.
	maxCame = 8 << 20
)

var (
	errTooMuch = errors.New("multidb: too much has come on a new connection of a subscription")
	errUnknown = errors.New("multidb: the subscriptions of a connection are not known")
)

// Announce gets the connections of PubSubs ready for a planned switch to another database, while now is the term. It returns when
// they are ready, or with ctx. life ends with the hook.
func (s *Set) Announce(ctx, life context.Context, now *Term, to *Set, run func(func()) bool) {
	var waiting []<-chan struct{}
	for _, c := range s.matching(func(c *Conn) bool { return c.sub.canMove() }) {
		if !c.sub.claimed.CompareAndSwap(false, true) {
			continue
		}
		ready := make(chan struct{})
		if run(func() { c.sub.moveWhenItComes(life, now, to, ready) }) {
			waiting = append(waiting, ready)
		}
	}
	for _, ready := range waiting {
		select {
		case <-ready:
		case <-ctx.Done():
			return
		}
	}
}

// MoveSubscribed moves the connections of PubSubs that were dialed in that term or before, and closes others that are subscribed.
func (s *Set) MoveSubscribed(number uint64, run func(func()) bool) {
	for _, c := range s.matching(func(c *Conn) bool { return c.admitted <= number && (c.sub.canMove() || c.ledger.Subscribed()) }) {
		switch {
		case c.sub == nil || s.cfg.Successor == nil:
			c.cut()
		case c.sub.claimed.CompareAndSwap(false, true):
			if !run(func() { c.sub.move(nil) }) {
				c.sub.claimed.Store(false)
			}
		}
	}
}

// canMove reports whether the connection is a PubSub's whose handshake is over. One that is not ready moves with its first request.
func (s *subscriber) canMove() bool {
	return s != nil && s.conn.ready.Load() && s.handedOver() == nil && !s.conn.local.Load()
}

// moveWhenItComes makes a replacement, and hands over when the switch comes.
func (s *subscriber) moveWhenItComes(life context.Context, now *Term, to *Set, ready chan<- struct{}) {
	r, err := s.makeReplacement(&Term{Number: now.Number, Ctx: life}, to)
	close(ready)
	if err == nil {
		timer := time.NewTimer(replacementAge)
		defer timer.Stop()
		select {
		case <-now.Ctx.Done():
		case <-timer.C:
		case <-life.Done():
		}
	}
	if now.Current() || life.Err() != nil || !s.conn.set.draining.Load() {
		s.claimed.Store(false)
		if r != nil {
			_ = r.next.Close()
		}
		if !now.Current() && s.conn.set.draining.Load() && s.claimed.CompareAndSwap(false, true) {
			s.move(nil) // the switch came in between
		}
		return
	}
	s.move(r)
}

// move hands the connection over to the database that is in use, by the replacement if that leads there. If it cannot be, the connection is
// closed. Only for who has claimed it.
func (s *subscriber) move(r *replacement) {
	for s != nil {
		to, term := s.conn.set.cfg.Successor()
		if to == s.conn.set { // it is in use again, or there are no switches any more
			s.claimed.Store(false)
			if r != nil {
				_ = r.next.Close()
			}
			return
		}
		if r != nil && (to != r.to || r.next.failed.Load() != nil || r.next.local.Load()) {
			_ = r.next.Close()
			r = nil
		}
		var err error
		if r == nil && to != nil {
			r, err = s.makeReplacement(term, to)
		}
		if to == nil || err != nil || !s.hand(r) {
			s.conn.cut()
			return
		}
		s.endOld(r)
		s, r = r.next.sub.superseded(), nil
	}
}

// superseded returns a connection that has to move on: its database has lost its place before it was handed over.
func (s *subscriber) superseded() *subscriber {
	s.early.Store(false)
	s.claimed.Store(false)
	if s.conn.current() || !s.canMove() {
		return nil
	}
	if !s.conn.set.draining.Load() {
		s.conn.cut()
		return nil
	}
	if !s.claimed.CompareAndSwap(false, true) {
		return nil
	}
	return s
}

// makeReplacement makes a replacement: a connection to another database that is subscribed to the same.
func (s *subscriber) makeReplacement(term *Term, to *Set) (*replacement, error) {
	ctx, cancel := context.WithTimeout(term.Ctx, replacingTime)
	defer cancel()
	next, _, err := to.dial(ctx, term, s.conn.hello.client, Place{}, newReplacement())
	switch {
	case err != nil:
		return nil, err
	case next == nil:
		return nil, context.Canceled
	}
	r := &replacement{to: to, next: next, has: map[topic]struct{}{}}
	r.coming.NameArrays()
	defer context.AfterFunc(ctx, next.cut)()
	err = r.greet(s)
	if err == nil {
		requests, known := s.catchUp(r)
		if err = r.send(requests); !known {
			err = errUnknown
		}
	}
	if err != nil {
		_ = next.Close()
		return nil, err
	}
	if s.replacement.Store(r); s.conn.local.Load() { // closed meanwhile
		_ = next.Close()
	}
	return r, nil
}

// greet logs in as the client has, with the credentials of the database.
func (r *replacement) greet(as *subscriber) error {
	for _, request := range [][]byte{as.hello, as.setName} {
		if request == nil {
			continue
		}
		if _, err := r.next.Write(request); err != nil {
			return err
		}
		if err := r.answered(); err != nil {
			return err
		}
	}
	r.came = nil
	r.next.hello.phase, r.next.hello.login.as = expectRequest, credentials{}
	r.next.ready.Store(true)
	r.next.sub.hello, r.next.sub.setName = as.hello, as.setName
	return nil
}

// send sends requests and waits until they are answered.
func (r *replacement) send(requests [][]byte) error {
	for _, request := range requests {
		if _, err := r.next.Write(request); err != nil {
			return err
		}
	}
	return r.answered()
}

// answered waits until nothing is owed. It keeps messages, and errors, which are the client's business.
func (r *replacement) answered() error {
	buf := make([]byte, 4<<10)
	for r.next.greeting.Load() && r.next.ledger.Written() > 0 || r.next.ledger.Owed() > 0 {
		n, err := r.next.Read(buf)
		for p := buf[:n]; len(p) > 0; {
			size, kind := r.coming.Next(p)
			r.cameInPart = append(r.cameInPart, p[:size]...)
			p = p[size:]
			if kind == 0 {
				continue
			}
			if kind == '-' || (kind == resp.Push || kind == '*') && isMessage(r.coming.Name()) {
				r.came = append(r.came, r.cameInPart...)
			}
			r.cameInPart = r.cameInPart[:0]
		}
		switch {
		case err != nil:
			return err
		case len(r.came) > maxCame:
			return errTooMuch
		}
	}
	return nil
}

// hand hands over. It reports false if it cannot.
func (s *subscriber) hand(r *replacement) bool {
	for {
		requests, handed, known := s.handOver(r, time.Now().Add(endMarkTime+debtTime))
		if handed {
			return true
		}
		_ = r.next.SetReadDeadline(time.Now().Add(replacingTime))
		if !known || s.conn.local.Load() || r.send(requests) != nil {
			_ = r.next.Close()
			return false
		}
		_ = r.next.SetReadDeadline(time.Time{})
	}
}

// endOld wakes the reader up, who may have waited all the time, and asks the old database to send no more.
func (s *subscriber) endOld(r *replacement) {
	_ = s.conn.Conn.SetReadDeadline(longAgo) // the reader goes on there
	ctx, cancel := context.WithTimeout(context.Background(), debtTime)
	defer cancel()
	for s.conn.ledger.Owed() > 0 && wait.For(ctx, time.Millisecond) {
	}
	if s.conn.ledger.Owed() == 0 { // what is written from now on is not written there
		r.marked.Store(true)
		_ = s.conn.Conn.SetWriteDeadline(time.Now().Add(endMarkTime))
		_, _ = s.conn.Conn.Write(s.lastRequests(r))
	}
}

// moveLate moves a connection whose handshake was under way when the switch came: the first request finds that. It returns the
// connection to which that is written, or nil if it is not another one.
func (s *subscriber) moveLate() *Conn {
	if s == nil || s.early.Load() || !s.conn.set.draining.Load() || s.conn.set.cfg.Successor == nil || !s.conn.ledger.Between() ||
		!s.claimed.CompareAndSwap(false, true) {
		return nil
	}
	s.move(nil)
	return s.moved()
}
