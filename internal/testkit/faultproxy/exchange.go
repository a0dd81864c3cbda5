package faultproxy

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
)

// exchange takes a client's requests to the server, or whatever is to become of them.
type exchange struct {
	conn     *conn
	upstream net.Conn
	rest     []byte    // of what the client has sent, not read yet
	batch    []byte    // for the server, not sent yet
	commands []Command // those in batch

	silent   bool // CLIENT REPLY OFF
	skipNext bool // CLIENT REPLY SKIP
}

func (x *exchange) run() {
	br := bufio.NewReaderSize(x, 64<<10)
	for {
		req, err := readRequest(br)
		if err != nil {
			x.batch = append(x.batch, req.raw...)
			if errors.Is(err, errSyntax) {
				x.conn.proxy.log.garbled.Add(1)
				x.copyRest(br)
			}
			if x.flush() == nil {
				x.conn.hangUp(x.upstream)
			}
			return
		}
		if !x.request(req) {
			return
		}
	}
}

// copyRest passes on what can not be understood.
func (x *exchange) copyRest(br *bufio.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := br.Read(buf)
		x.batch = append(x.batch, buf[:n]...)
		if err != nil {
			return
		}
	}
}

// Read is where requests come from, once the gate is open. It sends the batch before it waits: the client may be waiting,
// too.
func (x *exchange) Read(b []byte) (int, error) {
	if err := x.flush(); err != nil {
		return 0, err
	}
	for len(x.rest) == 0 {
		select {
		case rest, ok := <-x.conn.in:
			if !ok {
				return 0, io.EOF
			}
			x.rest = rest
		case <-x.conn.ctx.Done():
			return 0, net.ErrClosed
		}
	}
	if !x.conn.proxy.gate.enter(x.conn.ctx.Done()) {
		return 0, net.ErrClosed
	}
	x.conn.proxy.gate.leave()
	n := copy(b, x.rest)
	x.rest = x.rest[n:]
	return n, nil
}

// flush sends the batch. Its commands are on record before the server can have answered them.
func (x *exchange) flush() error {
	if len(x.batch) == 0 && len(x.commands) == 0 {
		return nil
	}
	c := x.conn
	err := c.forward(x.upstream, x.batch, &c.proxy.log.toServer, func() { c.proxy.log.add(x.commands) })
	x.batch, x.commands = x.batch[:0], nil
	return err
}

// request decides about one request. False is that no further one is taken.
func (x *exchange) request(req request) bool {
	if len(req.args) == 0 { // nothing that the server answers
		x.batch = append(x.batch, req.raw...)
		return true
	}
	f := x.conn.proxy.faults.decide(req.args)
	s := slot{end: f.end, keep: f.keep, acks: acknowledgements(req.args)}
	isForwarded := f.fate == forwarded
	if isForwarded {
		x.batch = append(x.batch, req.raw...)
	} else {
		s.ready, s.reply = true, []byte(f.reply)
	}
	x.commands = append(x.commands, Command{Conn: x.conn.id, Args: req.args, Forwarded: isForwarded})

	isAnswered := x.isAnswered(req.args)
	if !isAnswered && s.end != goesOn {
		s.ready, s.reply = true, nil // there is no reply to wait for
	}
	if s.ready && x.flush() != nil { // the others are sent before they can be answered, this one is on record before it is
		return false
	}
	if isAnswered || s.end != goesOn {
		x.conn.order.expect(s)
	}
	if s.end.isLast() {
		_ = x.flush() // an error here is one of replies, too
		return false
	}
	return true
}

// isAnswered reports whether the server answers a request. It keeps track of CLIENT REPLY.
func (x *exchange) isAnswered(args []string) bool {
	skip := x.skipNext
	x.skipNext = false
	if len(args) == 3 && strings.EqualFold(args[0], "client") && strings.EqualFold(args[1], "reply") {
		switch strings.ToLower(args[2]) {
		case "on":
			x.silent, skip = false, false
		case "off":
			x.silent = true
		case "skip":
			x.skipNext, skip = !x.silent, true
		}
	}
	return !x.silent && !skip
}

// acknowledgements is how many messages answer a request of the subscribe family. Without channels, it ends all
// subscriptions: there is at least one message, and the further ones do not count.
func acknowledgements(args []string) int {
	switch strings.ToLower(args[0]) {
	case "subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe":
		return max(1, len(args)-1)
	}
	return 0
}
