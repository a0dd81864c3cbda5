package random_test

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"os"
	"syscall"

	"github.com/redishook/multidb/internal/testkit/memnet"
	"github.com/redishook/multidb/internal/testkit/scripted"
)

// wire is the client's end of a connection. It knows of which calls the socket has taken at least one byte, and breaks in the
// middle of a write, at any byte.
type wire struct {
	*memnet.Conn
	w      *world
	breaks bool
	left   int    // bytes until it breaks
	rest   []byte // of a request that was not written whole
}

// dial connects the hook, and the client, with a server.
func (w *world) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if w.one(w.faults.dial) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	nc, err := w.network.Dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &wire{Conn: nc.(*memnet.Conn), w: w, breaks: w.one(w.faults.cut), left: w.intN(1500)}, nil
}

func (c *wire) Write(p []byte) (int, error) {
	n := len(p)
	if c.breaks {
		n = min(n, c.left)
	}
	taken := c.take(p, n) // before it is written, or the server would be quicker
	c.left -= n
	written, err := c.Conn.Write(p[:n])
	if written == 0 {
		for _, call := range taken {
			call.took(-1)
		}
	}
	if err != nil || n == len(p) {
		return written, err
	}
	reset(c.Conn)
	return written, &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.ECONNRESET)}
}

// take notes the requests that begin in the first n bytes of p, or have begun before.
func (c *wire) take(p []byte, n int) (taken []*call) {
	all := append(c.rest, p...)
	allowed := len(c.rest) + n
	c.rest = nil
	source := bytes.NewReader(all)
	in := bufio.NewReader(source)
	for {
		at := len(all) - source.Len() - in.Buffered()
		if at >= allowed {
			return taken
		}
		args, err := scripted.ReadRequest(in)
		if err != nil {
			c.rest = bytes.Clone(all[at:])
			return taken
		}
		if call := c.w.callOf(args); call != nil {
			call.took(1)
			taken = append(taken, call)
		}
	}
}
