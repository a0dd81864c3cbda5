// Package ownfault tells an error that this process or its kernel has met from one that a database is to blame for.
package ownfault

import (
	"errors"
	"syscall"
)

// own are the errors of a socket call that say nothing about the other side: no packet has left. EAGAIN is not among them: for a
// Unix socket it says that the queue of the server is full.
var own = []error{
	syscall.EMFILE,        // this process has no descriptor left
	syscall.ENFILE,        // this machine has none
	syscall.EADDRNOTAVAIL, // no local port is left
	syscall.ENOBUFS,       // no memory for sockets
	syscall.ENOMEM,        // no memory
}

// Is reports whether err is one of them.
func Is(err error) bool {
	for _, errno := range own {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
