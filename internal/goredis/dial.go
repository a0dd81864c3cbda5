package goredis

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"reflect"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// DeadConn stands in for a connection that could not be dialed. If DialHook returned the error, go-redis' pool would
// sleep 100 ms and dial again, five times, and after PoolSize such errors answer with a stale one for up to a second;
// this way the error surfaces in the handshake, at once.
type DeadConn struct{ Err error }

func (d DeadConn) Read([]byte) (int, error)  { return 0, d.Err }
func (d DeadConn) Write([]byte) (int, error) { return 0, d.Err }

// Close does nothing.
func (d DeadConn) Close() error { return nil }

// LocalAddr is an address that no connection has.
func (d DeadConn) LocalAddr() net.Addr { return &net.TCPAddr{} }

// RemoteAddr is an address that no connection has.
func (d DeadConn) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// SetDeadline does nothing.
func (d DeadConn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (d DeadConn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (d DeadConn) SetWriteDeadline(time.Time) error { return nil }

// SyscallConn fails with the reason of the dial: there is no socket.
func (d DeadConn) SyscallConn() (syscall.RawConn, error) { return nil, d.Err }

// UnreachedConn is the DeadConn of a client's own pool. It makes its error when it is used, because whether go-redis may run
// anything again depends on who uses it: see Handshake.
type UnreachedConn struct {
	DeadConn
	Late func() error // makes the error
}

func (d UnreachedConn) Read([]byte) (int, error)  { return 0, Handshake(d.Late()) }
func (d UnreachedConn) Write([]byte) (int, error) { return 0, Handshake(d.Late()) }

// TLSDialer returns a dialer over TLS that ends with its context, or the user's own. go-redis' default does not end
// (tls.DialWithDialer takes no context): a dial to a server that has stopped would go on for all of DialTimeout after the
// switch, with its place in the client's pool.
func TLSDialer(own Dialer, config *tls.Config) Dialer {
	if config == nil || own != nil && !isDefaultDialer(own) {
		return own
	}
	d := tls.Dialer{
		// KeepAliveConfig is what go-redis gives its dialers. Its DialTimeout is in the context.
		NetDialer: &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 5 * time.Second, Count: 3}},
		Config:    config,
	}
	return d.DialContext
}

// Dialer is the type of redis.Options.Dialer.
type Dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// isDefaultDialer reports whether a dialer is the one that go-redis makes itself, which the options of a ready client hold.
// Its address proves nothing: the function that makes it is inlined, and each place has a copy of the code. Each copy is of
// the same line.
func isDefaultDialer(d Dialer) bool { return sourceOf(d) == defaultDialer() }

var defaultDialer = sync.OnceValue(func() source { return sourceOf(redis.NewDialer(&redis.Options{})) })

// source is where a function is written.
type source struct {
	file string
	line int
}

func sourceOf(d Dialer) source {
	pc := reflect.ValueOf(d).Pointer()
	file, line := runtime.FuncForPC(pc).FileLine(pc)
	return source{file, line}
}

// SentinelAddr is what go-redis gives as the address of a client that asks Sentinel for its master.
const SentinelAddr = "FailoverClient"

// WithoutReply makes the error of a dial one that holds no reply of a server. A dial by way of Sentinel fails with what a
// sentinel replied (an unknown command, NOAUTH), which would be taken for an answer of the database itself.
func WithoutReply(err error) error {
	if err != nil && IsReply(err) {
		return errors.New(err.Error())
	}
	return err
}
