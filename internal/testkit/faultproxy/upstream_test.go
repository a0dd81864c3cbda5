package faultproxy

import (
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// through returns both ends of a connection through a proxy to a server that the test plays itself.
func through(t *testing.T) (p *Proxy, client, server *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	p = Start(t, ln.Addr().String())
	conn, err := net.Dial("tcp", p.Addr())
	require.NoError(t, err)
	peer, err := ln.Accept()
	require.NoError(t, err)
	for _, c := range []net.Conn{conn, peer} {
		require.NoError(t, c.SetDeadline(time.Now().Add(30*time.Second)))
		t.Cleanup(func() { _ = c.Close() })
	}
	return p, conn.(*net.TCPConn), peer.(*net.TCPConn)
}

func write(t *testing.T, c net.Conn, s string) {
	t.Helper()
	_, err := c.Write([]byte(s))
	require.NoError(t, err)
}

func read(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	_, err := io.ReadFull(c, got)
	require.NoError(t, err)
	require.Equal(t, want, string(got))
}

func TestHalfAReplyIsPassedOnWhenTheServerEnds(t *testing.T) {
	t.Parallel()
	p, client, server := through(t)
	write(t, client, "GET k\r\n")
	read(t, server, "GET k\r\n")
	write(t, server, "$10\r\nhalf")
	require.NoError(t, server.Close())
	got, err := io.ReadAll(client)
	require.NoError(t, err)
	assert.Equal(t, "$10\r\nhalf", string(got))

	require.Eventually(t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.conns) == 0
	}, 30*time.Second, time.Millisecond, "the proxy keeps nothing of it")
}

func TestServersResetIsPassedOn(t *testing.T) {
	t.Parallel()
	_, client, server := through(t)
	abort(server)
	_, err := client.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

func TestWhatIsNotRESPIsPassedOnEitherWay(t *testing.T) {
	t.Parallel()
	p, client, server := through(t)
	write(t, client, "PING\r\n*1\r\n:1\r\nrest")
	read(t, server, "PING\r\n*1\r\n:1\r\nrest")
	write(t, client, "more")
	read(t, server, "more")
	write(t, server, "+PONG\r\n?\r\nrest")
	read(t, client, "+PONG\r\n?\r\nrest")
	write(t, server, "more")
	read(t, client, "more")
	assert.EqualValues(t, 1, p.Stats().Garbled)
	require.NoError(t, client.CloseWrite())
	_, err := server.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, server.Close())
	_, err = client.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}

func TestServerWaitsForAClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	_, _, server := through(t)
	const much = 256 << 20
	var sent atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		line := []byte("+" + strings.Repeat("x", 64<<10) + "\r\n")
		for sent.Load() < much {
			n, err := server.Write(line)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	last, same := int64(0), 0
	require.Eventually(t, func() bool {
		now := sent.Load()
		if same++; now != last {
			last, same = now, 0
		}
		return last > maxQueued && same >= 5
	}, 30*time.Second, 100*time.Millisecond)
	assert.Less(t, last, int64(much), "the proxy takes everything")
	require.NoError(t, server.Close())
	<-done
}

func TestConnectionAcceptedWhileTheListenerClosesIsReset(t *testing.T) {
	t.Parallel()
	p := Start(t, "127.0.0.1:1")
	p.mu.Lock()
	closing := p.listener
	p.mu.Unlock()
	p.Refuse()

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	defer client.Close()
	accepted, err := ln.Accept()
	require.NoError(t, err)
	p.accept(closing, accepted)
	_, err = client.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET)
	assert.Zero(t, p.Stats().Accepted)
}
