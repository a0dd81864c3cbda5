package conn

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// owner is one whose database is in use until it is left.
type owner struct{ left atomic.Bool }

func (o *owner) Open() (here, somewhere bool)                 { return !o.left.Load(), true }
func (*owner) Outstanding()                                   {}
func (*owner) LateRequest()                                   {}
func (*owner) Replied(time.Duration)                          {}
func (*owner) Suspect(error)                                  {}
func (*owner) IndexConflict(int, string)                      {}
func (*owner) WatchConnect(string, func() bool) (stop func()) { return func() {} }

func (*owner) Fail(_ string, sent bool, cause error) error { return failure{sent, cause} }

// failure is what owner.Fail makes.
type failure struct {
	sent bool
	error
}

func (f failure) Unwrap() error { return f.error }

// sent reports whether an error says that a request was sent.
func sent(t *testing.T, err error) bool {
	t.Helper()
	var f failure
	require.ErrorAs(t, err, &f)
	return f.sent
}

// server is the other side of a connection. It answers each request with what answer says.
type server struct {
	mu     sync.Mutex
	got    []string
	answer func(args []string) string
}

func (s *server) serve(nc net.Conn) {
	rd := bufio.NewReader(nc)
	for {
		line, err := rd.ReadString('\n')
		if err != nil {
			return
		}
		var n int
		_, _ = fmt.Sscanf(line, "*%d", &n)
		args := make([]string, n)
		for i := range args {
			_, _ = rd.ReadString('\n')
			arg, _ := rd.ReadString('\n')
			args[i] = strings.ToLower(strings.TrimSpace(arg))
		}
		s.mu.Lock()
		s.got = append(s.got, strings.Join(args, " "))
		s.mu.Unlock()
		if _, err := io.WriteString(nc, s.answer(args)); err != nil {
			return
		}
	}
}

func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.got...)
}

const helloReply = "%3\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:4711\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"

// standard answers as a server does.
func standard(args []string) string {
	switch args[0] {
	case "hello":
		return helloReply
	case "get":
		return "$1\r\nv\r\n"
	}
	return "+OK\r\n"
}

// dialed is a connection to a server of its own.
func dialed(t *testing.T, opt redis.Options, answer func([]string) string) (*Conn, *server, *owner) {
	s := &server{answer: answer}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer nc.Close(); s.serve(nc) })
		}
	})
	o := &owner{}
	opt.Dialer = func(context.Context, string, string) (net.Conn, error) { return net.Dial("tcp", ln.Addr().String()) }
	set := NewSet(Config{Options: &opt, NoDatabase: errors.New("none")}, o)
	nc, err := set.Dial(t.Context(), &Term{Number: 1, Ctx: t.Context()}, NewClient(), Place{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close(); _ = ln.Close(); wg.Wait() })
	switch nc := nc.(type) {
	case tcpConn:
		return nc.Conn, s, o
	default:
		return nc.(*Conn), s, o
	}
}

// read reads one piece.
func read(c *Conn) (string, error) {
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	return string(buf[:n]), err
}

// greet runs the handshake of a client.
func greet(t *testing.T, c *Conn) {
	t.Helper()
	_, err := c.Write(words("hello 3"))
	require.NoError(t, err)
	reply, err := read(c)
	require.NoError(t, err)
	require.Equal(t, helloReply, reply)
}

// ask writes a request and returns what is read.
func ask(t *testing.T, c *Conn, line string) (string, error) {
	t.Helper()
	p := words(line)
	n, err := c.Write(p)
	require.NoError(t, err, "a write never fails")
	require.Len(t, p, n)
	return read(c)
}
