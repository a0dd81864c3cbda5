package fakeserver

import (
	"bytes"
	"context"
	"net"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/testkit"
)

// Instant is a connection to a server without a network: whatever is written is answered as soon as it is read. It answers
// one request at a time, and allocates nothing. The zero value is ready.
type Instant struct {
	net.Conn // nil: nothing else is called
	reply    string
}

// DialInstant connects to such a server, whatever the address.
func DialInstant(context.Context, string, string) (net.Conn, error) { return &Instant{}, nil }

// InstantOptions returns options whose connections are Instant. They bear the address given.
func InstantOptions(addr string) *redis.Options {
	return &redis.Options{
		Addr: addr, Protocol: 2, Dialer: DialInstant, DisableIdentity: true, MaintNotificationsConfig: testkit.MaintenanceOff(),
	}
}

var (
	helloRequest = []byte("\r\nhello\r\n")
	pingRequest  = []byte("\r\nping\r\n")
)

// Write takes one request.
func (c *Instant) Write(p []byte) (int, error) {
	switch {
	case bytes.Contains(p, helloRequest):
		c.reply = "*0\r\n"
	case bytes.Contains(p, pingRequest):
		c.reply = "+PONG\r\n"
	default:
		c.reply = "+OK\r\n"
	}
	return len(p), nil
}

// SyscallConn makes it look like TCP to go-redis' pool, which peeks at each idle connection before it hands it out.
func (c *Instant) SyscallConn() (syscall.RawConn, error) { return nothingToRead{}, nil }

// Read returns the answer to the last request.
func (c *Instant) Read(p []byte) (int, error) { return copy(p, c.reply), nil }

// Close does nothing.
func (*Instant) Close() error { return nil }

// SetDeadline does nothing.
func (*Instant) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (*Instant) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (*Instant) SetWriteDeadline(time.Time) error { return nil }

// RemoteAddr is an address of TCP.
func (*Instant) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// nothingToRead is a socket with nothing to read and no error, as far as a peek can tell.
type nothingToRead struct{}

func (nothingToRead) Control(func(uintptr)) error    { return nil }
func (nothingToRead) Read(func(uintptr) bool) error  { return nil }
func (nothingToRead) Write(func(uintptr) bool) error { return nil }
