package resp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/stretchr/testify/require"
)

// frame is one reply: its type byte and how many bytes it takes.
type frame struct {
	kind byte
	size int
}

// framesOf frames a stream that is cut at the given places.
func framesOf(stream []byte, cut func() int) (frames []frame, lost bool) {
	var r Replies
	size := 0
	for len(stream) > 0 {
		piece := stream[:max(1, min(cut(), len(stream)))]
		stream = stream[len(piece):]
		for len(piece) > 0 {
			n, kind := r.Next(piece)
			if r.Lost() {
				return frames, true
			}
			size += n
			piece = piece[n:]
			if kind != 0 {
				frames = append(frames, frame{kind, size})
				size = 0
			}
		}
	}
	return frames, false
}

// cannedConn answers the handshake of go-redis with an error, and everything after it with one stream.
type cannedConn struct {
	hello  io.Reader
	stream io.Reader
}

func (c *cannedConn) Read(p []byte) (int, error) {
	if n, err := c.hello.Read(p); err == nil {
		return n, nil
	}
	return c.stream.Read(p)
}

func (c *cannedConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *cannedConn) Close() error                     { return nil }
func (c *cannedConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *cannedConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *cannedConn) SetDeadline(time.Time) error      { return nil }
func (c *cannedConn) SetReadDeadline(time.Time) error  { return nil }
func (c *cannedConn) SetWriteDeadline(time.Time) error { return nil }

// framesOfGoRedis lets go-redis read the stream: it streams each raw reply to a writer. With RESP2 it takes a push for a
// reply like any other, so that each frame is seen.
func framesOfGoRedis(stream []byte) (frames []frame) {
	rdb := redis.NewClient(&redis.Options{
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			return &cannedConn{strings.NewReader("-ERR unknown command\r\n"), bytes.NewReader(stream)}, nil
		},
		Protocol: 2, DisableIdentity: true, MaxRetries: -1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	defer rdb.Close()
	conn := rdb.Conn()
	defer conn.Close()
	for {
		var raw bytes.Buffer
		if conn.Process(context.Background(), redis.NewRawWriteToCmd(context.Background(), &raw, "any")) != nil {
			return frames
		}
		frames = append(frames, frame{kindOf(raw.Bytes()), raw.Len()})
	}
}

// kindOf is the type of a raw reply behind its attributes.
func kindOf(raw []byte) byte {
	for raw[0] == '|' {
		raw = raw[attributeLen(raw):]
	}
	return raw[0]
}

// attributeLen is the length of the attribute that raw begins with: that of a map of the same content.
func attributeLen(raw []byte) int {
	m := append([]byte{'%'}, raw[1:]...)
	var r Replies
	n, _ := r.Next(m)
	return n
}

// randomReply appends a reply of random type and depth.
func randomReply(b *bytes.Buffer, rnd *rand.Rand, depth int) {
	kinds := "+-:$_,#(=!*~%>|"
	if depth > 4 {
		kinds = kinds[:10]
	}
	text := strings.Repeat("x\r\n$9", rnd.IntN(4))
	switch kind := kinds[rnd.IntN(len(kinds))]; kind {
	case '+', '-':
		fmt.Fprintf(b, "%c%s\r\n", kind, []string{"", "OK", "ERR a\rb", "PONG"}[rnd.IntN(4)])
	case ':':
		fmt.Fprintf(b, ":%d\r\n", rnd.Int64()-rnd.Int64())
	case '_':
		b.WriteString("_\r\n")
	case ',':
		b.WriteString([]string{",1.5\r\n", ",inf\r\n", ",nan\r\n"}[rnd.IntN(3)])
	case '#':
		b.WriteString([]string{"#t\r\n", "#f\r\n"}[rnd.IntN(2)])
	case '(':
		b.WriteString("(3492890328409238509324850943850943825024385\r\n")
	case '$', '=', '!':
		if rnd.IntN(6) == 0 {
			fmt.Fprintf(b, "%c-1\r\n", kind)
			return
		}
		fmt.Fprintf(b, "%c%d\r\n%s\r\n", kind, len(text)+4, "txt:"+text)
	case '*', '~', '>':
		if rnd.IntN(8) == 0 {
			fmt.Fprintf(b, "%c-1\r\n", kind)
			return
		}
		n := rnd.IntN(4)
		fmt.Fprintf(b, "%c%d\r\n", kind, n)
		for range n {
			randomReply(b, rnd, depth+1)
		}
	case '%', '|':
		n := rnd.IntN(3)
		fmt.Fprintf(b, "%c%d\r\n", kind, n)
		for range 2 * n {
			randomReply(b, rnd, depth+1)
		}
		if kind == '|' {
			randomReply(b, rnd, depth+1)
		}
	}
}

func TestRepliesAreFramedAsGoRedisReadsThem(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var b bytes.Buffer
		for range 1 + rnd.IntN(20) {
			randomReply(&b, rnd, 0)
		}
		want := framesOfGoRedis(b.Bytes())
		require.NotEmpty(t, want)
		for _, most := range []int{1, 2, 7, 1 << 20} {
			got, lost := framesOf(b.Bytes(), func() int { return 1 + rnd.IntN(most) })
			require.False(t, lost, "%q", b.Bytes())
			require.Equal(t, want, got, "seed %d, pieces of up to %d: %q", seed, most, b.Bytes())
		}
	}
}

// FuzzReplies: for any stream and any cuts, the replies that go-redis reads, of the same types, end at the same bytes.
func FuzzReplies(f *testing.F) {
	for _, s := range []string{
		"+OK\r\n-ERR x\r\n:1\r\n$5\r\nhello\r\n$-1\r\n*-1\r\n*0\r\n*2\r\n$1\r\na\r\n:2\r\n",
		">3\r\n$7\r\nmessage\r\n+a\r\n$1\r\nb\r\n%1\r\n+k\r\n*1\r\n_\r\n~2\r\n#t\r\n,1.5\r\n(12\r\n=5\r\ntxt:a\r\n!3\r\nERR\r\n",
		"|1\r\n+ttl\r\n:3\r\n*2\r\n|1\r\n+a\r\n+b\r\n:1\r\n:2\r\n",
		"*1\r\n*1\r\n*1\r\n*2\r\n$-1\r\n*-1\r\n", "$?\r\n;4\r\nHell\r\n;0\r\n", "*?\r\n:1\r\n.\r\n", "+\n", "#\n\r\n0", "\r\n", "$+3\r\nabc\r\n",
	} {
		f.Add([]byte(s), uint64(3))
	}
	f.Fuzz(func(t *testing.T, stream []byte, cuts uint64) {
		if digits(stream) > 9 {
			t.Skip("counts that no server sends")
		}
		rnd := rand.New(rand.NewPCG(cuts, 0))
		most := 1 + int(cuts%16)
		want := framesOfGoRedis(stream)
		got, _ := framesOf(stream, func() int { return 1 + rnd.IntN(most) })
		if len(want) == 0 && len(got) == 0 {
			return
		}
		require.Equal(t, want, got, "%q", stream)
	})
}

// digits is the length of the longest number in the stream.
func digits(stream []byte) (longest int) {
	n := 0
	for _, b := range stream {
		if n++; b-'0' > 9 {
			n = 0
		}
		longest = max(longest, n)
	}
	return longest
}

func TestPushesAreNamed(t *testing.T) {
	stream := ">3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n" + ">2\r\n+invalidate\r\n_\r\n" + ">1\r\n$20\r\nabcdefghijklmnopqrst\r\n" +
		">3\r\n$12\r\npunsubscribe\r\n$-1\r\n:0\r\n" + "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n" + ">0\r\n" + ">1\r\n$-1\r\n" +
		">1\r\n*1\r\n$1\r\na\r\n" + ">1\r\n+abcdefghijklmnop\r\n"
	for cut := 1; cut < 40; cut++ {
		var names []string
		var numbers []int64
		r := Replies{}
		r.NameArrays()
		for rest := []byte(stream); len(rest) > 0; {
			piece := rest[:min(cut, len(rest))]
			rest = rest[len(piece):]
			for len(piece) > 0 {
				n, kind := r.Next(piece)
				if piece = piece[n:]; kind != 0 {
					names, numbers = append(names, string(r.Name())), append(numbers, r.Number())
				}
			}
		}
		require.Equal(t, []string{"subscribe", "invalidate", "", "punsubscribe", "message", "", "", "", ""}, names, "pieces of %d", cut)
		require.Equal(t, []int64{1, 0, 0, 0, 0, 0, 0, 0, 0}, numbers)
		require.True(t, r.Idle())
	}
}

func BenchmarkReplies(b *testing.B) {
	large := []byte("$1048576\r\n" + strings.Repeat("x", 1<<20) + "\r\n")
	array := []byte("*10000\r\n" + strings.Repeat("$8\r\nabcdefgh\r\n", 10000))
	numbers := []byte("*10000\r\n" + strings.Repeat(":123456\r\n", 10000))
	for name, stream := range map[string][]byte{"status": []byte("+OK\r\n"), "bulk": []byte("$5\r\nhello\r\n"),
		"1MB": large, "array": array, "numbers": numbers} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(stream)))
			b.ReportAllocs()
			var r Replies
			for b.Loop() {
				for rest := stream; len(rest) > 0; {
					piece := rest[:min(len(rest), 32<<10)]
					rest = rest[len(piece):]
					for len(piece) > 0 {
						n, _ := r.Next(piece)
						piece = piece[n:]
					}
				}
			}
		})
	}
}
