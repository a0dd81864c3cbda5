package conn

import (
	"net"
	"syscall"
	"time"

	"github.com/redishook/multidb/internal/goredis"
)

// Before go-redis' pool hands out an idle connection it clears its deadline (SetDeadline) and, if the connection is a
// syscall.Conn, peeks at the socket for an error or unexpected data (internal/pool/conn_check.go). An error out of
// SyscallConn makes it drop the connection and take the next one or dial: this is how the connections of an old database
// leave the pool after a switch without anybody having failed on them. Nothing but speed hangs on that: a connection that
// holds nothing and is handed out all the same refuses its next request.
//
// go-redis also peeks to learn whether pushes have arrived.

// poolChecks says that go-redis' pool looks at idle connections here. On Windows it does not.
const poolChecks = peeks && !poolCheckHidden

// retired reports whether the pool must drop the connection. One that it may hand out is not stale, even if its database
// was not the active one a moment ago.
func (c *Conn) retired() bool {
	if c.failed.Load() != nil || c.refused.Load() != nil || c.closing.Load() || !c.current() {
		return true
	}
	if c.stale.Load() {
		c.stale.Store(false)
	}
	return false
}

// tcpConn is a Conn over plain TCP or a Unix socket: the peek goes to the socket.
type tcpConn struct{ *Conn }

// SyscallConn returns the socket, or an error if the connection is of no use any more.
func (c tcpConn) SyscallConn() (syscall.RawConn, error) {
	if c.retired() {
		return nil, errNotActive
	}
	return c.Conn.Conn.(syscall.Conn).SyscallConn()
}

// tlsConn is a Conn over TLS, or over something else that is no socket. A peek at the socket below TLS would see records:
// an end of the connection or a push would look the same as a session ticket. So this connection reads ahead itself what is there,
// and answers the peek by what it has got.
//
// go-redis asks from the side that reads, so nothing here is shared with a reader.
type tlsConn struct {
	*Conn
	ahead []byte  // read, and not handed out
	full  bool    // the last read has filled its buffer: TLS may hold more of that record
	peer  *socket // below TLS; nil until it is looked for
	blind bool    // there is none
}

// Read hands out what was read ahead first.
func (c *tlsConn) Read(p []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p)
	c.full = n == len(p)
	return n, err
}

// SyscallConn returns what answers a peek, or an error if the connection is of no use any more.
func (c *tlsConn) SyscallConn() (syscall.RawConn, error) {
	if c.retired() {
		return nil, errNotActive
	}
	if len(c.ahead) == 0 && (c.full || c.arrived()) {
		c.readAhead()
	}
	if f := c.over(); f != nil {
		return nil, f.cause
	}
	if len(c.ahead) > 0 {
		return somethingThere()
	}
	return nothingThere{}, nil
}

// aheadTime is how long the rest of a record may take whose beginning is there.
const aheadTime = time.Millisecond

// readAhead reads what has arrived. What ends the connection is noted as for any read.
func (c *tlsConn) readAhead() {
	_ = c.Conn.Conn.SetReadDeadline(time.Now().Add(aheadTime))
	buf := make([]byte, 512)
	n, err := c.Conn.Conn.Read(buf) // and not Conn.Read: that this finds nothing says nothing about what is owed
	c.full = n == len(buf)
	c.ahead = buf[:c.received(buf, n)]
	if err != nil && !goredis.IsTimeout(err) {
		c.end(&c.failed, &connFailure{cause: err})
	}
	_ = c.Conn.Conn.SetReadDeadline(time.Time{}) // go-redis has cleared it before it asks
}

// arrived reports whether there are bytes, or the end, at the socket below TLS.
func (c *tlsConn) arrived() bool {
	if c.peer == nil && !c.blind {
		raw, ok := below(c.Conn.Conn).(syscall.Conn)
		if ok {
			c.peer = newSocket(raw)
		}
		c.blind = c.peer == nil
	}
	return c.peer != nil && c.peer.arrived()
}

func below(nc net.Conn) net.Conn {
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok {
		return t.NetConn()
	}
	return nil
}
