package multidb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// Each database has its own user, password and index, and no server may ever hear another's. This is looked for in
// everything that reaches a server, and not concluded from logins that work.

const (
	eastUser, eastPassword     = "alice", "secret-of-the-east"
	westUser, westPassword     = "bob", "secret-of-the-west"
	clientUser, clientPassword = "carol", "secret-of-the-client"
	eastIndex, westIndex       = 5, 7
	clientIndex                = 3
)

// guarded is two servers that let nobody in but their own user.
func guarded(t testing.TB, servers ...redistest.Option) (east, west *redistest.Redis) {
	lock := redistest.Password("of-default") // the default user needs a password that nobody has
	east = redistest.Start(t, append(servers, lock, redistest.Users(eastUser+" on >"+eastPassword+" ~* &* +@all"))...)
	west = redistest.Start(t, append(servers, lock, redistest.Users(westUser+" on >"+westPassword+" ~* &* +@all"))...)
	return east, west
}

func startGuarded(t testing.TB) *proxied {
	p := &proxied{}
	p.east, p.west = guarded(t)
	p.toEast, p.toWest = faultproxy.Start(t, p.east.Addr()), faultproxy.Start(t, p.west.Addr())
	return p
}

func login(addr, user, password string, index int) *redis.Options {
	return &redis.Options{Addr: addr, Username: user, Password: password, DB: index}
}

// eavesdropper hears everything that clients send through a proxy.
type eavesdropper struct {
	mu      sync.Mutex
	logins  map[string]int // user and password of each HELLO and AUTH
	indexes map[string]int // of each SELECT
	foreign []string       // requests with a word that is not for this server
}

func eavesdrop(proxy *faultproxy.Proxy, forbidden ...string) *eavesdropper {
	e := &eavesdropper{logins: make(map[string]int), indexes: make(map[string]int)}
	proxy.Answer(func(args []string) (string, bool) {
		e.hear(args, forbidden)
		return "", false
	})
	return e
}

func (e *eavesdropper) hear(args, forbidden []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	line := strings.Join(args, " ")
	for _, word := range forbidden {
		if strings.Contains(line, word) {
			e.foreign = append(e.foreign, line)
		}
	}
	switch strings.ToLower(args[0]) {
	case "auth":
		e.logins[strings.Join(args[1:], " ")]++
	case "hello":
		for i, arg := range args {
			if strings.EqualFold(arg, "auth") && i+2 < len(args) {
				e.logins[args[i+1]+" "+args[i+2]]++
			}
		}
	case "select":
		e.indexes[args[1]]++
	}
}

// requireDiscretion asserts that a proxy has heard one login and one index, and nobody else's secret.
func (e *eavesdropper) requireDiscretion(t *testing.T, proxy *faultproxy.Proxy, user, password string, index int) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	require.Empty(t, e.foreign)
	require.Len(t, e.logins, 1, "%v", e.logins)
	require.Positive(t, e.logins[user+" "+password], "%v", e.logins)
	require.Len(t, e.indexes, 1, "%v", e.indexes)
	require.Positive(t, e.indexes[fmt.Sprint(index)], "%v", e.indexes)
	require.Zero(t, proxy.Stats().Garbled, "everything must have been understood to have been searched")
}

// requireNoFailedLogin asks the server itself.
func requireNoFailedLogin(t *testing.T, server *redistest.Redis) {
	t.Helper()
	entries, err := server.Client().ACLLog(t.Context(), 100).Result()
	require.NoError(t, err)
	for _, e := range entries {
		require.Fail(t, "refused", "%s of %s: %s", e.Reason, e.Username, e.Object)
	}
}

// requireKeysOnlyIn asserts that no index of a server but one has keys.
func requireKeysOnlyIn(t *testing.T, server *redistest.Redis, index int) {
	t.Helper()
	info, err := server.Client().Info(t.Context(), "keyspace").Result()
	require.NoError(t, err)
	for line := range strings.Lines(info) {
		if strings.HasPrefix(line, "db") {
			require.True(t, strings.HasPrefix(line, fmt.Sprintf("db%d:", index)), "keys in %s", line)
		}
	}
}

func indexed(t *testing.T, server *redistest.Redis, index int, key string) int64 {
	t.Helper()
	opt := server.Options()
	opt.DB = index
	c := redis.NewClient(opt)
	defer c.Close()
	n, err := c.Get(t.Context(), key).Int64()
	if !errors.Is(err, redis.Nil) {
		require.NoError(t, err)
	}
	return n
}

// TestCredentialsInASwitchStorm switches to and fro under the load of everything that opens connections.
func TestCredentialsInASwitchStorm(t *testing.T) {
	n := 200
	if testing.Short() {
		n = 60
	}
	p := startGuarded(t)
	east, west := p.east, p.west
	atEast := eavesdrop(p.toEast, westUser, westPassword, clientUser, clientPassword)
	atWest := eavesdrop(p.toWest, eastUser, eastPassword, clientUser, clientPassword)
	p.attach(t, login(p.toEast.Addr(), eastUser, eastPassword, eastIndex), login(p.toWest.Addr(), westUser, westPassword, westIndex),
		func(o *Options, r *redis.Options) {
			calm(o, r)
			r.Username, r.Password, r.DB = clientUser, clientPassword, clientIndex
			r.MaintNotificationsConfig = maintenanceOff() // see TestPlannedSwitchesKeepSessions
		})
	clone := p.rdb.WithTimeout(3 * time.Second)
	sub := p.rdb.Subscribe(t.Context(), "news")
	defer sub.Close()
	messages := sub.Channel()
	var lost atomic.Int64
	l := newLedger()
	switchWhile(t, &p.pair, n, 10,
		func(ctx context.Context, _ int) { l.add("client", 1, p.rdb.Incr(ctx, "client").Err()) },
		func(ctx context.Context, _ int) { l.add("clone", 1, clone.Incr(ctx, "clone").Err()) },
		func(ctx context.Context, _ int) {
			conn := p.rdb.Conn()
			defer conn.Close()
			l.add("conn", 1, conn.Incr(ctx, "conn").Err())
		},
		func(context.Context, int) {
			err := increment(p.rdb, "watch")
			if errors.Is(err, redis.TxFailedErr) {
				lost.Add(1)
				return
			}
			l.add("watch", 1, err)
		},
		func(ctx context.Context, g int) { // and one that gives its connection up
			other := p.rdb.Subscribe(ctx, fmt.Sprint("other:", g))
			// A switch closes subscriptions; Receive says so once, and subscribes again.
			for tries := 0; tries < 10; tries++ {
				if _, err := other.Receive(ctx); err == nil {
					l.add("subscribe", 1, nil)
					break
				}
			}
			l.add("subscribe", 0, other.Close())
		},
	)
	require.Equal(t, errorFree, l.errs)
	for _, key := range []string{"client", "clone", "conn", "watch"} {
		require.Positive(t, l.count[key], key)
		require.Equal(t, l.count[key], indexed(t, east, eastIndex, key)+indexed(t, west, westIndex, key), key)
	}
	require.Positive(t, l.count["subscribe"])
	active, _ := p.servers()
	publishUntil(t, active.Client(), messages, 20*time.Second)
	requireKeysOnlyIn(t, east, eastIndex)
	requireKeysOnlyIn(t, west, westIndex)
	atEast.requireDiscretion(t, p.toEast, eastUser, eastPassword, eastIndex)
	atWest.requireDiscretion(t, p.toWest, westUser, westPassword, westIndex)
	requireNoFailedLogin(t, east)
	requireNoFailedLogin(t, west)
	t.Logf("%d switches, %v, %d lost races, logins %v %v", n, l.count, lost.Load(), atEast.logins, atWest.logins)
}

// TestCredentialsOverOtherNetworks: TLS and Unix sockets, where no proxy can listen; the servers tell of failed logins.
func TestCredentialsOverOtherNetworks(t *testing.T) {
	for name, option := range map[string]redistest.Option{"tls": redistest.TLS(), "unix": redistest.UnixSocket()} {
		t.Run(name, func(t *testing.T) {
			p := &pair{}
			p.east, p.west = guarded(t, option)
			at := func(server *redistest.Redis, user, password string, index int) *redis.Options {
				opt := login(server.Addr(), user, password, index)
				opt.TLSConfig = server.TLSConfig()
				if name == "unix" {
					opt.Network = "unix"
				}
				return opt
			}
			p.attach(t, at(p.east, eastUser, eastPassword, eastIndex), at(p.west, westUser, westPassword, westIndex),
				func(o *Options, r *redis.Options) {
					calm(o, r)
					r.Username, r.Password, r.DB = clientUser, clientPassword, clientIndex
				})
			l := newLedger()
			switchWhile(t, p, 10, 4, func(ctx context.Context, _ int) { l.add("n", 1, p.rdb.Incr(ctx, "n").Err()) })
			require.Equal(t, errorFree, l.errs)
			require.Equal(t, l.count["n"], indexed(t, p.east, eastIndex, "n")+indexed(t, p.west, westIndex, "n"))
			for server, index := range map[*redistest.Redis]int{p.east: eastIndex, p.west: westIndex} {
				requireKeysOnlyIn(t, server, index)
				requireNoFailedLogin(t, server)
			}
		})
	}
}

// TestIndexIsTheDatabases, if the database names one; else it is the client's. Whichever way go-redis logs in.
func TestIndexIsTheDatabases(t *testing.T) {
	p := &pair{}
	p.east, p.west = guarded(t)
	ctx := t.Context()
	for _, own := range []int{0, clientIndex} {
		for _, index := range []int{0, eastIndex} {
			for _, protocol := range []int{2, 3} {
				name := fmt.Sprintf("client %d, database %d, RESP%d", own, index, protocol)
				hook, err := New(ctx, Options{Logger: testLog(t), Databases: []Database{
					{Name: "east", URL: fmt.Sprintf("redis://%s:%s@%s/%d", eastUser, eastPassword, p.east.Addr(), index)},
				}})
				require.NoError(t, err, name)
				rdb := redis.NewClient(&redis.Options{Addr: p.west.Addr(), DB: own, Protocol: protocol, Password: clientPassword})
				rdb.AddHook(hook)
				require.NoError(t, rdb.Incr(ctx, name).Err(), name)
				conn := rdb.Conn()
				require.NoError(t, conn.Incr(ctx, name).Err(), name)
				require.NoError(t, conn.Close())
				sub := rdb.Subscribe(ctx, "news") // has a connection of its own
				_, err = sub.Receive(ctx)
				require.NoError(t, err, name)
				require.NoError(t, sub.Close())
				require.NoError(t, rdb.Close())
				require.NoError(t, hook.Close())
				used := index
				if index == 0 {
					used = own
				}
				for _, i := range []int{0, clientIndex, eastIndex} {
					want := int64(0)
					if i == used {
						want = 2
					}
					require.Equal(t, want, indexed(t, p.east, i, name), "%s: index %d", name, i)
				}
			}
		}
	}
	requireNoFailedLogin(t, p.east)
	requireNoFailedLogin(t, p.west)
}

// TestCredentialsProviders: each database may have its own, of both kinds, and they are asked for each connection, so
// that a password can be changed while the hook runs.
func TestCredentialsProviders(t *testing.T) {
	p := startGuarded(t)
	const renewed = "renewed-secret-of-the-west"
	atEast := eavesdrop(p.toEast, westUser, westPassword, renewed, clientUser, clientPassword)
	atWest := eavesdrop(p.toWest, eastUser, eastPassword, clientUser, clientPassword)
	var password atomic.Value
	password.Store(westPassword)
	var asked atomic.Int64
	east := &redis.Options{Addr: p.toEast.Addr(), DB: eastIndex, CredentialsProvider: func() (string, string) {
		asked.Add(1)
		return eastUser, eastPassword
	}}
	west := &redis.Options{Addr: p.toWest.Addr(), DB: westIndex, CredentialsProviderContext: func(context.Context) (string, string, error) {
		return westUser, password.Load().(string), nil
	}}
	p.attach(t, east, west, func(_ *Options, r *redis.Options) { r.Username, r.Password = clientUser, clientPassword })
	ctx := t.Context()
	require.NoError(t, p.rdb.Incr(ctx, "n").Err())
	require.Positive(t, asked.Load())
	require.NoError(t, p.hook.SetActive(ctx, "west"))
	require.NoError(t, p.rdb.Incr(ctx, "n").Err())
	atEast.requireDiscretion(t, p.toEast, eastUser, eastPassword, eastIndex)
	atWest.requireDiscretion(t, p.toWest, westUser, westPassword, westIndex)

	require.NoError(t, p.west.Client().ACLSetUser(ctx, westUser, "resetpass", ">"+renewed).Err())
	password.Store(renewed)
	p.toWest.Reset() // new connections for everybody
	require.NoError(t, p.rdb.Set(ctx, "k", 1, 0).Err())
	require.Equal(t, "west", p.hook.Active())
	atWest.mu.Lock()
	defer atWest.mu.Unlock()
	require.Positive(t, atWest.logins[westUser+" "+renewed])
	require.Empty(t, atWest.foreign)
	require.Empty(t, atEast.foreign)
	requireNoFailedLogin(t, p.west)
}
