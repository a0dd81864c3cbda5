package memnet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// room is how much of a stream may wait to be read.
const room = 256 << 10

// stream is one direction of a connection.
//
// What becomes of a write whose reader has gone is what TCP does: the first one succeeds and its bytes are lost, because
// the answer to it, that nobody is there, comes later. All further ones fail.
type stream struct {
	mu      sync.Mutex
	changed sync.Cond
	buf     []byte // Guarded by mu
	ended   bool   // Guarded by mu; the writer sends no more
	local   bool   // Guarded by mu; the writer has closed its own end, so that its writes say net.ErrClosed
	gone    bool   // Guarded by mu; the reader has closed its end
	lost    bool   // Guarded by mu; a write has met a reader that is gone
	broken  bool   // Guarded by mu; reset

	reading, writing deadline
}

func newStream() *stream {
	s := &stream{}
	s.changed.L = &s.mu
	s.reading.stream, s.writing.stream = s, s
	return s
}

func (s *stream) read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.gone:
			return 0, net.ErrClosed
		case s.reading.passed:
			return 0, os.ErrDeadlineExceeded
		case s.broken:
			return 0, syscall.ECONNRESET
		case len(b) == 0:
			return 0, nil
		case len(s.buf) > 0:
			n := copy(b, s.buf)
			if s.buf = s.buf[n:]; len(s.buf) == 0 {
				s.buf = nil
			}
			s.changed.Broadcast()
			return n, nil
		case s.ended:
			return 0, io.EOF
		}
		s.changed.Wait()
	}
}

func (s *stream) write(b []byte) (written int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.local:
			return written, net.ErrClosed
		case s.ended:
			return written, syscall.EPIPE
		case s.writing.passed:
			return written, os.ErrDeadlineExceeded
		case s.broken:
			return written, syscall.ECONNRESET
		case s.lost:
			return written, syscall.EPIPE
		case s.gone:
			s.lost = true
			return written + len(b), nil
		}
		n := min(len(b), room-len(s.buf))
		s.buf = append(s.buf, b[:n]...)
		written, b = written+n, b[n:]
		if n > 0 {
			s.changed.Broadcast()
		}
		if len(b) == 0 {
			return written, nil
		}
		s.changed.Wait()
	}
}

// stopWriting is the end of the writer; local says that the whole connection was closed there.
func (s *stream) stopWriting(local bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.local = s.local || local
	if local {
		s.writing.stop()
	}
	s.changed.Broadcast()
}

// stopReading is the end of the reader. It reports whether it is the first.
func (s *stream) stopReading() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := !s.gone
	s.gone = true
	s.buf = nil
	s.reading.stop()
	s.changed.Broadcast()
	return first
}

// reset loses what was not read.
func (s *stream) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = true
	s.buf = nil
	s.changed.Broadcast()
}

// deadline is that of one end of a stream.
type deadline struct {
	stream *stream
	timer  *time.Timer // Guarded by stream.mu
	passed bool        // Guarded by stream.mu
	turn   uint64      // Guarded by stream.mu; a timer of an earlier one that fires late has no say
}

func (d *deadline) set(t time.Time) {
	d.stream.mu.Lock()
	defer d.stream.mu.Unlock()
	d.stop()
	wait := time.Until(t)
	d.passed = !t.IsZero() && wait <= 0
	if !t.IsZero() && wait > 0 {
		turn := d.turn
		d.timer = time.AfterFunc(wait, func() {
			d.stream.mu.Lock()
			defer d.stream.mu.Unlock()
			if d.turn == turn {
				d.passed = true
				d.stream.changed.Broadcast()
			}
		})
	}
	d.stream.changed.Broadcast()
}

// stop requires stream.mu.
func (d *deadline) stop() {
	d.turn++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
