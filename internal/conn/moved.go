package conn

import (
	"bytes"
	"time"

	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/resp"
)

// The reader of a connection that has moved: see subscriber.

// readMoved reads what is left of the old connection, then what came early on the new one, and then that.
func (s *subscriber) readMoved(r *replacement, p []byte) (int, error) {
	r.begin(s.conn.ledger)
	for !r.over && len(r.ready) == 0 {
		_ = s.conn.Conn.SetReadDeadline(r.until)
		buf := make([]byte, 16<<10)
		n, err := s.conn.Conn.Read(buf)
		if err := s.tookLast(r, buf[:n], err); err != nil {
			return 0, err
		}
	}
	if len(r.ready) > 0 {
		n := copy(p, r.ready)
		r.ready = r.ready[n:]
		return n, nil
	}
	return r.next.Read(p)
}

// begin is called before the first piece is sifted.
func (r *replacement) begin(l *Ledger) {
	if !r.begun {
		r.begun, r.framer = true, l.replies
		r.midway = !r.framer.Idle()
	}
}

// tookLast takes what a read of the old connection has returned. Whole replies are ready then.
func (s *subscriber) tookLast(r *replacement, p []byte, err error) error {
	s.conn.ledger.Received(p)
	last := r.sift(p)
	switch {
	case last:
	case err == nil, goredis.IsTimeout(err) && time.Now().Before(r.until): // or the mover has woken the reader up a moment ago
		return nil
	}
	if r.midway {
		return s.conn.lostReply(s.conn.end(&s.conn.failed, &connFailure{cause: err}))
	}
	r.over = true
	r.ready = append(append(r.ready, r.came...), r.cameInPart...)
	r.came, r.cameInPart, r.part = nil, nil, nil
	s.conn.local.Store(true)
	s.conn.set.forget(s.conn)
	_ = s.conn.Conn.Close()
	_ = r.next.SetReadDeadline(s.deadline())
	return nil
}

// sift takes what has been read of the old connection. It keeps the answers to what ended it from the client, and reports whether that
// was the last.
func (r *replacement) sift(p []byte) (last bool) {
	for len(p) > 0 {
		n, kind := r.framer.Next(p)
		r.part = append(r.part, p[:n]...)
		p = p[n:]
		named := kind == resp.Push || kind == '*'
		switch {
		case r.midway:
			r.midway = kind == 0
		case kind == 0:
			continue
		case (kind == '$' || named && string(r.framer.Name()) == "pong") && bytes.Contains(r.part, []byte(endMark)):
			return true
		case named && isConfirmation(r.framer.Name()) && r.marked.Load():
			r.part = r.part[:0]
		}
		r.ready = append(r.ready, r.part...)
		r.part = r.part[:0]
	}
	return false
}

// isConfirmation reports whether a message confirms that a subscription was begun or ended.
func isConfirmation(name []byte) bool {
	for _, v := range verbs {
		if string(name) == v[0] || string(name) == v[1] {
			return true
		}
	}
	return false
}

// deadline returns that of the reader.
func (s *subscriber) deadline() time.Time {
	if ns := s.readBy.Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Time{}
}

// setReaderDeadline is SetReadDeadline for a PubSub.
func (s *subscriber) setReaderDeadline(t time.Time) error {
	ns := int64(0)
	if !t.IsZero() {
		ns = t.UnixNano()
	}
	s.readBy.Store(ns)
	r := s.handedOver()
	switch {
	case r == nil:
		if err := s.conn.Conn.SetReadDeadline(t); err != nil {
			s.conn.end(&s.conn.failed, &connFailure{cause: err})
		}
		if s.handedOver() != nil {
			_ = s.conn.Conn.SetReadDeadline(longAgo) // this may have come after the mover has woken the reader up
		}
	case r.over:
		return r.next.SetReadDeadline(t)
	}
	return nil
}
