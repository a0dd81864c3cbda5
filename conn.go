package multidb

import (
	"errors"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// conn is a connection that belongs to one database for life. It is the gate through which every request to that
// database passes, and the witness of what became of it.
//
// go-redis uses a connection from one goroutine at a time (write a request, read its replies), except for pub/sub and
// the full-duplex autopipeliner, where one goroutine writes and another reads. Every field that both sides touch is
// therefore atomic; none is contended on the normal path.
type conn struct {
	net.Conn
	db    *database
	hook  *Hook
	hello handshake // owned by the side that writes until it is over, see handshake.go

	untracked bool // its type is wrong for client-side caching: see checked.go

	admitted uint64 // the choice it was dialed for; guarded by db.conns.mu

	// failed holds the error that ended this connection. It is sticky: go-redis peeks for RESP3 pushes before it
	// reads a reply and swallows what that peek returns. Without stickiness the read that follows meets a closed
	// socket, looks like a request that was never sent, and an INCR is run twice.
	failed atomic.Pointer[connFailure]

	multi    atomic.Bool // the request in flight begins with MULTI
	ready    atomic.Bool // the handshake is over: what is written now is a user's request
	used     atomic.Bool // a user's request has been written
	pubsub   atomic.Bool // told by its first request; receive timeouts are normal here
	stale    atomic.Bool // handed out by the pool after its database had lost its place
	writing  atomic.Bool // a request is being written: what follows before the first read continues it
	busy     atomic.Bool // a request is outstanding, and nothing was read since it was written
	checking atomic.Bool // the pool is looking whether an idle connection is still alive
	probing  atomic.Bool // the reads that follow look for pushes on an idle connection; no reply is owed
	local    atomic.Bool // closed by us or by the pool, so the errors that follow are nobody's evidence

	reads atomic.Uint64 // reads that brought data
}

type connFailure struct{ err error }

// newConn wraps nc in the type through which the pool can be told that it is of no use any more: see checked.go.
func newConn(h *Hook, db *database, nc net.Conn, client *clientTraits) (*conn, net.Conn) {
	c := &conn{Conn: nc, db: db, hook: h, hello: handshake{client: client}}
	if _, ok := nc.(syscall.Conn); ok {
		return c, plainConn{c}
	}
	if client.tracking.Load() {
		return c, opaqueConn{c}
	}
	c.untracked = true
	return c, checkedConn{c}
}

// current reports whether new requests may be written: one atomic load and a comparison.
func (c *conn) current() bool {
	now := c.hook.active.Load()
	return now.db == c.db && !now.down
}

// SetDeadline is called by nobody but the pool, on an idle connection that it is about to hand out. A connection of
// an old database that gets this far is refused at its next request; one that a session holds is not.
func (c *conn) SetDeadline(t time.Time) error {
	if !c.current() {
		c.stale.Store(true)
	}
	c.probing.Store(true)
	c.checking.Store(true)
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline with no deadline is what go-redis does before it looks for pushes on an idle connection.
func (c *conn) SetReadDeadline(t time.Time) error {
	if c.checking.Load() {
		c.checking.Store(false)
	}
	if t.IsZero() && !c.probing.Load() && !c.busy.Load() && !c.writing.Load() {
		c.probing.Store(true)
	}
	return c.Conn.SetReadDeadline(t)
}

// Write lets a request pass, or refuses it before its first byte.
func (c *conn) Write(p []byte) (int, error) {
	if f := c.failed.Load(); f != nil {
		return 0, c.hide(f.notSent(c), false)
	}
	if c.writing.Load() {
		return c.write(p, true)
	}
	if !c.ready.Load() {
		return c.writeHandshake(p)
	}
	return c.writeRequest(p)
}

func (c *conn) writeRequest(p []byte) (int, error) {
	name := commandName(p)
	c.multi.Store(len(name) == 5 && name[0]|0x20 == 'm' && strings.EqualFold(string(name), "multi"))
	if !c.current() && !c.maySettle() {
		return 0, c.refuse()
	}
	if !c.pubsub.Load() && isSubscribe(name) {
		c.pubsub.Store(true)
	}
	if !c.used.Load() {
		c.used.Store(true)
	}
	if c.probing.Load() {
		c.probing.Store(false)
	}
	c.writing.Store(true)
	c.busy.Store(true)
	return c.write(p, false)
}

// maySettle reports whether a session may go on here although the database has lost its place: it is being drained,
// and the connection is in somebody's hands: the pool has not handed it out since the switch, or it would be stale.
func (c *conn) maySettle() bool {
	return c.db.draining.Load() && !c.stale.Load()
}

// refuse answers a new request on a connection whose database has lost its place.
func (c *conn) refuse() error {
	if c.hook.active.Load().down {
		return commandError(c.db.name, false, ErrNoDatabase)
	}
	return c.hide(commandError(c.db.name, false, errNotActive), false)
}

// hide decides whether go-redis may see the cause of a failure, and so run the request again by itself. It must not if
// the request was sent, unless this is pub/sub, where nothing is run again and timeouts are looked for. It must not in a
// transaction either, even if nothing was sent: it would leave the error of the first run on the MULTI of the second,
// and report a transaction that was executed as failed.
func (c *conn) hide(err error, sent bool) error {
	if sent && !c.pubsub.Load() || c.multi.Load() {
		return &hidden{err}
	}
	return err
}

func (c *conn) write(p []byte, continues bool) (int, error) {
	n, err := c.Conn.Write(p)
	if err == nil {
		return n, nil
	}
	// Nothing of this write was accepted, and it began the request: it was not sent. TLS counts whole records, and a
	// record that is not whole cannot be read by the other side.
	sent := continues || n > 0
	return n, c.fail(err, sent && c.ready.Load())
}

// Read reads replies, and remembers that the database is alive.
func (c *conn) Read(p []byte) (int, error) {
	if f := c.failed.Load(); f != nil {
		return 0, f.err
	}
	if c.writing.Load() {
		c.writing.Store(false)
	} else if !c.busy.Load() && !c.probing.Load() && !c.pubsub.Load() {
		// More of the replies owed: a request outstanding just as before.
		c.busy.Store(true)
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.reads.Add(1)
		if c.busy.Load() {
			c.busy.Store(false)
		}
		if !c.ready.Load() {
			c.helloAnswered(p[:n])
		}
	}
	if err == nil {
		return n, nil
	}
	if isTimeout(err) && (c.pubsub.Load() || c.probing.Load()) {
		return n, err
	}
	return n, c.fail(err, c.ready.Load() && c.used.Load() && !c.probing.Load())
}

// fail ends the connection with its first error, and says what the request in flight comes to.
func (c *conn) fail(cause error, sent bool) error {
	err := c.hide(commandError(c.db.name, sent, cause), sent)
	c.busy.Store(false)
	if !c.failed.CompareAndSwap(nil, &connFailure{err}) {
		return c.failed.Load().err
	}
	if !c.local.Load() && !isTimeout(cause) {
		// Timeouts are left to the hook, which knows the caller's deadline.
		c.hook.evidence(c.db, err)
	}
	return err
}

// notSent is the error for a request on a connection that has failed before: whatever failed then, this one was not sent.
func (f *connFailure) notSent(c *conn) error {
	var failed *CommandError
	if errors.As(f.err, &failed) {
		return commandError(c.db.name, false, failed.Err)
	}
	return f.err
}

// Close is called by the pool, by PubSub, or by whoever dialed.
func (c *conn) Close() error {
	c.local.Store(true)
	c.db.forget(c)
	return c.Conn.Close()
}

// cut ends the connection from our side; a read that is blocked wakes up.
func (c *conn) cut() {
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
	switch string(name) {
	case "subscribe", "psubscribe", "ssubscribe", "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE":
		return true
	}
	return false
}

// deadConn stands in for a connection that could not be dialed. If DialHook returned the error, go-redis' pool would
// sleep 100 ms and dial again, five times, and after PoolSize such errors answer with a stale one for up to a second;
// this way the error surfaces in the handshake, at once.
type deadConn struct{ err error }

func (d deadConn) Read([]byte) (int, error)              { return 0, d.err }
func (d deadConn) Write([]byte) (int, error)             { return 0, d.err }
func (d deadConn) Close() error                          { return nil }
func (d deadConn) LocalAddr() net.Addr                   { return &net.TCPAddr{} }
func (d deadConn) RemoteAddr() net.Addr                  { return &net.TCPAddr{} }
func (d deadConn) SetDeadline(time.Time) error           { return nil }
func (d deadConn) SetReadDeadline(time.Time) error       { return nil }
func (d deadConn) SetWriteDeadline(time.Time) error      { return nil }
func (d deadConn) SyscallConn() (syscall.RawConn, error) { return nil, d.err }
