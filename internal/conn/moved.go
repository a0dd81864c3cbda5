package conn

import (
	"bytes"
	"time"

	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/resp"
)

// The reader of a connection that has moved: see subscriber.

// readMoved reads what is left of the old connection, then what came early on the new one, and then that.
func (s *subscriber) readMoved(h *heir, p []byte) (int, error) {
	h.begin(s.conn.ledger)
	for !h.over && len(h.ready) == 0 {
		_ = s.conn.Conn.SetReadDeadline(h.until)
		buf := make([]byte, 16<<10)
		n, err := s.conn.Conn.Read(buf)
		if err := s.tookLast(h, buf[:n], err); err != nil {
			return 0, err
		}
	}
	if len(h.ready) > 0 {
		n := copy(p, h.ready)
		h.ready = h.ready[n:]
		return n, nil
	}
	return h.next.Read(p)
}

// begin is called before the first piece is sifted.
func (h *heir) begin(l *Ledger) {
	if !h.begun {
		h.begun, h.framer = true, l.replies
		h.midway = !h.framer.Idle()
	}
}

// tookLast takes what a read of the old connection has returned. Whole replies are ready then.
func (s *subscriber) tookLast(h *heir, p []byte, err error) error {
	s.conn.ledger.Received(p)
	last := h.sift(p)
	switch {
	case last:
	case err == nil, goredis.IsTimeout(err) && time.Now().Before(h.until): // or the mover has woken the reader up a moment ago
		return nil
	}
	if h.midway {
		return s.conn.lostReply(s.conn.end(&s.conn.failed, &connFailure{cause: err}))
	}
	h.over = true
	h.ready = append(append(h.ready, h.came...), h.cameInPart...)
	h.came, h.cameInPart, h.part = nil, nil, nil
	s.conn.local.Store(true)
	s.conn.set.forget(s.conn)
	_ = s.conn.Conn.Close()
	_ = h.next.SetReadDeadline(s.deadline())
	return nil
}

// sift takes what has been read of the old connection. It keeps the answers to the farewell from the client, and reports whether that
// was the last.
func (h *heir) sift(p []byte) (last bool) {
	for len(p) > 0 {
		n, kind := h.framer.Next(p)
		h.part = append(h.part, p[:n]...)
		p = p[n:]
		named := kind == resp.Push || kind == '*'
		switch {
		case h.midway:
			h.midway = kind == 0
		case kind == 0:
			continue
		case (kind == '$' || named && string(h.framer.Name()) == "pong") && bytes.Contains(h.part, []byte(lastWord)):
			return true
		case named && isConfirmation(h.framer.Name()) && h.marked.Load():
			h.part = h.part[:0]
		}
		h.ready = append(h.ready, h.part...)
		h.part = h.part[:0]
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
	h := s.handedOver()
	switch {
	case h == nil:
		if err := s.conn.Conn.SetReadDeadline(t); err != nil {
			s.conn.end(&s.conn.failed, &connFailure{cause: err})
		}
		if s.handedOver() != nil {
			_ = s.conn.Conn.SetReadDeadline(longAgo) // this may have come after the mover has woken the reader up
		}
	case h.over:
		return h.next.SetReadDeadline(t)
	}
	return nil
}
