package multidbprometheus_test

// The stage of the faults of docs/operations.md: two real servers, each behind a proxy, a hook over them, and callers.

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// stage is what a fault is made on.
type stage struct {
	sight
	east, west     *redistest.Redis
	toEast, toWest *faultproxy.Proxy
	rdb            *redis.Client
	answered       atomic.Int64 // commands of the callers
}

// fault makes one. It returns when the fault stands: what is seen of it may come later.
type fault func(t *testing.T, s *stage)

// faults are all, by their heading in docs/operations.md.
var faults = map[string]fault{}

func newStage(t *testing.T, opts ...redistest.Option) *stage {
	s := &stage{}
	s.startServers(t, opts...)
	return s
}

// startServers starts the servers, and in place of those that there are if the fault needs others.
func (s *stage) startServers(t *testing.T, opts ...redistest.Option) {
	s.east, s.west = redistest.Start(t, opts...), redistest.Start(t, opts...)
	s.toEast, s.toWest = faultproxy.Start(t, s.east.Addr()), faultproxy.Start(t, s.west.Addr())
}

// through returns the options of a server by way of its proxy.
func through(server *redistest.Redis, proxy *faultproxy.Proxy) *redis.Options {
	opt := server.Options()
	opt.Addr = proxy.Addr()
	return opt
}

// options are those of the hook.
func (s *stage) options() multidb.Options {
	return multidb.Options{
		Databases: []multidb.Database{
			{Name: "east", Options: through(s.east, s.toEast)}, {Name: "west", Weight: 0.5, Options: through(s.west, s.toWest)},
		},
		Logger: s.logger(),
	}
}

// start makes the hook and the client, waits until both databases are usable, and begins with the callers.
func (s *stage) start(t *testing.T, change func(*multidb.Options)) {
	t.Helper()
	opt := s.options()
	opt.Initial = multidb.InitialAll
	if change != nil {
		change(&opt)
	}
	s.client(t, opt, &redis.Options{Addr: "client.invalid:6379"})
	s.call(t)
}

// client makes the hook and the client.
func (s *stage) client(t *testing.T, opt multidb.Options, client *redis.Options) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	hook, err := multidb.New(ctx, opt)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, hook.Close()) })
	s.watch(t, hook)
	s.rdb = redis.NewClient(client)
	t.Cleanup(func() { _ = s.rdb.Close() })
	s.rdb.AddHook(hook)
}

// call lets four callers set and get, about a thousand times a second each, until the end of the test.
func (s *stage) call(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var callers sync.WaitGroup
	t.Cleanup(func() { stop(); _ = s.rdb.Close(); callers.Wait() })
	for range 4 {
		callers.Go(func() {
			for ctx.Err() == nil {
				if s.rdb.Set(ctx, "k", "v", 0).Err() == nil && !errors.Is(s.rdb.Get(ctx, "k").Err(), redis.ErrClosed) {
					s.answered.Add(1)
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	redistest.Eventually(t, 10*time.Second, "the callers to be answered", func() bool { return s.answered.Load() > 100 })
}

// cut closes the connections of the callers to a server, and leaves those of the health checks.
func cut(t *testing.T, server *redistest.Redis) {
	killThose(t, server, func(line string) bool { return !strings.Contains(line, " cmd=ping ") })
}

// killThose closes the connections whose line of CLIENT LIST is wanted, but the one that asks.
func killThose(t *testing.T, server *redistest.Redis, wanted func(line string) bool) {
	t.Helper()
	list, err := server.Client().ClientList(t.Context()).Result()
	require.NoError(t, err)
	for line := range strings.Lines(list) {
		id, _, _ := strings.Cut(strings.TrimPrefix(line, "id="), " ")
		if wanted(line) && !strings.Contains(line, " cmd=client|list ") {
			require.NoError(t, server.Client().Do(t.Context(), "CLIENT", "KILL", "ID", id).Err())
		}
	}
}

// refusing has a proxy give one reply to everything but the handshake and some commands.
func refusing(reply string, but ...string) func(args []string) (string, bool) {
	passed := faultproxy.Named(append(but, "HELLO", "AUTH", "CLIENT", "SELECT")...)
	return func(args []string) (string, bool) { return "-" + reply + "\r\n", !passed(args) }
}

// dialing returns a dialer that does what a fault says once there is one.
func dialing(fault *atomic.Pointer[func(ctx context.Context) (net.Conn, error)]) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if f := fault.Load(); f != nil {
			return (*f)(ctx)
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
}
