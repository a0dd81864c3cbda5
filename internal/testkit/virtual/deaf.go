package virtual

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redishook/multidb/internal/goredis"
)

// deafConn is a connection whose deadlines do not work (through a tunnel), and which dies quietly.
type deafConn struct {
	net.Conn
	dead atomic.Bool
}

func (c *deafConn) SetDeadline(time.Time) error { return nil }

func (c *deafConn) SetReadDeadline(time.Time) error { return nil }

func (c *deafConn) SetWriteDeadline(time.Time) error { return nil }

func (c *deafConn) Write(p []byte) (int, error) {
	if c.dead.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// DeafNetwork is what deafConns are dialed through. The zero value is ready.
type DeafNetwork struct {
	mu   sync.Mutex
	lost bool // dials fail
	all  []*deafConn
}

// Wrap returns a dialer of the database that leads through the network.
func (n *DeafNetwork) Wrap(v *DB, _ goredis.Dialer) goredis.Dialer {
	return func(context.Context, string, string) (net.Conn, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.lost {
			return nil, ErrUnreachable
		}
		nc, err := v.Redis.Dial()
		c := &deafConn{Conn: nc}
		n.all = append(n.all, c)
		return c, err
	}
}

// Lose loses the network, and with it all connections for ever, until the network is back.
func (n *DeafNetwork) Lose(lost bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lost = lost
	for _, c := range n.all {
		c.dead.Store(true)
	}
}

// Return brings the network back. The connections of before stay dead.
func (n *DeafNetwork) Return() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lost = false
}
