package goredis

import (
	"errors"
	"net"
	"os"
)

// IsTimeout reports whether an error of a connection is the end of a deadline.
func IsTimeout(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
