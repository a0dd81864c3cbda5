package memnet

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// Conn is one end of a connection. Safe for concurrent use.
type Conn struct {
	local, remote address
	in, out       *stream
	abort         atomic.Bool // SetLinger(0)
}

// pair makes a connection.
func pair(client, server address) (*Conn, *Conn) {
	up, down := newStream(), newStream()
	return &Conn{local: client, remote: server, in: down, out: up}, &Conn{local: server, remote: client, in: up, out: down}
}

// Read reads what the other end has written.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.in.read(b)
	return n, c.wrap("read", err)
}

// Write writes to the other end. It waits while much is there that was not read.
func (c *Conn) Write(b []byte) (int, error) {
	n, err := c.out.write(b)
	return n, c.wrap("write", err)
}

// Close ends the connection: the other end reads what was written, and then io.EOF. After SetLinger(0) it reads
// ECONNRESET at once instead.
func (c *Conn) Close() error {
	if c.abort.Load() {
		c.in.reset()
		c.out.reset()
	}
	first := c.in.stopReading()
	c.out.stopWriting(true)
	if !first {
		return c.wrap("close", net.ErrClosed)
	}
	return nil
}

// CloseWrite tells the other end that nothing more comes.
func (c *Conn) CloseWrite() error {
	c.out.stopWriting(false)
	return nil
}

// SetLinger makes Close reset the connection if sec is 0, as that of net.TCPConn does.
func (c *Conn) SetLinger(sec int) error {
	c.abort.Store(sec == 0)
	return nil
}

// LocalAddr returns the address of this end.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the address of the other end.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *Conn) SetDeadline(t time.Time) error {
	c.in.reading.set(t)
	c.out.writing.set(t)
	return nil
}

// SetReadDeadline ends reads at t, those that wait now included. The zero time is never.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.reading.set(t)
	return nil
}

// SetWriteDeadline ends writes at t, those that wait now included. The zero time is never.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.out.writing.set(t)
	return nil
}

// wrap makes the error of a stream look like that of a TCP connection.
func (c *Conn) wrap(op string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return opError(op, c.local, c.remote, errno)
	}
	return &net.OpError{Op: op, Net: c.local.Network(), Source: c.local, Addr: c.remote, Err: err}
}
