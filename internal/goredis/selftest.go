package goredis

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// What keeps a command from being executed twice hangs on what go-redis' retry loop does with the errors that a connection
// gives it (noretry.go), and an application may be built with a later go-redis than the one this package was written for. So
// it is tried, once in a process, with a client whose connections answer nothing.

// errResends is why no hook is made.
var errResends = errors.New("multidb: this version of go-redis sends a request again that was sent and not answered, whatever the " +
	"hook says, so commands would be executed twice; use a version of go-redis that CHANGELOG.md names, or a later multidb")

// outcomes says of each kind of error whether go-redis leaves a request alone that was sent and ended with it.
type outcomes struct{ noRetry, noRetryNet bool }

var leavesAlone = sync.OnceValue(try)

func try() outcomes {
	late := &net.OpError{Op: "read", Net: "tcp", Err: lateError{}}
	return outcomes{
		noRetry:    timesSent(func() error { return &NoRetryError{err: lostError{}} }) == 1,
		noRetryNet: timesSent(func() error { return newNoRetryNetError(late, late) }) == 1,
	}
}

// SelfTest returns an error if this version of go-redis would run a command again that was sent and not answered. It costs a
// millisecond, once in a process. Safe for concurrent use.
func SelfTest() error {
	if !leavesAlone().noRetry {
		return errResends
	}
	return nil
}

// lostError wraps the EOF of a connection that was lost.
type lostError struct{}

func (lostError) Error() string { return "sent, not answered" }
func (lostError) Unwrap() error { return io.EOF }

// lateError is a net.Error that has timed out.
type lateError struct{}

func (lateError) Error() string   { return "no answer" }
func (lateError) Timeout() bool   { return true }
func (lateError) Temporary() bool { return true }

// timesSent returns how often go-redis, with its defaults, writes a command whose reply ends with the error.
func timesSent(fail func() error) int {
	var d mutePeer
	rdb := redis.NewClient(&redis.Options{
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			return &muteConn{mutePeer: &d, fail: fail}, nil
		},
		Protocol: 2, DisableIdentity: true, MinRetryBackoff: -1, MaxRetryBackoff: -1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	defer rdb.Close()
	_ = rdb.Incr(context.Background(), "n").Err()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sent
}

// mutePeer counts the commands that came over its connections.
type mutePeer struct {
	mu   sync.Mutex
	sent int
}

// muteConn refuses the handshake, as an old server does, which go-redis accepts, and fails the read after a command.
type muteConn struct {
	*mutePeer
	fail  func() error
	asked bool // the last request was the command; go-redis uses a connection from one goroutine at a time
}

func (c *muteConn) Write(p []byte) (int, error) {
	if c.asked = bytes.Contains(bytes.ToLower(p), []byte("incr")); c.asked {
		c.mu.Lock()
		c.sent++
		c.mu.Unlock()
	}
	return len(p), nil
}

func (c *muteConn) Read(p []byte) (int, error) {
	if c.asked {
		return 0, c.fail()
	}
	return copy(p, "-ERR unknown command\r\n"), nil
}

func (c *muteConn) Close() error                     { return nil }
func (c *muteConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *muteConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *muteConn) SetDeadline(time.Time) error      { return nil }
func (c *muteConn) SetReadDeadline(time.Time) error  { return nil }
func (c *muteConn) SetWriteDeadline(time.Time) error { return nil }
