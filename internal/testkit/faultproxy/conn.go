package faultproxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// conn is a client's connection and the one to the server that belongs to it.
//
// Four goroutines pass the bytes on: read takes them from the client, exchange.run decides about each request, replies
// takes them from the server, and write gives them to the client. Reading from the client does not wait for the gate, so
// that the proxy notices a client that gives up on a hanging server.
type conn struct {
	proxy  *Proxy
	id     uint64
	client net.Conn
	in     chan []byte     // from the client; closed when it sends no more
	ctx    context.Context // ended by kill
	cancel context.CancelFunc
	out    *outbox
	order  *order
	left   sync.Once // counts the connection as open no more

	mu       sync.Mutex
	upstream net.Conn // Guarded by mu; nil before it is dialed
	killed   bool     // Guarded by mu
}

func newConn(p *Proxy, id uint64, client net.Conn) *conn {
	ctx, cancel := context.WithCancel(context.Background())
	c := &conn{
		proxy:  p,
		id:     id,
		client: client,
		in:     make(chan []byte, 64),
		ctx:    ctx,
		cancel: cancel,
		out:    newOutbox(p.faults.delayNow),
	}
	c.order = &order{out: c.out}
	return c
}

func (c *conn) start() {
	c.proxy.wg.Go(c.read)
	c.proxy.wg.Go(c.write)
	c.proxy.wg.Go(func() {
		if up := c.dial(); up != nil {
			c.proxy.wg.Go(func() { c.replies(up) })
			(&exchange{conn: c, upstream: up}).run()
		}
	})
}

// kill ends the connection at once. Whatever waits to be passed on is lost. The caller takes it out of the proxy's conns.
func (c *conn) kill(reset bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.killed {
		return
	}
	c.killed = true
	c.cancel()
	c.out.stop()
	if reset {
		abort(c.client)
	} else {
		_ = c.client.Close()
	}
	if c.upstream != nil {
		_ = c.upstream.Close()
	}
	c.gone()
}

func (c *conn) gone() { c.left.Do(func() { c.proxy.open.Add(-1) }) }

// setWriteDeadline interrupts the writes of both directions.
func (c *conn) setWriteDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.client.SetWriteDeadline(t)
	if c.upstream != nil {
		_ = c.upstream.SetWriteDeadline(t)
	}
}

func (c *conn) dial() net.Conn {
	if !c.proxy.gate.enter(c.ctx.Done()) {
		return nil
	}
	c.proxy.gate.leave() // dialing forwards nothing, and may take long
	up, err := c.proxy.transport.Dial(c.ctx, "tcp", c.proxy.upstream)
	if err != nil {
		c.kill(true)
		c.proxy.forget(c)
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.killed {
		_ = up.Close()
		return nil
	}
	c.upstream = up
	return up
}

func (c *conn) read() {
	defer close(c.in)
	buf := make([]byte, 32<<10)
	for {
		n, err := c.client.Read(buf)
		if n > 0 {
			select {
			case c.in <- bytes.Clone(buf[:n]):
			case <-c.ctx.Done():
				return
			}
		}
		if err != nil {
			// What it has sent still reaches the server, as it does when a client closes its end of a plain connection.
			c.gone()
			return
		}
	}
}

// write ends the connection when it is told to, and not when the client no longer listens: requests may still be on their
// way to the server.
func (c *conn) write() {
	var broken bool
	for {
		due, ok := c.out.head()
		if !ok || !c.sleep(time.Until(due)) {
			return
		}
		data, end := c.out.take(time.Now())
		if len(data) > 0 && !broken {
			broken = c.forward(c.client, data, &c.proxy.log.toClient, nil) != nil
		}
		if end == refuses {
			c.proxy.Refuse() // ends this connection, too
			return
		}
		if end.isLast() {
			if c.proxy.gate.enter(c.ctx.Done()) {
				c.kill(end == resets)
				c.proxy.gate.leave() // and only now the mutex of the proxy, which SetMode holds while it shuts the gate
				c.proxy.forget(c)
			}
			return
		}
	}
}

func (c *conn) sleep(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.ctx.Done():
		return false
	}
}

// maxWrite bounds what one write takes, so that the counters tell how far a long one has come.
const maxWrite = 256 << 10

// forward writes to one of both sides while the gate is open, in pieces if that is wanted. It calls first, if there is one,
// once the gate has let it in.
func (c *conn) forward(to io.Writer, b []byte, count *atomic.Uint64, first func()) error {
	for pauses := 20; first != nil || len(b) > 0; {
		if !c.proxy.gate.enter(c.ctx.Done()) {
			return net.ErrClosed
		}
		if first != nil {
			first()
			first = nil
		}
		chunk := int(c.proxy.faults.chunk.Load())
		size := min(len(b), maxWrite)
		if chunk > 0 {
			size = min(size, chunk)
		}
		n, err := to.Write(b[:size])
		c.proxy.gate.leave()
		count.Add(uint64(n))
		b = b[n:]
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) { // that is interrupt's
			return err
		}
		// A receiver finds a piece by itself only if it wakes up before the next one is there. Waiting for that each time
		// would make a megabyte of single bytes take minutes.
		if chunk > 0 && len(b) > 0 && pauses > 0 {
			pauses--
			c.sleep(50 * time.Microsecond)
		}
	}
	return nil
}

// replies passes on what the server sends.
func (c *conn) replies(up net.Conn) {
	br := bufio.NewReaderSize(up, 64<<10)
	for {
		c.out.room()
		msg, err := readReply(br)
		switch {
		case err == nil:
			c.order.receive(msg)
		case errors.Is(err, errSyntax):
			c.order.pass(msg)
			c.copyRest(br)
			return
		case errors.Is(err, syscall.ECONNRESET):
			c.order.finish(msg, resets)
			return
		default:
			c.order.finish(msg, closes)
			return
		}
	}
}

// copyRest passes on what can not be understood.
func (c *conn) copyRest(br *bufio.Reader) {
	for {
		c.out.room()
		buf := make([]byte, 32<<10)
		n, err := br.Read(buf)
		c.order.pass(buf[:n])
		if err != nil {
			c.order.finish(nil, closes)
			return
		}
	}
}

// hangUp tells the server that the client sends no more.
func (c *conn) hangUp(up net.Conn) {
	if c.proxy.gate.enter(c.ctx.Done()) {
		endWrites(up)
		c.proxy.gate.leave()
	}
}
