package memnet

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// connect makes both ends of a connection through a network.
func connect(t *testing.T) (client, server *Conn) {
	t.Helper()
	var n Network
	l, err := n.Listen("db:6379")
	require.NoError(t, err)
	c, err := n.Dial(t.Context(), "tcp", "db:6379")
	require.NoError(t, err)
	s, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _, _, _ = c.Close(), s.Close(), l.Close() })
	return c.(*Conn), s.(*Conn)
}

func TestBytesArriveWholeAndInOrder(t *testing.T) {
	client, server := connect(t)
	sent := bytes.Repeat([]byte("0123456789"), room/5) // twice what fits
	go func() {
		_, _ = client.Write(sent)
		_ = client.CloseWrite()
	}()
	got, err := io.ReadAll(server)
	require.NoError(t, err)
	require.Equal(t, sent, got)
	_, err = server.Write([]byte("the other way is still open"))
	require.NoError(t, err)
	require.NoError(t, server.Close())
	back, err := io.ReadAll(client)
	require.NoError(t, err)
	require.Equal(t, "the other way is still open", string(back))
}

func TestDialsAreRefusedWhereNobodyListens(t *testing.T) {
	var n Network
	_, err := n.Dial(t.Context(), "tcp", "db:6379")
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.EqualError(t, err, "dial tcp db:6379: connect: connection refused")

	l, err := n.Listen("db:6379")
	require.NoError(t, err)
	_, err = n.Listen("db:6379")
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	waiting, err := n.Dial(t.Context(), "tcp", "db:6379")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = waiting.Read(make([]byte, 1))
	require.ErrorIs(t, err, syscall.ECONNRESET, "nobody has accepted it")
	_, err = n.Dial(t.Context(), "tcp", "db:6379")
	require.ErrorIs(t, err, syscall.ECONNREFUSED)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = n.Dial(ctx, "tcp", "db:6379")
	require.ErrorIs(t, err, context.Canceled)
}

func TestTheEndOfAConnection(t *testing.T) {
	t.Run("closed", func(t *testing.T) {
		client, server := connect(t)
		require.NoError(t, server.Close())
		_, err := client.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
		n, err := client.Write([]byte("lost"))
		require.NoError(t, err, "that nobody is there is learned by the next one")
		require.Equal(t, 4, n)
		_, err = client.Write([]byte("refused"))
		require.ErrorIs(t, err, syscall.EPIPE)
		_, err = server.Write([]byte("x"))
		require.ErrorIs(t, err, net.ErrClosed)
		require.ErrorIs(t, server.Close(), net.ErrClosed)
	})
	t.Run("reset", func(t *testing.T) {
		client, server := connect(t)
		_, err := server.Write([]byte("never read"))
		require.NoError(t, err)
		require.NoError(t, server.SetLinger(0))
		require.NoError(t, server.Close())
		_, err = client.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		require.EqualError(t, err, "read tcp client->db:6379: read: connection reset by peer")
		_, err = client.Write([]byte("x"))
		require.ErrorIs(t, err, syscall.ECONNRESET)
	})
	t.Run("with somebody waiting", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client, server := connect(t)
			ended := make(chan error, 2)
			go func() { _, err := client.Read(make([]byte, 1)); ended <- err }()
			go func() { _, err := client.Write(make([]byte, 2*room)); ended <- err }()
			synctest.Wait()
			require.Empty(t, ended)
			require.NoError(t, client.Close())
			require.ErrorIs(t, <-ended, net.ErrClosed)
			require.ErrorIs(t, <-ended, net.ErrClosed)
			_ = server
		})
	})
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t)
		began := time.Now()
		require.NoError(t, client.SetReadDeadline(began.Add(time.Second)))
		_, err := client.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, time.Second, time.Since(began))

		require.NoError(t, client.SetReadDeadline(time.Time{}))
		_, err = server.Write([]byte("x"))
		require.NoError(t, err)
		_, err = client.Read(make([]byte, 1))
		require.NoError(t, err, "a deadline that has passed and was lifted is over")

		require.NoError(t, client.SetDeadline(time.Now().Add(time.Hour)))
		go func() {
			time.Sleep(time.Second)
			_ = client.SetWriteDeadline(time.Unix(1, 0)) // what interrupts a write that is under way
		}()
		began = time.Now()
		n, err := client.Write(make([]byte, 2*room))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, room, n)
		require.Equal(t, time.Second, time.Since(began))
	})
}
