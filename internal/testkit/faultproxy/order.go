package faultproxy

import (
	"bytes"
	"strconv"
	"strings"
	"sync"
)

// ending is what becomes of a connection.
type ending int

const (
	goesOn ending = iota
	closes
	resets
	refuses     // as mode Refuse does, with all the others
	fallsSilent // stays open, and nothing more comes back on it
)

// isLast reports whether nothing of the connection is left after it.
func (e ending) isLast() bool { return e == closes || e == resets || e == refuses }

// slot is a place in the sequence of a connection's replies.
type slot struct {
	ready bool   // the reply is there; otherwise the server will send it
	reply []byte // only if ready
	acks  int    // a subscription's reply is one message for each channel; how many are missing
	end   ending // what comes with the reply
	keep  int    // if the connection ends with the server's reply: how much of that is passed on before
}

// order puts the server's replies and the proxy's own into the order of the requests. It has to know which of the
// server's messages are replies at all: push messages are none, neither are a RESP2 subscriber's.
type order struct {
	out *outbox

	mu         sync.Mutex
	slots      []slot       // Guarded by mu; the first one is not ready
	subscribed map[bool]int // Guarded by mu; RESP2 subscriptions by whether they are sharded, which Redis counts apart
	ended      bool         // Guarded by mu; nothing may follow
}

// expect adds the place of a request's reply. Call it before the request is sent.
func (o *order) expect(s slot) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.slots = append(o.slots, s)
	o.drain()
}

// drain requires o.mu.
func (o *order) drain() {
	for len(o.slots) > 0 && o.slots[0].ready {
		s := o.slots[0]
		o.slots = o.slots[1:]
		o.emit(s.reply, s.end)
	}
}

// emit requires o.mu.
func (o *order) emit(data []byte, end ending) {
	if o.ended {
		return
	}
	o.ended = end != goesOn
	o.out.push(data, end)
}

// receive takes a message from the server.
func (o *order) receive(msg []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.slots) == 0 { // MONITOR, or an error before the connection is closed
		o.emit(msg, goesOn)
		return
	}
	head := &o.slots[0]
	switch kind := o.classify(msg); {
	case kind == message, kind == acknowledgement && head.acks == 0:
		o.emit(msg, goesOn)
		return
	case kind == acknowledgement && head.end == goesOn:
		o.emit(msg, goesOn)
		if head.acks--; head.acks > 0 {
			return
		}
	case head.end != goesOn:
		o.emit(msg[:min(head.keep, len(msg))], head.end)
	default:
		o.emit(msg, goesOn)
	}
	o.slots = o.slots[1:]
	o.drain()
}

// pass passes on what is no RESP.
func (o *order) pass(data []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.emit(data, goesOn)
}

// finish passes on what is left when the server sends no more.
func (o *order) finish(rest []byte, end ending) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.slots) > 0 && o.slots[0].end != goesOn {
		rest, end = nil, o.slots[0].end
	}
	if o.ended {
		rest = nil
	}
	o.ended = true
	o.out.push(rest, end)
}

type kind int

const (
	reply           kind = iota
	message              // belongs to no request
	acknowledgement      // of a subscription or its end
)

// classify requires o.mu.
func (o *order) classify(msg []byte) kind {
	if msg[0] != '>' && msg[0] != '*' {
		if string(msg) == "+RESET\r\n" {
			clear(o.subscribed)
		}
		return reply
	}
	first := firstElement(msg)
	sharded := strings.HasPrefix(first, "s") && first != "subscribe"
	switch first {
	case "subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe":
		if msg[0] == '*' {
			if o.slots[0].acks == 0 && o.subscribed[sharded] == 0 {
				return reply // some list's first element
			}
			if o.subscribed == nil {
				o.subscribed = make(map[bool]int)
			}
			o.subscribed[sharded] = lastInteger(msg)
		}
		return acknowledgement
	case "message", "pmessage", "smessage":
		if msg[0] == '*' && o.subscribed[false]+o.subscribed[true] == 0 {
			return reply
		}
		return message
	}
	if msg[0] == '>' {
		return message
	}
	return reply
}

// firstElement is the first element of an array, if that is a string.
func firstElement(msg []byte) string {
	parts := bytes.SplitN(msg, []byte("\r\n"), 4)
	if len(parts) < 4 || len(parts[1]) == 0 || parts[1][0] != '$' {
		return ""
	}
	return string(parts[2])
}

// lastInteger is the last element of an array, if that is an integer.
func lastInteger(msg []byte) int {
	n, _ := strconv.Atoi(string(bytes.TrimSuffix(msg[bytes.LastIndexByte(msg, ':')+1:], []byte("\r\n"))))
	return n
}
