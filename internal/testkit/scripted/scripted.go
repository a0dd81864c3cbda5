// Package scripted is a server whose replies a test writes itself: each request is put to a function, which says what goes
// back. It answers the handshake of a client and PING by itself, in RESP2 and RESP3.
package scripted

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Request is one request as the server has read it.
type Request struct {
	Conn     uint64 // number of the connection, from 1
	Protocol int    // 2 or 3
	Name     string // of the command, in lower case
	Args     []string
}

// Hangup is a reply that ends the connection instead.
const Hangup = "\x00hangup"

// Answer says what goes back: bytes of RESP, "" for nothing at all, or Hangup. It is called by one goroutine for each
// connection.
type Answer func(Request) string

// Server answers on one listener until its test ends.
type Server struct {
	answer Answer
	conns  atomic.Uint64
	ln     net.Listener
	wg     sync.WaitGroup

	mu   sync.Mutex
	open map[net.Conn]struct{}
}

// Serve runs a server on a listener, such as one of a network inside the process. The end of the test closes it.
func Serve(t testing.TB, ln net.Listener, answer Answer) *Server {
	s := &Server{answer: answer, ln: ln, open: map[net.Conn]struct{}{}}
	s.wg.Go(s.accept)
	t.Cleanup(s.close)
	return s
}

func (s *Server) accept() {
	for {
		nc, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.open[nc] = struct{}{}
		s.mu.Unlock()
		s.wg.Go(func() { s.serve(nc) })
	}
}

func (s *Server) close() {
	_ = s.ln.Close()
	s.mu.Lock()
	for nc := range s.open {
		_ = nc.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *Server) serve(nc net.Conn) {
	defer func() {
		_ = nc.Close()
		s.mu.Lock()
		delete(s.open, nc)
		s.mu.Unlock()
	}()
	in, out := bufio.NewReader(nc), bufio.NewWriter(nc)
	request := Request{Conn: s.conns.Add(1), Protocol: 2}
	for {
		args, err := ReadRequest(in)
		if err != nil {
			return
		}
		request.Name, request.Args = strings.ToLower(args[0]), args
		reply, ok := request.setUp()
		if !ok {
			reply = s.answer(request)
		}
		if reply == Hangup {
			_ = out.Flush()
			return
		}
		if _, err := out.WriteString(reply); err != nil {
			return
		}
		if in.Buffered() == 0 {
			if err := out.Flush(); err != nil {
				return
			}
		}
	}
}

// setUp answers what a client asks before its first command, and the PING of a health check.
func (r *Request) setUp() (reply string, ok bool) {
	switch r.Name {
	case "hello":
		if len(r.Args) > 1 {
			r.Protocol, _ = strconv.Atoi(r.Args[1])
		}
		return r.Map("server", Bulk("redis"), "version", Bulk("7.0.0"), "proto", Int(r.Protocol), "id", Int(int(r.Conn)),
			"mode", Bulk("standalone"), "role", Bulk("master"), "modules", Array()), true
	case "auth", "select", "client":
		return "+OK\r\n", true
	case "ping":
		if len(r.Args) > 1 {
			return Bulk(r.Args[1]), true
		}
		return "+PONG\r\n", true
	}
	return "", false
}

// ReadRequest reads one request: its name and its arguments, as they were sent.
func ReadRequest(in *bufio.Reader) ([]string, error) {
	n, err := readLength(in, '*')
	if err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		size, err := readLength(in, '$')
		if err != nil {
			return nil, err
		}
		arg := make([]byte, size+2)
		if _, err := io.ReadFull(in, arg); err != nil {
			return nil, err
		}
		args[i] = string(arg[:size])
	}
	return args, nil
}

func readLength(in *bufio.Reader, kind byte) (int, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return 0, err
	}
	if line[0] != kind {
		return 0, fmt.Errorf("scripted: %q where %q is due", line, kind)
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}
