// Package virtual has databases for tests in virtual time. A database is a miniredis that is reached through a pipe, so
// that in a bubble of testing/synctest minutes pass in milliseconds.
package virtual

import (
	"context"
	"errors"
	"net"
	"sync/atomic"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/testkit"
)

// DB is a database that can be taken away and given back. Make it with New.
type DB struct {
	Redis *miniredis.Miniredis
	Up    atomic.Bool // false: dials are refused, and connections fail at their next use
}

// ErrUnreachable is the error of a dial to a database that is not up, and of the connections to it.
var ErrUnreachable = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}

// New starts n databases, all up. Call it inside a bubble, and close the databases before the bubble ends.
func New(n int) []*DB {
	dbs := make([]*DB, n)
	for i := range dbs {
		dbs[i] = &DB{Redis: miniredis.NewMiniRedis()}
		dbs[i].Up.Store(true)
	}
	return dbs
}

// Dial connects to the database, whatever the address.
func (v *DB) Dial(context.Context, string, string) (net.Conn, error) {
	if !v.Up.Load() {
		return nil, ErrUnreachable
	}
	nc, err := v.Redis.Dial()
	if err != nil {
		return nil, err
	}
	return &conn{nc, v}, nil
}

// Options returns options whose connections all lead to the database. They bear the address given.
func (v *DB) Options(addr string) *redis.Options {
	return &redis.Options{
		Addr: addr, Dialer: v.Dial, DisableIdentity: true, MaintNotificationsConfig: testkit.MaintenanceOff(), Protocol: 2,
	}
}

// Hanging makes a database that is not up hang instead of refusing: what is written to it is lost, and a dial to it waits
// for the end of its context.
func Hanging(v *DB, opt *redis.Options) {
	opt.Dialer = func(ctx context.Context, _, _ string) (net.Conn, error) {
		if !v.Up.Load() {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		nc, err := v.Redis.Dial()
		return &hangingConn{nc, v}, err
	}
}

// conn fails with its database, at the next use.
type conn struct {
	net.Conn
	of *DB
}

func (c *conn) Write(p []byte) (int, error) {
	if !c.of.Up.Load() {
		return 0, ErrUnreachable
	}
	return c.Conn.Write(p)
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.of.Up.Load() {
		return 0, ErrUnreachable
	}
	return n, err
}

type hangingConn struct {
	net.Conn
	of *DB
}

func (c *hangingConn) Write(p []byte) (int, error) {
	if !c.of.Up.Load() {
		return len(p), nil // into the void
	}
	return c.Conn.Write(p)
}
