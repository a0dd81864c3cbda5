// Package pair has two real servers, east and west, with a hook over them and a client, for tests that see a hook as its
// users do.
package pair

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// Pair is two real servers, east (heavier) and west, with a hook over them and one all-default client that was made with
// the address of east. Make it with New. Everything is closed at the end of the test.
type Pair struct {
	East, West *redistest.Redis
	Hook       *multidb.Hook
	RDB        *redis.Client
	Downs      atomic.Int64 // how often OnAllDown was called

	mu       sync.Mutex
	switches []multidb.Switch
}

// Change alters the options of the hook and of the client before they are used. It may be nil.
type Change func(*multidb.Options, *redis.Options)

// New starts the servers, and puts a hook and a client over them.
func New(t testing.TB, change Change, servers ...redistest.Option) *Pair {
	t.Helper()
	p := &Pair{East: redistest.Start(t, servers...), West: redistest.Start(t, servers...)}
	p.Attach(t, p.East.Options(), p.West.Options(), change)
	return p
}

// Attach puts a hook and a client over two addresses, which may be those of proxies before the servers.
func (p *Pair) Attach(t testing.TB, east, west *redis.Options, change Change) {
	t.Helper()
	opt := multidb.Options{
		Databases: []multidb.Database{{Name: "east", Options: east}, {Name: "west", Weight: 0.5, Options: west}},
		Failback:  multidb.Failback{GracePeriod: -1}, // the tests move back themselves
		Logger:    testkit.Log(t),
	}
	client := &redis.Options{Network: east.Network, Addr: east.Addr, TLSConfig: east.TLSConfig}
	if change != nil {
		change(&opt, client)
	}
	onSwitch, onDown := opt.Events.OnSwitch, opt.Events.OnAllDown
	opt.Events.OnSwitch = func(s multidb.Switch) {
		p.mu.Lock()
		p.switches = append(p.switches, s)
		p.mu.Unlock()
		if onSwitch != nil {
			onSwitch(s)
		}
	}
	opt.Events.OnAllDown = func(cause error) {
		p.Downs.Add(1)
		if onDown != nil {
			onDown(cause)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var err error
	p.Hook, err = multidb.New(ctx, opt)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Hook.Close()) })
	p.RDB = redis.NewClient(client)
	t.Cleanup(func() { _ = p.RDB.Close() })
	p.RDB.AddHook(p.Hook)
}

// Servers returns the active server and the other one.
func (p *Pair) Servers() (active, passive *redistest.Redis) {
	if p.Hook.Active() == "east" {
		return p.East, p.West
	}
	return p.West, p.East
}

// Switched returns the switches that OnSwitch was told of. Events come after the change that they tell of: Switched waits,
// for 10 s at most, until OnSwitch was told of every switch that Stats counts.
func (p *Pair) Switched() []multidb.Switch {
	var made uint64
	for _, n := range p.Hook.Stats().Switches {
		made += n
	}
	for late := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		p.mu.Lock()
		told := slices.Clone(p.switches)
		p.mu.Unlock()
		if uint64(len(told)) >= made || time.Now().After(late) {
			return told
		}
	}
}

// Usable reports whether both databases are usable.
func (p *Pair) Usable() bool {
	for _, db := range p.Hook.Stats().Databases {
		if db.Breaker != multidb.BreakerClosed {
			return false
		}
	}
	return true
}

// Sum adds up what a counter is on both servers, asked directly.
func (p *Pair) Sum(t testing.TB, key string) int64 {
	t.Helper()
	return Counter(t, p.East, key) + Counter(t, p.West, key)
}

// Counter returns what a counter is on a server, asked directly.
func Counter(t testing.TB, server *redistest.Redis, key string) int64 {
	t.Helper()
	n, err := server.Client().Get(context.Background(), key).Int64()
	if !errors.Is(err, redis.Nil) {
		require.NoError(t, err)
	}
	return n
}

// Hook makes a hook that is closed at the end of the test. It logs nothing unless opt has a Logger.
func Hook(t testing.TB, opt multidb.Options) *multidb.Hook {
	t.Helper()
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	h, err := multidb.New(t.Context(), opt)
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// Databases returns the databases east and west at two addresses, each a host and a port.
func Databases(east, west string) []multidb.Database {
	return []multidb.Database{
		{Name: "east", URL: "redis://" + east},
		{Name: "west", Weight: 0.5, URL: "redis://" + west},
	}
}

// Servers starts the two servers alone.
func Servers(t testing.TB) (east, west *redistest.Redis) {
	t.Helper()
	return redistest.Start(t), redistest.Start(t)
}

// Idle is New with n idle connections in the pool of the client.
func Idle(t testing.TB, n int, servers ...redistest.Option) *Pair {
	t.Helper()
	p := New(t, func(opt *multidb.Options, client *redis.Options) { opt.Health, client.PoolSize = Patient, n }, servers...)
	conns := make([]*redis.Conn, n)
	for i := range conns {
		conns[i] = p.RDB.Conn()
		require.NoError(t, conns[i].Ping(t.Context()).Err())
	}
	for _, conn := range conns {
		require.NoError(t, conn.Close())
	}
	return p
}
