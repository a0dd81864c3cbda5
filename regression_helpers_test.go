package multidb

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/redistest"
)

// regressionServer is a fake RESP server: reply gets the arguments of each request and returns the raw answer; ok=false
// closes the connection instead of answering.
type regressionServer struct {
	net.Listener
	mu    sync.Mutex
	seen  []string
	raw   []byte
	reply func(c net.Conn, args []string) (answer string, ok bool)
}

func regressionListen(t *testing.T, reply func(c net.Conn, args []string) (string, bool)) *regressionServer {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &regressionServer{Listener: l, reply: reply}
	t.Cleanup(func() { _ = l.Close() })
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

type tee struct {
	io.Reader
	s *regressionServer
}

func (t tee) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	t.s.mu.Lock()
	t.s.raw = append(t.s.raw, p[:n]...)
	t.s.mu.Unlock()
	return n, err
}

func (s *regressionServer) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(tee{c, s})
	for {
		args, err := regressionRead(r)
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

func (s *regressionServer) count(prefix string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range s.seen {
		if strings.HasPrefix(strings.ToLower(line), strings.ToLower(prefix)) {
			n++
		}
	}
	return n
}

func (s *regressionServer) addr() string { return s.Addr().String() }

func regressionRead(r *bufio.Reader) ([]string, error) {
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

const regressionHello = "%3\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n"

// regressionDefault answers what every fake server is asked.
func regressionDefault(args []string) string {
	switch strings.ToLower(args[0]) {
	case "hello":
		return regressionHello
	case "ping":
		return "+PONG\r\n"
	}
	return "+OK\r\n"
}

func regressionHook(t *testing.T, opt Options) *Hook {
	t.Helper()
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	h, err := New(t.Context(), opt)
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func regressionPair(t *testing.T) (*redistest.Redis, *redistest.Redis) {
	return redistest.Start(t), redistest.Start(t)
}

func regressionURLs(east, west string) []Database {
	return []Database{
		{Name: "east", URL: "redis://" + east},
		{Name: "west", Weight: 0.5, URL: "redis://" + west},
	}
}

func regressionEventually(t *testing.T, what string, within time.Duration, ok func() bool) bool {
	t.Helper()
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	t.Logf("not within %v: %s", within, what)
	return false
}
