package conn

import (
	"bytes"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/resp"
)

// Conn is a connection that belongs to one database for life. It is the gate through which every request to that
// database passes, and its ledger knows what became of it.
//
// go-redis uses a connection from one goroutine at a time (write a request, read its replies), except for pub/sub and
// the full-duplex autopipeliner, where one goroutine writes and another reads.
//
// A write never fails: what cannot be written is swallowed, and the read that follows fails. The reader alone knows which
// replies have been given out, and go-redis reads only when it has used up what it has:
//
//  1. full duplex has two requests in flight, and the replies to both have been read in one piece;
//  2. the writer writes a third one, which is refused;
//  3. if the write failed, go-redis would run all three again, because the reader has given out none of them yet;
//  4. since the read fails instead, the two have their replies by then, and the third one is run again alone.
type Conn struct {
	net.Conn
	set    *Set
	hello  handshake // owned by the goroutine that runs the handshake, see handshake.go
	ledger *Ledger
	pushes pushes
	sub    *subscriber // of a PubSub; nil for others

	place   Place       // where it leads within a cluster; zero if the database is none
	sharded atomic.Bool // a shard channel is subscribed to

	admitted uint64 // the number of the term it was dialed in; guarded by set.mu

	// refused is why nothing more is written; replies owed can still be read. failed is why nothing more is read either.
	// Both are sticky: go-redis peeks for RESP3 pushes before it reads a reply and swallows what that peek returns.
	refused, failed atomic.Pointer[connFailure]

	torn atomic.Bool // the last request was written in part, so no reply to that one will come; set before the reader is woken up

	greeting atomic.Bool // HELLO, or what we answer in its place, has not been read: the one who reads makes the handshake

	ready   atomic.Bool // the handshake is over: what is written now is a user's request
	pubsub  atomic.Bool // it has subscribed, and is no connection of a pool; guarded by set.mu as well
	local   atomic.Bool // closed by us or by the pool, so the errors that follow are nobody's evidence
	stale   atomic.Bool // the pool has handed it out after its database had lost its place
	closing atomic.Bool // it is about to be closed: the pool must not hand it out

	timed stopwatch // of replies, where a detector wants that

	id atomic.Int64 // of the connection, by the reply to HELLO; 0: not known

	movable   atomic.Uint64 // the last request that waits for something to come and may be run again elsewhere
	unblocked uint64        // the term after whose end it was named by Waiting; guarded by set.mu

	// What the monitor has seen, for it alone: since when the oldest reply has been owed.
	seen      uint64
	owedSince time.Time
}

// connFailure is why a connection is of no use any more.
type connFailure struct {
	cause error
	multi bool // the request that was not written begins a transaction
}

// newConn wraps nc in the type through which the pool can be told that it is of no use any more: see poolcheck.go.
func newConn(s *Set, nc net.Conn, client *Client) (*Conn, net.Conn) {
	ledger := NewLedger(s.cfg.Classes)
	c := &Conn{Conn: nc, set: s, hello: handshake{client: client, login: login{wire: nc, ledger: ledger}}, ledger: ledger}
	c.greeting.Store(true)
	switch _, plain := nc.(syscall.Conn); {
	case !poolChecks:
		return c, c
	case plain:
		return c, tcpConn{c}
	}
	return c, &tlsConn{Conn: c}
}

// current reports whether new requests may be written: one call, which loads an atomic pointer.
func (c *Conn) current() bool {
	here, _ := c.set.owner.Open()
	return here
}

// Write lets a request pass, or swallows it and lets the read that follows fail.
func (c *Conn) Write(p []byte) (int, error) {
	if next := c.sub.moved(); next != nil {
		return next.Write(p)
	}
	if !c.ready.Load() {
		return c.writeHandshake(p)
	}
	return c.writeRequest(p)
}

func (c *Conn) writeRequest(p []byte) (int, error) {
	if question := c.set.cfg.Question; len(p) == len(question) && bytes.Equal(p, question) {
		return 0, c.set.cfg.Answer
	}
	if !c.current() {
		if next := c.sub.moveLate(); next != nil {
			return next.Write(p)
		}
		if !c.sub.excused() {
			if !c.mayContinue(p) {
				return c.refuse(p)
			}
			c.set.owner.LateRequest()
		}
	}
	if c.place.Detour && c.ledger.Between() && !isSubscribe(resp.CommandName(p)) {
		return c.refuse(p)
	}
	if c.sub == nil && (c.refused.Load() != nil || c.failed.Load() != nil) { // the reader may be settling what is owed: see lostInFullDuplex
		c.wakeReader()
		return len(p), nil
	}
	idle := c.set.cfg.Timed && c.ledger.Owed() == 0
	class := c.ledger.Begin(p)
	if c.sub != nil {
		if class&Subscribes != 0 {
			c.sub.note(p)
		}
		if next := c.sub.moved(); next != nil { // after Begin: who goes over looks what is owed
			c.ledger.Undo(p, 0)
			return next.Write(p)
		}
	}
	if class&Subscribes != 0 {
		// In this order: either the sweep after a switch finds a subscription, or this finds the switch.
		c.set.subscribed(c)
		if !c.current() && !c.sub.excused() || c.shardElsewhere(p) {
			c.refused.CompareAndSwap(nil, &connFailure{cause: c.refusal()})
		}
	}
	if c.refused.Load() != nil || c.failed.Load() != nil { // after Begin: see Ledger
		c.ledger.Undo(p, 0)
		c.wakeReader()
		return len(p), nil
	}
	if idle {
		c.timed.begin(class, c.set.clockStart)
	}
	if moves := c.set.cfg.Moves; class&Blocks != 0 && moves != nil && moves() {
		c.movable.Store(c.ledger.Written())
	}
	c.set.owner.Outstanding()
	n, err := c.Conn.Write(p)
	if err == nil {
		return n, nil
	}
	// TLS counts whole records, and a record that is not whole cannot be read by the other side.
	c.ledger.Undo(p, n)
	c.torn.Store(!c.ledger.Between())
	c.end(&c.refused, &connFailure{err, class&Multi != 0})
	c.wakeReader()
	return len(p), nil
}

// mayContinue reports whether a request may be written although the database has lost its place: the rest of one that has
// been begun, and, while the database drains, the next step of a session. Whose hands a connection is in is known from
// what it holds and owes. One that holds nothing may still be between two requests of a Conn; where go-redis' pool looks
// at what it hands out, it has told which those are not.
//
// A SUBSCRIBE is not such a step: it would listen there until the drain ends.
func (c *Conn) mayContinue(p []byte) bool {
	switch {
	case !c.ledger.Between():
		return true
	case !c.set.draining.Load() || isSubscribe(resp.CommandName(p)):
		return false
	}
	return c.ledger.Session() || c.ledger.Owed() > 0 || poolChecks && !c.stale.Load()
}

// refuse swallows a new request on a connection whose database has lost its place.
func (c *Conn) refuse(p []byte) (int, error) {
	c.refused.CompareAndSwap(nil, &connFailure{c.refusal(), isMulti(resp.CommandName(p))})
	c.wakeReader()
	return len(p), nil
}

// refusal is why the gate lets nothing pass.
func (c *Conn) refusal() error {
	if _, somewhere := c.set.owner.Open(); !somewhere {
		return c.set.cfg.NoDatabase
	}
	return errNotActive
}

// wakeReader ends a read that waits for what will not come. If replies are owed, the reader gets those first.
func (c *Conn) wakeReader() {
	if c.toCome() == 0 {
		_ = c.Conn.SetReadDeadline(longAgo)
	}
}

var longAgo = time.Unix(1, 0)

// Read reads replies.
func (c *Conn) Read(p []byte) (int, error) {
	if c.greeting.Load() {
		return c.readHello(p)
	}
	return c.readReplies(p)
}

func (c *Conn) readReplies(p []byte) (int, error) {
	if r := c.sub.handedOver(); r != nil {
		return c.sub.readMoved(r, p)
	}
	if c.pushes.ready != nil {
		return c.pushes.take(p), nil
	}
	if f := c.over(); f != nil {
		return 0, c.lostReply(f)
	}
	n, err := c.Conn.Read(p)
	if r := c.sub.handedOver(); r != nil { // meanwhile, and the reader was woken up for that
		r.begin(c.ledger)
		if err := c.sub.tookLast(r, p[:n], err); err != nil {
			return 0, err
		}
		return c.sub.readMoved(r, p)
	}
	if n = c.received(p, n); n == 0 && err == nil && c.pushes.held != nil {
		return c.readReplies(p)
	}
	if err == nil {
		if c.shardMoved(p[:n]) {
			return 0, c.lostReply(c.end(&c.failed, &connFailure{cause: errNotActive}))
		}
		return n, nil
	}
	if f := c.over(); f != nil {
		return n, c.lostReply(f) // and the reader was woken up for that
	}
	if goredis.IsTimeout(err) && (c.ledger.Owed() == 0 || c.ledger.Subscribed()) {
		return n, err // a look for messages, and there was none
	}
	return n, c.lostReply(c.end(&c.failed, &connFailure{cause: err}))
}

// received counts what was read into p, and returns how many bytes of it are for the reader.
func (c *Conn) received(p []byte, n int) int {
	if n == 0 {
		return 0
	}
	last := c.ledger.Received(p[:n])
	if c.set.cfg.Timed {
		if took, ok := c.timed.end(c.set.clockStart); ok {
			c.set.owner.Replied(took)
		}
	}
	if c.sub != nil { // a PubSub reads on
		return n
	}
	return c.pushes.hold(p, n, last)
}

// over returns why there is nothing to read any more: the connection is broken, or it takes no more requests and no reply will come.
func (c *Conn) over() *connFailure {
	if f := c.refused.Load(); f != nil && c.toCome() == 0 {
		return f
	}
	return c.failed.Load()
}

// toCome returns how many of the replies owed may still come.
func (c *Conn) toCome() uint64 {
	owed := c.ledger.Owed()
	if owed > 0 && c.torn.Load() {
		owed--
	}
	return owed
}

// SetDeadline is called by nobody but the pool, on an idle connection that it is about to hand out. A connection of
// an old database that gets this far is refused at its next request; one that a session holds is not.
func (c *Conn) SetDeadline(t time.Time) error {
	if stale := !c.current(); stale != c.stale.Load() {
		c.stale.Store(stale)
	}
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline comes before replies are read. A failure is left to the Read that follows, which knows what is owed.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if !c.ready.Load() {
		c.hello.login.readBy = t
	}
	if c.sub != nil {
		return c.sub.setReaderDeadline(t)
	}
	if err := c.Conn.SetReadDeadline(t); err != nil {
		c.end(&c.failed, &connFailure{cause: err})
	}
	return nil
}

// SetWriteDeadline comes before a request is written. A failure is left to the Write that follows.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if next := c.sub.moved(); next != nil {
		return next.SetWriteDeadline(t)
	}
	if err := c.Conn.SetWriteDeadline(t); err != nil {
		c.end(&c.refused, &connFailure{cause: err})
	}
	return nil
}

// end ends one direction of the connection, and returns the failure that has done so first.
func (c *Conn) end(way *atomic.Pointer[connFailure], f *connFailure) *connFailure {
	if !way.CompareAndSwap(nil, f) {
		return way.Load()
	}
	if !c.local.Load() && !goredis.IsTimeout(f.cause) {
		// Timeouts are left to the hook, which knows the caller's deadline.
		err := c.set.owner.Fail(c.place.Addr, c.owes(), f.cause)
		if !c.ready.Load() {
			err = goredis.Handshake(err)
		}
		c.set.owner.Suspect(err)
	}
	return f
}

// Close is called by the pool, by PubSub, or by whoever dialed. A client made for Sentinel closes what does not lead to the new
// master of its own group. This connection leads where the hook has said, and may be in use.
func (c *Conn) Close() error {
	if (c.owes() || c.ledger.Session()) && goredis.FollowsSentinel() {
		return nil
	}
	c.local.Store(true)
	c.set.forget(c)
	if c.sub != nil {
		if r := c.sub.replacement.Load(); r != nil {
			_ = r.next.Close()
		}
	}
	return c.Conn.Close()
}

// cut ends the connection from our side; a read that is blocked wakes up.
func (c *Conn) cut() {
	c.local.Store(true)
	_ = c.Conn.Close()
}

// isSubscribe reports whether the name of a request is one of the SUBSCRIBE family.
func isSubscribe(name []byte) bool {
	return bytes.EqualFold(name, []byte("subscribe")) || bytes.EqualFold(name, []byte("psubscribe")) ||
		bytes.EqualFold(name, []byte("ssubscribe"))
}

func isMulti(name []byte) bool { return bytes.EqualFold(name, []byte("multi")) }
