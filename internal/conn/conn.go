package conn

import (
	"bytes"
	"errors"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redishook/multidb/internal/resp"
)

// Conn is a connection that belongs to one database for life. It is the gate through which every request to that
// database passes, and the witness of what became of it.
//
// go-redis uses a connection from one goroutine at a time (write a request, read its replies), except for pub/sub and
// the full-duplex autopipeliner, where one goroutine writes and another reads. Every field that both sides touch is
// therefore atomic; none is contended on the normal path.
type Conn struct {
	net.Conn
	set   *Set
	hello handshake // owned by the side that writes until it is over, see handshake.go

	admitted  uint64 // the number of the term it was dialed in; guarded by s.mu
	untracked bool   // its type is wrong for client-side caching: see poolcheck.go

	// failed holds the cause that ended this connection. It is sticky: go-redis peeks for RESP3 pushes before it reads
	// a reply and swallows what that peek returns. Without stickiness the read that follows meets a closed socket,
	// looks like a request that was never sent, and an INCR is run twice.
	failed atomic.Pointer[connFailure]

	// What the connection is.
	ready  atomic.Bool // the handshake is over: what is written now is a user's request
	pubsub atomic.Bool // told by its first request; receive timeouts are normal here
	local  atomic.Bool // closed by us or by the pool, so the errors that follow are nobody's evidence

	// What has happened since the pool handed it out last.
	stale   atomic.Bool // it was handed out after its database had lost its place
	lent    atomic.Bool // by the pool, which it had been given back to; before that OnConnect may have used it
	dirty   atomic.Bool // a user's request has been written: another one is the next step of a session, or full duplex
	session atomic.Bool // that first request began a session (WATCH, SELECT, ...): full duplex is ruled out
	duplex  atomic.Bool // a request was written while a read was waiting

	// What is going on now.
	multi    atomic.Bool // the request in flight begins with MULTI
	writing  atomic.Bool // a request is being written: what follows before the first read continues it
	reading  atomic.Bool // a read is waiting
	busy     atomic.Bool // a request is outstanding, and nothing was read since it was written
	checking atomic.Bool // the pool is looking whether an idle connection is still alive
	cleared  atomic.Bool // the read deadline was taken away, which precedes a look for pushes
	probing  atomic.Bool // the reads that follow look for pushes; a timeout means that there are none

	reads atomic.Uint64 // reads that brought data
	asked atomic.Int64  // when the request was written that is being timed, ns since the set's clockStart; 0: none is
}

type connFailure struct{ cause error }

// newConn wraps nc in the type through which the pool can be told that it is of no use any more: see poolcheck.go.
func newConn(s *Set, nc net.Conn, client *Client) (*Conn, net.Conn) {
	c := &Conn{Conn: nc, set: s, hello: handshake{client: client}}
	if _, ok := nc.(syscall.Conn); ok {
		return c, tcpConn{c}
	}
	if client.tracking.Load() {
		return c, cachingTLSConn{c}
	}
	c.untracked = true
	return c, tlsConn{c}
}

// current reports whether new requests may be written: one call, which loads an atomic pointer.
func (c *Conn) current() bool {
	here, _ := c.set.owner.Open()
	return here
}

// Write lets a request pass, or refuses it before its first byte.
func (c *Conn) Write(p []byte) (int, error) {
	if c.writing.Load() {
		return c.write(p, true, false)
	}
	if !c.ready.Load() {
		return c.writeHandshake(p)
	}
	return c.writeRequest(p)
}

// writeRequest writes the first piece of a request, which is often all of it.
func (c *Conn) writeRequest(p []byte) (int, error) {
	if question := c.set.cfg.Question; len(p) == len(question) && bytes.Equal(p, question) {
		return 0, c.set.cfg.Answer
	}
	name := resp.CommandName(p)
	c.multi.Store(len(name) == 5 && name[0]|0x20 == 'm' && strings.EqualFold(string(name), "multi"))
	more := c.dirty.Load()
	if isSubscribe(name) {
		return c.writeSubscribe(p, more)
	}
	if !c.current() {
		if !c.mayContinueSession() {
			return 0, c.refuse(more)
		}
		c.set.owner.LateRequest()
	}
	if !more {
		c.begin(name)
	}
	if c.reading.Load() && !c.duplex.Load() {
		c.duplex.Store(true)
	}
	if c.probing.Load() {
		c.probing.Store(false)
	}
	if c.set.cfg.Timed {
		c.asks(name)
	}
	c.writing.Store(true)
	c.busy.Store(true)
	c.set.owner.Outstanding()
	return c.write(p, false, more)
}

// writeSubscribe writes a request of the SUBSCRIBE family. To a database that has lost its place it is not written: it would
// listen there until the drain ends. It does not fail, here or at the socket, but lets the read that follows fail: when the
// first SUBSCRIBE of a PubSub fails, go-redis connects again before it has noted the channels, and the subscriber is deaf
// from then on.
func (c *Conn) writeSubscribe(p []byte, more bool) (int, error) {
	c.dirty.Store(true)
	if !c.pubsub.Load() {
		c.set.subscribed(c)
	}
	if !c.current() {
		c.local.Store(true) // nobody's evidence
		_ = c.fail(errNotActive)
		return len(p), nil
	}
	c.writing.Store(true)
	_, _ = c.write(p, false, more) // what fails is sticky
	return len(p), nil
}

// begin notes what the first request since the connection was handed out says about its use.
func (c *Conn) begin(name []byte) {
	c.dirty.Store(true)
	if beginsSession(name) && (c.lent.Load() || !setsUp(name)) {
		c.session.Store(true)
	}
}

// mayContinueSession reports whether a session may go on here although the database has lost its place: it is being drained,
// and the connection is in somebody's hands: the pool has not handed it out since the switch, or it would be stale.
func (c *Conn) mayContinueSession() bool {
	return c.set.draining.Load() && !c.stale.Load()
}

func (c *Conn) write(p []byte, continues, more bool) (int, error) {
	if f := c.failed.Load(); f != nil {
		return 0, c.writeError(f.cause, continues, more)
	}
	n, err := c.Conn.Write(p)
	if err == nil {
		return n, nil
	}
	cause := c.fail(err)
	// If nothing of this write was accepted, and it began the request, that was not sent. TLS counts whole records, and
	// a record that is not whole cannot be read by the other side.
	return n, c.writeError(cause, continues || n > 0, more)
}

// Read reads replies, and remembers that the database is alive.
func (c *Conn) Read(p []byte) (int, error) {
	if c.cleared.Load() {
		c.cleared.Store(false)
	}
	if !c.ready.Load() && c.hello.canned != nil {
		return c.readCanned(p)
	}
	if f := c.failed.Load(); f != nil {
		return 0, c.lostReply(f.cause)
	}
	if c.writing.Load() {
		c.writing.Store(false)
	} else if !c.busy.Load() && !c.probing.Load() && !c.pubsub.Load() {
		// More of the replies owed: a request outstanding just as before.
		c.busy.Store(true)
		c.set.owner.Outstanding()
	}
	c.reading.Store(true)
	n, err := c.Conn.Read(p)
	c.reading.Store(false)
	if n > 0 {
		c.reads.Add(1)
		if c.set.cfg.Timed {
			c.isAnswered()
		}
		if c.busy.Load() {
			c.busy.Store(false)
		}
		if !c.ready.Load() {
			if refused := c.helloAnswered(p[:n]); refused != nil {
				return 0, c.handshakeFailed(refused)
			}
		}
	}
	if err == nil {
		return n, nil
	}
	if isTimeout(err) && (c.pubsub.Load() || c.probing.Load() && !c.duplex.Load()) {
		return n, err
	}
	return n, c.lostReply(c.fail(err))
}

// SetDeadline is called by nobody but the pool, on an idle connection that it is about to hand out. A connection of
// an old database that gets this far is refused at its next request; one that a session holds is not.
func (c *Conn) SetDeadline(t time.Time) error {
	c.stale.Store(!c.current())
	if !c.lent.Load() {
		c.lent.Store(true)
	}
	if c.dirty.Load() {
		c.dirty.Store(false)
		c.session.Store(false)
		c.duplex.Store(false)
	}
	c.checking.Store(true)
	c.cleared.Store(true)
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline comes before replies are read, and without a deadline before a look for pushes. On a connection that
// was cut in between it must not return the bare error of the socket, which go-redis would take for a reason to send the
// request again.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if c.checking.Load() {
		c.checking.Store(false)
	}
	if t.IsZero() {
		c.cleared.Store(true)
	}
	if err := c.Conn.SetReadDeadline(t); err != nil {
		return c.readError(c.fail(err))
	}
	return nil
}

// SetWriteDeadline comes before a request is written. A failure is left to the Write that follows, which knows what it is
// about: a transaction, for one, must not be run again by go-redis, see hide.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if err := c.Conn.SetWriteDeadline(t); err != nil {
		_ = c.fail(err)
	}
	return nil
}

// lookingForPushes is called when go-redis asks for the socket, which it does after it has taken the deadline away, to
// see whether a push has arrived. A timeout of the read that may follow is an answer to that and no failure.
func (c *Conn) lookingForPushes() {
	if c.cleared.Load() {
		c.cleared.Store(false)
		c.probing.Store(true)
	}
}

// fail ends the connection with its first error, and returns that one.
func (c *Conn) fail(cause error) error {
	c.busy.Store(false)
	if !c.failed.CompareAndSwap(nil, &connFailure{cause}) {
		return c.failed.Load().cause
	}
	if !c.local.Load() && !isTimeout(cause) {
		// Timeouts are left to the hook, which knows the caller's deadline.
		c.set.owner.Suspect(c.set.owner.Fail(c.ready.Load() && c.dirty.Load(), cause))
	}
	return cause
}

// Close is called by the pool, by PubSub, or by whoever dialed.
func (c *Conn) Close() error {
	c.local.Store(true)
	c.set.forget(c)
	return c.Conn.Close()
}

// cut ends the connection from our side; a read that is blocked wakes up.
func (c *Conn) cut() {
	c.local.Store(true)
	_ = c.Conn.Close()
}

func isTimeout(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// isSubscribe reports whether the name of a request is one of the SUBSCRIBE family.
func isSubscribe(name []byte) bool {
	if len(name) < 9 || name[len(name)-1]|0x20 != 'e' {
		return false
	}
	switch strings.ToLower(string(name)) {
	case "subscribe", "psubscribe", "ssubscribe":
		return true
	}
	return false
}

// setsUp reports whether a request that begins a session may as well be one of OnConnect's, on a connection that is then
// lent to the full-duplex autopipeliner.
func setsUp(name []byte) bool {
	return !strings.EqualFold(string(name), "watch") && !strings.EqualFold(string(name), "multi")
}

// beginsSession reports whether the name of a request is one that a Tx or a Conn begins with and that the full-duplex
// autopipeliner does not take.
func beginsSession(name []byte) bool {
	if len(name) < 4 || len(name) > 6 {
		return false
	}
	switch strings.ToLower(string(name)) {
	case "watch", "select", "multi", "auth", "hello", "client", "reset":
		return true
	}
	return false
}
