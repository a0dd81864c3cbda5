package prober

import (
	"bytes"
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/callback"
	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/resp"
)

// The connections of the probing clients: they keep their deadlines by themselves, and measure the distance.

// probeGrace is how long after its time a probe may take to return: a process short of processors needs tens of
// milliseconds for that.
const probeGrace = 100 * time.Millisecond

// dialHook makes the connections of a probing client, and keeps its pool from its own ideas about a database that cannot
// be dialed: see goredis.DeadConn.
type dialHook struct{ prober *Prober }

// DialHook wraps what has been dialed in a probeConn.
func (d dialHook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(d.prober.dialing, cancel)()
		began := time.Now()
		nc, err := callback.Beside(ctx, &d.prober.dials, func() (net.Conn, error) { return next(ctx, network, addr) },
			func(late net.Conn) { _ = late.Close() })
		if err != nil {
			return goredis.DeadConn{Err: dialError{goredis.WithoutReply(err)}}, nil
		}
		d.prober.cfg.Reached(nc)
		d.prober.signs.dialTook.Store(int64(time.Since(began)))
		d.prober.signs.dialed.Add(1)
		c := &probeConn{Conn: nc, prober: d.prober}
		if raw, ok := nc.(syscall.Conn); ok {
			return plainProbeConn{c, raw}, nil
		}
		return c, nil
	}
}

// ProcessHook changes nothing.
func (dialHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

// ProcessPipelineHook changes nothing.
func (dialHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// probeConn is a connection of a probing client. It keeps its deadlines by itself as well: a dialer of a user's may lead
// through something that does not keep them (a tunnel), and a probe that has sent its question there would wait for ever,
// and for ever take up its place in the pool.
//
// It also measures the round trip, from PING to PONG on the wire: what a probe takes beside that (the wait for a
// connection, dial, TLS and login, what a user's own check does) says nothing about the distance.
type probeConn struct {
	net.Conn
	prober *Prober

	readBy, writeBy time.Time    // of the one who reads, and of the one who writes
	greeted         atomic.Bool  // the first reply, that to HELLO, has been read
	asking          atomic.Bool  // something was written and nothing has been read since
	pinged          atomic.Int64 // when a PING was written whose reply has not come; ns since Prober.clockStart
}

// plainProbeConn is a probeConn over a socket, which go-redis' pool looks at before it hands out an idle connection.
type plainProbeConn struct {
	*probeConn
	syscall.Conn
}

var pingRequest = resp.Encode("ping")

func (c *probeConn) Write(p []byte) (int, error) {
	c.pinged.Store(0)
	if bytes.HasPrefix(p, pingRequest) {
		c.pinged.Store(int64(time.Since(c.prober.clockStart)))
	}
	defer c.closeAt(c.writeBy)()
	c.prober.signs.written.Add(1) // before: a connection that is there is asked, even if it does not take the question
	if c.asking.CompareAndSwap(false, true) {
		c.prober.signs.asking.Add(1)
	}
	n, err := c.Conn.Write(p)
	return n, c.unlessGreeted(err)
}

// unlessGreeted marks a failure before the first reply as one of the connection: a server that has no room for another client, say,
// may close it before HELLO is written.
func (c *probeConn) unlessGreeted(err error) error {
	if err == nil || c.greeted.Load() || goredis.IsTimeout(err) {
		return err
	}
	return dialError{err}
}

func (c *probeConn) Read(p []byte) (int, error) {
	defer c.closeAt(c.readBy)()
	n, err := c.Conn.Read(p)
	c.heard()
	if n > 0 {
		c.prober.signs.read.Add(1)
		if c.greeted.CompareAndSwap(false, true) {
			c.prober.role.learn(p[:n])
		}
	}
	if at := c.pinged.Swap(0); at != 0 && n > 0 {
		c.prober.saw(time.Since(c.prober.clockStart) - time.Duration(at))
	}
	return n, c.unlessGreeted(err)
}

func (c *probeConn) heard() {
	if c.asking.CompareAndSwap(true, false) {
		c.prober.signs.asking.Add(-1)
	}
}

// Close is called by the pool of the probing client.
func (c *probeConn) Close() error {
	c.heard()
	return c.Conn.Close()
}

// closeAt closes the connection if what follows is not over soon after its time. Nobody can want it then.
func (c *probeConn) closeAt(by time.Time) (over func()) {
	if by.IsZero() {
		return func() {}
	}
	timer := time.AfterFunc(time.Until(by)+probeGrace, func() { _ = c.Conn.Close() })
	return func() { timer.Stop() }
}

func (c *probeConn) SetDeadline(t time.Time) error {
	c.readBy, c.writeBy = t, t
	return c.Conn.SetDeadline(t)
}

func (c *probeConn) SetReadDeadline(t time.Time) error {
	c.readBy = t
	return c.Conn.SetReadDeadline(t)
}

func (c *probeConn) SetWriteDeadline(t time.Time) error {
	c.writeBy = t
	return c.Conn.SetWriteDeadline(t)
}

// dialError marks an error of a probing client that was met before its connection could be used.
type dialError struct{ error }

func (e dialError) Unwrap() error { return e.error }
