// Package fakeserver has servers for tests that need what no real server does: answers of the test's own making, over the
// network (Server) or without one (Instant).
package fakeserver

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Reply answers one request that came over c: with raw bytes of RESP, or with ok = false, which closes the connection
// instead. It is called from one goroutine per connection.
type Reply func(c net.Conn, args []string) (answer string, ok bool)

// Server answers each request as its Reply says, and remembers what it was asked. Safe for concurrent use.
type Server struct {
	listener net.Listener
	reply    Reply

	mu   sync.Mutex
	seen []string
	raw  []byte
}

// Listen starts a server on a free port. It listens until the end of the test.
func Listen(t testing.TB, reply Reply) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &Server{listener: l, reply: reply}
	t.Cleanup(s.Close)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s
}

// Close ends listening. Connections that exist stay.
func (s *Server) Close() { _ = s.listener.Close() }

// Addr returns the host and the port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Count returns how many requests began with prefix, in upper or lower case: "incr" or "client setinfo".
func (s *Server) Count(prefix string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range s.seen {
		if strings.HasPrefix(strings.ToLower(line), strings.ToLower(prefix)) {
			n++
		}
	}
	return n
}

// Raw returns all bytes that have come, over all connections.
func (s *Server) Raw() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.raw)
}

// tee is what the server reads from; it notes what it reads.
type tee struct {
	io.Reader
	s *Server
}

func (t tee) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	t.s.mu.Lock()
	t.s.raw = append(t.s.raw, p[:n]...)
	t.s.mu.Unlock()
	return n, err
}

func (s *Server) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(tee{c, s})
	for {
		args, err := ReadRequest(r)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.seen = append(s.seen, strings.Join(args, " "))
		s.mu.Unlock()
		answer, ok := s.reply(c, args)
		if !ok {
			return
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

// ReadRequest reads one request, an array of bulk strings.
func ReadRequest(r *bufio.Reader) ([]string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	var n int
	if _, err := fmt.Sscanf(line, "*%d", &n); err != nil {
		return nil, err
	}
	var args []string
	for range n {
		var size int
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if _, err := fmt.Sscanf(line, "$%d", &size); err != nil {
			return nil, err
		}
		buf := make([]byte, size+2)
		if _, err := io.ReadFull(r, buf); err != nil {
			return nil, err
		}
		args = append(args, string(buf[:size]))
	}
	return args, nil
}

// Hello is the answer of a server to HELLO 3.
const Hello = "%3\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n"

// Default answers what every server is asked: HELLO, PING, and OK to the rest.
func Default(args []string) string {
	switch strings.ToLower(args[0]) {
	case "hello":
		return Hello
	case "ping":
		return "+PONG\r\n"
	}
	return "+OK\r\n"
}
