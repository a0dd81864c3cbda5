package multidbtest

import (
	"context"
	"net"
	"net/url"
	"strings"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/memnet"
)

// The credentials of both databases. There are some so that logins can be refused.
const (
	user     = "app"
	password = "secret"
)

// Database is one database of a pair: a server inside the process, and what stands in front of it and breaks. Safe for
// concurrent use.
type Database struct {
	// Data is the server behind all faults. A test looks at the values there, sets them, or flushes all to see a
	// database come back empty. Expiry needs Data.FastForward, as always in miniredis.
	Data *miniredis.Miniredis

	name    string
	weight  float64
	network *memnet.Network // nil: TCP
	proxy   *faultproxy.Proxy
	server  *server
}

func startDatabase(name string, weight float64, addr string, network *memnet.Network, report func(error)) (*Database, error) {
	d := &Database{name: name, weight: weight, network: network, Data: miniredis.NewMiniRedis()}
	d.Data.RequireUserAuth(user, password)
	first, err := d.Data.Dial() // starts it
	if err != nil {
		return nil, err
	}
	_ = first.Close()
	d.server = newServer(d.Data)
	through := faultproxy.Transport{
		Listen: func(addr string) (net.Listener, error) { return net.Listen("tcp", addr) },
		Dial:   func(context.Context, string, string) (net.Conn, error) { return d.Data.Dial() },
	}
	opts := []faultproxy.Option{faultproxy.Report(report)}
	if network != nil {
		through.Listen = network.Listen
		opts = append(opts, faultproxy.Listen(addr))
	}
	if d.proxy, err = faultproxy.New("", append(opts, faultproxy.Over(through))...); err != nil {
		d.Data.Close()
		return nil, err
	}
	return d, nil
}

// Name is "east" or "west".
func (d *Database) Name() string { return d.name }

// Addr is host:port. Only with Config.TCP is somebody there for the rest of the world; Options has the Dialer that leads
// there in memory.
func (d *Database) Addr() string { return d.proxy.Addr() }

// URL is redis://user:password@host:port, for code that takes a connection string. It leads somewhere with Config.TCP only.
func (d *Database) URL() string {
	u := url.URL{Scheme: "redis", User: url.UserPassword(user, password), Host: d.Addr()}
	return u.String()
}

// Options are those of a client of this database alone, through its faults. The caller may change what is returned.
func (d *Database) Options() *redis.Options {
	o := &redis.Options{Addr: d.Addr(), Username: user, Password: password, MaintNotificationsConfig: noNotifications()}
	if d.network != nil {
		o.Dialer = d.network.Dial
	}
	return o
}

// Get returns the string at a key, read behind all faults; empty if there is none.
func (d *Database) Get(key string) string {
	value, _ := d.Data.Get(key)
	return value
}

// Executed is how often the server has run a command, by its name in any case. Those of scripts are included,
// those that it refused are left out. It is how a test tells "once" from "twice".
func (d *Database) Executed(command string) int {
	return d.server.count(strings.ToUpper(command))
}

func (d *Database) close() {
	if d == nil {
		return
	}
	d.Restore()
	d.proxy.Close()
	d.Data.Close()
}
