package multidb

import (
	"bytes"
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/resp"
)

// probeGrace is how long after its time a probe may take to return: a process short of processors needs tens of
// milliseconds for that.
const probeGrace = 100 * time.Millisecond

// probeDial makes the connections of a probing client, and keeps its pool from its own ideas about a database that cannot
// be dialed: see goredis.DeadConn.
type probeDial struct{ db *database }

// DialHook wraps what has been dialed in a probeConn.
func (d probeDial) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(d.db.probing, cancel)()
		began := time.Now()
		nc, err := next(ctx, network, addr)
		if err != nil {
			return goredis.DeadConn{Err: dialError{goredis.WithoutReply(err)}}, nil
		}
		d.db.conns.Reached(nc)
		d.db.signs.dialTook.Store(int64(time.Since(began)))
		d.db.signs.dialed.Add(1)
		c := &probeConn{Conn: nc, db: d.db}
		if raw, ok := nc.(syscall.Conn); ok {
			return plainProbeConn{c, raw}, nil
		}
		return c, nil
	}
}

// ProcessHook changes nothing.
func (probeDial) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

// ProcessPipelineHook changes nothing.
func (probeDial) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
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
	db *database

	readBy, writeBy time.Time    // of the one who reads, and of the one who writes
	asking          atomic.Bool  // something was written and nothing has been read since
	pinged          atomic.Int64 // when a PING was written whose reply has not come; ns since db.clockStart
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
		c.pinged.Store(int64(time.Since(c.db.clockStart)))
	}
	defer c.closeAt(c.writeBy)()
	c.db.signs.written.Add(1) // before: a connection that is there is asked, even if it does not take the question
	if c.asking.CompareAndSwap(false, true) {
		c.db.signs.asking.Add(1)
	}
	return c.Conn.Write(p)
}

func (c *probeConn) Read(p []byte) (int, error) {
	defer c.closeAt(c.readBy)()
	n, err := c.Conn.Read(p)
	c.heard()
	if n > 0 {
		c.db.signs.read.Add(1)
	}
	if at := c.pinged.Swap(0); at != 0 && n > 0 {
		c.db.sawRoundTrip(time.Since(c.db.clockStart) - time.Duration(at))
	}
	return n, err
}

func (c *probeConn) heard() {
	if c.asking.CompareAndSwap(true, false) {
		c.db.signs.asking.Add(-1)
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

// scaled stretches a timeout that suits a near database to one that is far: four round trips leave room for a connection
// to be made.
func (db *database) scaled(timeout time.Duration) time.Duration {
	return max(timeout, 4*db.roundTrip())
}

// roundTrip is the smoothed round trip of PINGs, 0 before the first.
func (db *database) roundTrip() time.Duration { return time.Duration(db.rtt.Load()) }

// sawRoundTrip smooths the round trip. One slow answer must not stretch the timeouts by much, and by nothing that the next
// quick ones do not take back: so it rises by an eighth of the difference, as TCP does, and falls by half.
func (db *database) sawRoundTrip(d time.Duration) {
	for {
		old := db.rtt.Load()
		next := int64(d)
		switch {
		case old == 0:
		case next < old:
			next = old - (old-next)/2
		default:
			next = old + (next-old)/8
		}
		if db.rtt.CompareAndSwap(old, max(1, next)) {
			return
		}
	}
}
