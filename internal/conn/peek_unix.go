//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd || solaris || illumos

package conn

import (
	"sync"
	"syscall"
)

// The systems on which go-redis' pool peeks at idle connections: the constraint is that of its conn_check.go.
const peeks = true

// socket peeks at a socket. It has room for one peek, so that a peek allocates nothing.
type socket struct {
	raw  syscall.RawConn
	peek func(fd uintptr) bool
	some bool
}

func newSocket(c syscall.Conn) *socket {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	s := &socket{raw: raw}
	s.peek = func(fd uintptr) bool {
		var buf [1]byte
		n, _, err := syscall.Recvfrom(int(fd), buf[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		s.some = n > 0 || err == nil || err != syscall.EAGAIN && err != syscall.EWOULDBLOCK && err != syscall.EINTR
		return true
	}
	return s
}

// arrived reports whether a read would not wait: there is data, or the end of it.
func (s *socket) arrived() bool {
	s.some = true
	return s.raw.Read(s.peek) != nil || s.some
}

// somethingThere returns a socket with something to read, as far as a peek can tell. A peek asks the system about a
// descriptor, so there is one: half of a pair whose other half has written a byte that nobody ever reads. It is made once.
func somethingThere() (syscall.RawConn, error) {
	if fd := readable(); fd >= 0 {
		return readableSocket(fd), nil
	}
	return nothingThere{}, nil // out of descriptors; what was read ahead is handed out by the next read all the same
}

var readable = sync.OnceValue(func() int {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return -1
	}
	syscall.CloseOnExec(fds[0])
	syscall.CloseOnExec(fds[1])
	if _, err := syscall.Write(fds[1], []byte{0}); err != nil {
		return -1
	}
	return fds[0]
})

type readableSocket int

func (s readableSocket) Control(f func(uintptr)) error   { f(uintptr(s)); return nil }
func (s readableSocket) Read(f func(uintptr) bool) error { f(uintptr(s)); return nil }
func (readableSocket) Write(func(uintptr) bool) error    { return nil }
