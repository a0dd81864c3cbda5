package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// password is that of our own servers: a login can be refused only where there is one.
const password = "demo"

// server is a Redis server of our own that can be broken.
type server interface {
	Addr() string
	Kill() error    // as a crash does
	Stop() error    // hang: connections are accepted, nothing is answered
	Cont() error    // end of the hang
	Restart() error // after Kill, on the same address, with its data
	Close() error
}

// member is a database of the demo; server is nil if it is not ours.
type member struct {
	name   string
	weight float64
	opt    *redis.Options
	server server

	cluster *redis.ClusterOptions // nil unless the database is one

	proxy   *faultproxy.Proxy // nil unless the fault happens on the way
	release chan struct{}     // what waits in the proxy goes on when it is closed
}

// fleet is the databases of the demo, heaviest first.
type fleet struct {
	kind    string // for people
	members []member
}

func startFleet(ctx context.Context, c *config) (*fleet, error) {
	if len(c.addrs) > 0 {
		return foreignFleet(c.addrs)
	}
	if c.cluster {
		return startClusters(ctx)
	}
	start := func() (server, error) {
		// Data survives the kill, so that the counters can be compared in the end. Without waiting for the disk: what was
		// handed to the kernel survives the death of the process, and the latency on screen is that of Redis.
		return redistest.Run(ctx, redistest.Config{Persist: true, Lines: []string{"appendfsync no"}, Password: password})
	}
	f := &fleet{kind: "two redis-server processes, started for this"}
	if c.miniredis {
		f.kind, start = "two servers inside this program (miniredis), as asked", startMini
	}
	for i, name := range []string{"east", "west"} {
		s, err := start()
		if errors.Is(err, redistest.ErrNotInstalled) {
			f.kind, start = "two servers inside this program (miniredis): no redis-server is on PATH", startMini
			s, err = start()
		}
		if err != nil {
			return nil, errors.Join(err, f.close())
		}
		f.members = append(f.members,
			member{name: name, weight: 1 / float64(i+1), opt: &redis.Options{Addr: s.Addr(), Password: password}, server: s})
	}
	if _, mini := f.members[0].server.(miniServer); mini && c.scenario.name == "hang" {
		c.scenario = hangByProxy(c.scenario)
	}
	if c.scenario.proxied {
		for i := range f.members {
			if err := f.members[i].through(); err != nil {
				return nil, errors.Join(err, f.close())
			}
		}
	}
	return f, nil
}

// through puts a proxy before the server.
func (m *member) through() (err error) {
	if m.proxy, err = faultproxy.New(m.opt.Addr); err != nil {
		return err
	}
	m.opt.Addr = m.proxy.Addr()
	return nil
}

// foreignFleet is databases that were there before us.
func foreignFleet(addrs []string) (*fleet, error) {
	f := &fleet{kind: "databases that were there before; none is killed"}
	for i, addr := range addrs {
		opt := &redis.Options{Addr: addr}
		switch {
		case strings.Contains(addr, "://"):
			parsed, err := redis.ParseURL(addr)
			if err != nil {
				// The URL may hold a password, and the error quotes it.
				return nil, fmt.Errorf("-addrs: number %d is not a URL of Redis", i+1)
			}
			opt = parsed
		case strings.Contains(addr, "@"): // the address is also a name, which is printed
			return nil, fmt.Errorf("-addrs: number %d has a user and is no URL: write redis:// before it", i+1)
		}
		f.members = append(f.members, member{name: f.nameFor(opt), weight: 1 / float64(i+1), opt: opt})
	}
	return f, nil
}

// nameFor is the address, and as much more as tells a database from those before it: its index, and if that is not enough
// its number.
func (f *fleet) nameFor(opt *redis.Options) string {
	name := opt.Addr
	if f.find(name) != nil {
		name = fmt.Sprintf("%s/%d", opt.Addr, opt.DB)
	}
	if f.find(name) != nil {
		name = fmt.Sprintf("%s#%d", name, len(f.members)+1)
	}
	return name
}

// databases is the fleet as the hook's options.
func (f *fleet) databases() []multidb.Database {
	var dbs []multidb.Database
	for _, m := range f.members {
		db := multidb.Database{Name: m.name, Weight: m.weight, Options: m.opt}
		if m.cluster != nil {
			db.Options, db.Cluster = nil, m.cluster
		}
		dbs = append(dbs, db)
	}
	return dbs
}

// find returns the member of that name or number, or nil.
func (f *fleet) find(name string) *member {
	for i := range f.members {
		if f.members[i].name == name || fmt.Sprint(i+1) == name {
			return &f.members[i]
		}
	}
	return nil
}

// other returns the heaviest member besides the named one.
func (f *fleet) other(name string) *member {
	for i := range f.members {
		if f.members[i].name != name {
			return &f.members[i]
		}
	}
	return nil
}

func (f *fleet) close() error {
	var errs []error
	for i := range f.members {
		m := &f.members[i]
		m.unblock()
		if m.proxy != nil {
			m.proxy.Close()
		}
		if m.server != nil {
			errs = append(errs, m.server.Close())
		}
	}
	return errors.Join(errs...)
}

// miniServer is a server inside the program.
type miniServer struct{ *miniredis.Miniredis }

func startMini() (server, error) {
	m, err := miniredis.Run()
	if err == nil {
		m.RequireAuth(password)
	}
	return miniServer{m}, err
}

func (m miniServer) Kill() error    { m.Miniredis.Close(); return nil }
func (m miniServer) Stop() error    { return errors.New("cannot be stopped") }
func (m miniServer) Cont() error    { return errors.New("cannot be stopped") }
func (m miniServer) Restart() error { return m.Miniredis.Restart() }
func (m miniServer) Close() error   { m.Miniredis.Close(); return nil }
