package faultproxy

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"
	"time"
)

// Transport is what a proxy listens with and dials the server with.
type Transport struct {
	Listen func(addr string) (net.Listener, error)
	Dial   func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Over makes the proxy use another network than TCP, one inside the process for instance. It needs [Listen], too.
func Over(t Transport) Option { return func(c *config) { c.transport = t } }

// overTCP is the transport of a proxy that was not told otherwise.
var overTCP = Transport{
	Listen: func(addr string) (net.Listener, error) { return net.Listen("tcp", addr) },
	Dial:   new(net.Dialer).DialContext,
}

// listen listens on an address, or on a free loopback port if it is empty.
func (t Transport) listen(addr string) (net.Listener, error) {
	if addr != "" {
		return t.Listen(addr)
	}
	for tries := 0; ; tries++ {
		// Below the ephemeral range: while the proxy refuses, a client's outgoing connection must not be given its port.
		// And not where package redistest looks for ports, for the same reason.
		port := 20000 + rand.IntN(6000)
		ln, err := t.Listen(net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) || tries == 100 {
			return ln, err
		}
	}
}

// listenAgain listens on the proxy's address after it was given up, for which somebody else may have it for a moment.
func (t Transport) listenAgain(addr string) (ln net.Listener, err error) {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		ln, err = t.Listen(addr)
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(deadline) {
			return ln, err
		}
	}
}

// abort closes a connection so that the other end sees a reset.
func abort(c net.Conn) {
	if lingers, ok := c.(interface{ SetLinger(sec int) error }); ok {
		_ = lingers.SetLinger(0) // closing sends RST instead of FIN
	}
	_ = c.Close()
}

// endWrites tells the other end that nothing more comes. A connection that has no such half close is closed.
func endWrites(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		return
	}
	_ = c.Close()
}
