// Package hint adds to an error of the start what it is mostly due to.
package hint

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// To adds a hint to an error of New, if there is one for it; anyTLS is that some database is reached by TLS.
func To(err error, anyTLS bool) error {
	var noTLS tls.RecordHeaderError
	var silence interface{ NoAnswer() }
	switch {
	case errors.As(err, &noTLS), anyTLS && errors.As(err, &silence):
		// A redis-server waits for the end of the line that the first bytes of TLS are to it.
		return fmt.Errorf("%w (a server that speaks no TLS there does not answer: write redis:// in place of rediss://, or the port of its TLS)", err)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("%w (a server that wants TLS ends connections like this: write rediss:// in place of redis:// if it does)", err)
	case redis.IsAuthError(err):
		return fmt.Errorf("%w (each database logs in with the user and password of its own URL or Options: those of the client are not used)", err)
	}
	return err
}
