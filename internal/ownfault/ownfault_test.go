package ownfault

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
)

func TestOwnFaults(t *testing.T) {
	dial := func(err error) error {
		return fmt.Errorf("outer: %w", &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", err)})
	}
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.ENOBUFS, syscall.ENOMEM} {
		if !Is(dial(errno)) {
			t.Errorf("%v is the database's", errno)
		}
	}
	for _, err := range []error{
		nil, io.EOF, context.DeadlineExceeded, dial(syscall.ECONNREFUSED), dial(syscall.ECONNRESET), dial(syscall.ETIMEDOUT),
		dial(syscall.EHOSTUNREACH), dial(syscall.EAGAIN), &net.DNSError{Err: "no such host"},
	} {
		if Is(err) {
			t.Errorf("%v is our own", err)
		}
	}
}
