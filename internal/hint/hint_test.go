package hint_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/hint"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

type silence struct{ error }

func (silence) NoAnswer() {}

func TestHints(t *testing.T) {
	other := errors.New("some other error")
	for _, c := range []struct {
		name   string
		err    error
		anyTLS bool
		says   string
	}{
		{"TLS to a plain port that answers", tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, true, "write redis:// in place of rediss://"},
		{"TLS to a plain port that is silent", silence{other}, true, "write redis:// in place of rediss://"},
		{"silence without TLS", silence{other}, false, ""},
		{"plain to a port of TLS", io.EOF, false, "write rediss:// in place of redis://"},
		{"plain to a port of TLS, reset", &net.OpError{Op: "read", Err: syscall.ECONNRESET}, false, "write rediss:// in place of redis://"},
		{"another error", other, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := hint.To(fmt.Errorf("east: %w", c.err), c.anyTLS)
			require.ErrorIs(t, err, c.err)
			require.Contains(t, err.Error(), "east: "+c.err.Error())
			if c.says == "" {
				require.NotContains(t, err.Error(), "(")
			}
			require.Contains(t, err.Error(), c.says)
		})
	}
}

// The password is that of the client, and the databases have none: a real server says NOAUTH, and the hint says whose it is.
func TestHintAtWhosePasswordIsUsed(t *testing.T) {
	server := redistest.Start(t, redistest.Password("secret"))
	stranger := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer stranger.Close()
	err := hint.To(stranger.Ping(t.Context()).Err(), false)
	require.ErrorContains(t, err, "NOAUTH")
	require.ErrorContains(t, err, "those of the client are not used")
}
