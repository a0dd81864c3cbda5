package conn

import (
	"net"
	"syscall"

	"github.com/redishook/multidb/internal/goredis"
)

// Before go-redis' pool hands out an idle connection it clears its deadline (SetDeadline) and, if the connection is a
// syscall.Conn, peeks at the socket for an error or unexpected data (internal/pool/conn_check.go). An error out of
// SyscallConn makes it drop the connection and take the next one or dial: this is how the connections of an old database
// leave the pool after a switch without anybody having failed on them. What may answer the peek depends on the kind of
// connection, so there are three types.

// retired reports whether the pool must drop the connection. One that it may hand out is not stale, even if its database
// was not the active one a moment ago.
func (c *Conn) retired() bool {
	if c.failed.Load() != nil || !c.current() {
		return true
	}
	c.stale.Store(false)
	return false
}

// tcpConn is a conn over plain TCP or a Unix socket: the peek goes to the socket.
type tcpConn struct{ *Conn }

// SyscallConn returns the socket, or an error if the connection is of no use any more.
func (c tcpConn) SyscallConn() (syscall.RawConn, error) {
	if c.retired() {
		return nil, errNotActive
	}
	c.lookingForPushes()
	return c.Conn.Conn.(syscall.Conn).SyscallConn()
}

// tlsConn is a conn over TLS or a pipe. A *tls.Conn is no syscall.Conn, because a peek would see encrypted records
// and go-redis would try to read a reply out of them. This one is, for the sake of the drop, and answers the pool's peek
// with "nothing there", which is what go-redis assumes of TLS. The peek costs what it costs over TCP, two small
// allocations in go-redis, where TLS without the hook is not peeked at.
type tlsConn struct{ *Conn }

// SyscallConn returns what finds nothing, or an error if the connection is of no use any more. Asked outside the pool's
// check (whether pushes have arrived), it answers with the socket below TLS, where go-redis looks without us.
func (c tlsConn) SyscallConn() (syscall.RawConn, error) {
	if c.retired() {
		return nil, errNotActive
	}
	c.lookingForPushes()
	if !c.checking.Load() {
		if raw, ok := below(c.Conn.Conn).(syscall.Conn); ok {
			return raw.SyscallConn()
		}
	}
	return nothingThere{}, nil
}

// cachingTLSConn is a conn over TLS whose client caches on its side. go-redis must see that it is no syscall.Conn: it then
// looks for invalidations that TLS has decrypted but nobody has read. The pool cannot be told to drop it when it hands it
// out, so after a switch its next request is refused instead, which go-redis runs again elsewhere. What it has in its
// cache for the connection must not be answered until then: see NetConn.
type cachingTLSConn struct{ *Conn }

// NetConn returns the raw connection below TLS, or nil. After a switch it returns one that answers with an error:
// go-redis' drainer, which looks for invalidations on the idle connections of its pool and on no others, drops the
// connection then, and with it what was cached from the old database. Others who look, on behalf of a session that still
// goes on there, take the error for "no invalidation".
func (c cachingTLSConn) NetConn() net.Conn {
	if c.retired() {
		return goredis.DeadConn{Err: errNotActive}
	}
	c.lookingForPushes()
	return below(c.Conn.Conn)
}

func below(nc net.Conn) net.Conn {
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok {
		return t.NetConn()
	}
	return nil
}

// nothingThere is a socket with nothing to read and no error, as far as a peek can tell.
type nothingThere struct{}

func (nothingThere) Control(func(uintptr)) error    { return nil }
func (nothingThere) Read(func(uintptr) bool) error  { return nil }
func (nothingThere) Write(func(uintptr) bool) error { return nil }
