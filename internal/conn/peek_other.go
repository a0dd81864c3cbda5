//go:build !linux && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd && !solaris && !illumos

package conn

import "syscall"

// go-redis' pool does not peek here.
const peeks = false

type socket struct{}

func newSocket(syscall.Conn) *socket { return nil }

func (*socket) arrived() bool { return false }

func somethingThere() (syscall.RawConn, error) { return nothingThere{}, nil }
