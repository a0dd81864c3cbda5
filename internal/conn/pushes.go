package conn

// A push reaches go-redis whole or not at all. After one that ends in the middle, full duplex sends again all that it holds,
// whatever the error says:
//
//  1. INCR is executed. The connection ends in the middle of a push in front of its reply.
//  2. The look for pushes fails. Full duplex sends INCR again (errFDPushDrainFailed).

// pushes is what a connection has read and not handed out. For the reader.
type pushes struct {
	held  []byte // the beginning of a push that has not arrived whole
	ready []byte // more than the reader had room for
}

// take hands out what was kept because there was no room.
func (w *pushes) take(p []byte) int {
	n := copy(p, w.ready)
	if w.ready = w.ready[n:]; len(w.ready) == 0 {
		w.ready = nil
	}
	return n
}

// hold keeps the last bytes of the n that were read into p: they belong to a push that has not arrived whole. It hands out a push that
// has. It returns how many bytes of p are for the reader.
func (w *pushes) hold(p []byte, n, last int) int {
	switch {
	case w.held == nil && last == 0:
		return n
	case w.held == nil:
		w.held = append([]byte(nil), p[n-last:n]...)
		return n - last
	case last == n:
		w.held = append(w.held, p[:n]...)
		return 0
	}
	whole := append(w.held, p[:n-last]...)
	w.held = append([]byte(nil), p[n-last:n]...)
	if last == 0 {
		w.held = nil
	}
	n = copy(p, whole)
	w.ready = append(w.ready, whole[n:]...)
	return n
}
