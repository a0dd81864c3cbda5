package conn

import (
	"bytes"
	"io"
	"net"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/redishook/multidb/internal/resp"
)

// piecesConn gives what was read from it in pieces, and then an end.
type piecesConn struct {
	net.Conn
	pieces [][]byte
}

func (c *piecesConn) Read(p []byte) (int, error) {
	if len(c.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.pieces[0])
	if c.pieces[0] = c.pieces[0][n:]; len(c.pieces[0]) == 0 {
		c.pieces = c.pieces[1:]
	}
	return n, nil
}

// TestAPushIsHandedOutWholeOrNotAtAll: a stream is cut anywhere, and comes in pieces of any size. A reader gets all bytes but those of a
// push that has not arrived whole.
func TestAPushIsHandedOutWholeOrNotAtAll(t *testing.T) {
	parts := []string{"+OK\r\n", "$5\r\nhello\r\n", ">2\r\n+invalidate\r\n*2\r\n$1\r\nk\r\n$3\r\nkey\r\n", ">1\r\n+x\r\n", "*2\r\n:1\r\n*1\r\n_\r\n", "|1\r\n+a\r\n+b\r\n:7\r\n"}
	rapid.Check(t, func(t *rapid.T) {
		var stream []byte
		for _, part := range rapid.SliceOfN(rapid.SampledFrom(parts), 1, 12).Draw(t, "stream") {
			stream = append(stream, part...)
		}
		stream = stream[:rapid.IntRange(1, len(stream)).Draw(t, "end")]
		want := stream
		var framer resp.Replies
		for rest := stream; len(rest) > 0; {
			n, kind := framer.Next(rest)
			if kind == 0 && rest[0] == resp.Push {
				want = stream[:len(stream)-len(rest)]
			}
			rest = rest[n:]
		}
		nc := &piecesConn{}
		for rest := bytes.Clone(stream); len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "piece")
			nc.pieces = append(nc.pieces, rest[:n])
			rest = rest[n:]
		}
		s := NewSet(Config{Options: &redis.Options{}}, &owner{})
		c, _ := newConn(s, nc, NewClient())
		c.greeting.Store(false)
		c.ready.Store(true)
		var got []byte
		for err := error(nil); err == nil; {
			p := make([]byte, rapid.IntRange(1, 40).Draw(t, "room"))
			var n int
			n, err = c.Read(p)
			require.True(t, n > 0 || err != nil, "a read of nothing")
			got = append(got, p[:n]...)
		}
		require.Equal(t, string(want), string(got))
	})
}
