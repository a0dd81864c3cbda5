package sentinel

import (
	"context"
	"net"
	"syscall"

	"github.com/redishook/multidb/internal/callback"
	"github.com/redishook/multidb/internal/goredis"
)

// Connections to sentinels that end with the group. go-redis dials and logs in to listen under a lock that Close waits for, and with no
// context that anybody can end.

// untilEnd makes the dialer of the sentinels. The dialer may be the user's, and not heed its context.
func (g *Group) untilEnd(dial goredis.Dialer) goredis.Dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(g.ctx, cancel)()
		nc, err := callback.Beside(ctx, &g.strays, func() (net.Conn, error) { return dial(ctx, network, addr) },
			func(late net.Conn) { _ = late.Close() })
		if err != nil {
			return nil, err
		}
		c := &ending{Conn: nc, stop: context.AfterFunc(g.ctx, func() { _ = nc.Close() })}
		if raw, ok := nc.(syscall.Conn); ok {
			return &endingSocket{c, raw}, nil // go-redis' pool looks at the socket before it lends a connection
		}
		return c, nil
	}
}

// ending is a connection that is closed when the group ends.
type ending struct {
	net.Conn
	stop func() bool
}

func (c *ending) Close() error {
	c.stop()
	return c.Conn.Close()
}

// endingSocket is one whose socket can be looked at.
type endingSocket struct {
	*ending
	syscall.Conn
}
