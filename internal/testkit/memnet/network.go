// Package memnet is a network inside the process, with the errors that TCP gives. It is for tests in a bubble of
// testing/synctest: virtual time stands still while a goroutine waits for a socket, and goes on while it waits here.
package memnet

import (
	"context"
	"net"
	"os"
	"sync"
	"syscall"
)

// backlog is how many connections may wait to be accepted by one listener. Further dials wait, as they do for a full
// accept queue.
const backlog = 4096

// Network is a set of listeners by address. The zero value is ready. Safe for concurrent use.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*listener // Guarded by mu
}

// Listen listens on an address, which is any text. The error is EADDRINUSE if somebody listens there.
func (n *Network) Listen(addr string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[addr] != nil {
		return nil, opError("listen", address(addr), nil, syscall.EADDRINUSE)
	}
	if n.listeners == nil {
		n.listeners = make(map[string]*listener)
	}
	l := &listener{network: n, addr: address(addr), queue: make(chan *Conn, backlog), closed: make(chan struct{})}
	n.listeners[addr] = l
	return l, nil
}

// Dial connects to whoever listens on the address. The error is ECONNREFUSED if nobody does, or that of ctx. Its
// signature is that of a Dialer of redis.Options; the name of the network is not looked at.
func (n *Network) Dial(ctx context.Context, _, addr string) (net.Conn, error) {
	to := address(addr)
	if err := ctx.Err(); err != nil {
		return nil, &net.OpError{Op: "dial", Net: to.Network(), Addr: to, Err: err}
	}
	n.mu.Lock()
	l := n.listeners[addr]
	n.mu.Unlock()
	if l == nil {
		return nil, opError("dial", nil, to, syscall.ECONNREFUSED)
	}
	ours, theirs := pair(address("client"), to)
	select {
	case l.queue <- theirs:
	case <-l.closed:
		return nil, opError("dial", nil, to, syscall.ECONNREFUSED)
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: to.Network(), Addr: to, Err: ctx.Err()}
	}
	select {
	case <-l.closed:
		l.drop() // the listener has closed meanwhile, and may not have seen this one
	default:
	}
	return ours, nil
}

type listener struct {
	network *Network
	addr    address
	queue   chan *Conn
	once    sync.Once
	closed  chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.closed: // first: a closed listener accepts nobody who still waits
		return nil, &net.OpError{Op: "accept", Net: l.addr.Network(), Addr: l.addr, Err: net.ErrClosed}
	default:
	}
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Net: l.addr.Network(), Addr: l.addr, Err: net.ErrClosed}
	}
}

// Close ends the listener, and resets what nobody has accepted yet.
func (l *listener) Close() error {
	l.once.Do(func() {
		l.network.mu.Lock()
		delete(l.network.listeners, string(l.addr))
		l.network.mu.Unlock()
		close(l.closed)
		l.drop()
	})
	return nil
}

func (l *listener) drop() {
	for {
		select {
		case c := <-l.queue:
			_ = c.SetLinger(0)
			_ = c.Close()
		default:
			return
		}
	}
}

func (l *listener) Addr() net.Addr { return l.addr }

// address is a net.Addr. It says that it is TCP, because that is what the errors look like.
type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

func opError(op string, from, to net.Addr, errno syscall.Errno) error {
	call := op
	if op == "dial" {
		call = "connect"
	}
	return &net.OpError{Op: op, Net: "tcp", Source: from, Addr: to, Err: os.NewSyscallError(call, errno)}
}
