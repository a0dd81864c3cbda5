package e2e_test

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

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/load"
	"github.com/redishook/multidb/internal/testkit/pair"
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

func startGuarded(t testing.TB) *pair.Proxied {
	p := &pair.Proxied{}
	p.East, p.West = guarded(t)
	p.ToEast, p.ToWest = faultproxy.Start(t, p.East.Addr()), faultproxy.Start(t, p.West.Addr())
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

func eavesdrop(proxy *faultproxy.Proxy, forbidden ...string) *eavesdropper {
	e := &eavesdropper{logins: make(map[string]int), indexes: make(map[string]int)}
	proxy.Answer(func(args []string) (string, bool) {
		e.hear(args, forbidden)
		return "", false
	})
	return e
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
	east, west := p.East, p.West
	atEast := eavesdrop(p.ToEast, westUser, westPassword, clientUser, clientPassword)
	atWest := eavesdrop(p.ToWest, eastUser, eastPassword, clientUser, clientPassword)
	p.Attach(t, login(p.ToEast.Addr(), eastUser, eastPassword, eastIndex), login(p.ToWest.Addr(), westUser, westPassword, westIndex),
		func(o *multidb.Options, r *redis.Options) {
			pair.Calm(o, r)
			r.Username, r.Password, r.DB = clientUser, clientPassword, clientIndex
			r.MaintNotificationsConfig = testkit.MaintenanceOff() // see TestPlannedSwitchesKeepSessions
		})
	clone := p.RDB.WithTimeout(3 * time.Second)
	sub := p.RDB.Subscribe(t.Context(), "news")
	defer sub.Close()
	messages := sub.Channel()
	var lost atomic.Int64
	l := load.NewTally()
	p.SwitchWhile(t, n, 10,
		func(ctx context.Context, _ int) { l.Add("client", 1, p.RDB.Incr(ctx, "client").Err()) },
		func(ctx context.Context, _ int) { l.Add("clone", 1, clone.Incr(ctx, "clone").Err()) },
		func(ctx context.Context, _ int) {
			conn := p.RDB.Conn()
			defer conn.Close()
			l.Add("conn", 1, conn.Incr(ctx, "conn").Err())
		},
		func(context.Context, int) {
			err := increment(p.RDB, "watch")
			if errors.Is(err, redis.TxFailedErr) {
				lost.Add(1)
				return
			}
			l.Add("watch", 1, err)
		},
		func(ctx context.Context, g int) { // and one that gives its connection up
			other := p.RDB.Subscribe(ctx, fmt.Sprint("other:", g))
			// A switch closes subscriptions; Receive says so once, and subscribes again.
			for tries := 0; tries < 10; tries++ {
				if _, err := other.Receive(ctx); err == nil {
					l.Add("subscribe", 1, nil)
					break
				}
			}
			l.Add("subscribe", 0, other.Close())
		},
	)
	require.Equal(t, errorFree, l.Errs)
	for _, key := range []string{"client", "clone", "conn", "watch"} {
		require.Positive(t, l.Count[key], key)
		require.Equal(t, l.Count[key], indexed(t, east, eastIndex, key)+indexed(t, west, westIndex, key), key)
	}
	require.Positive(t, l.Count["subscribe"])
	active, _ := p.Servers()
	publishUntil(t, active.Client(), messages, 20*time.Second)
	requireKeysOnlyIn(t, east, eastIndex)
	requireKeysOnlyIn(t, west, westIndex)
	atEast.requireDiscretion(t, p.ToEast, eastUser, eastPassword, eastIndex)
	atWest.requireDiscretion(t, p.ToWest, westUser, westPassword, westIndex)
	requireNoFailedLogin(t, east)
	requireNoFailedLogin(t, west)
	t.Logf("%d switches, %v, %d lost races, logins %v %v", n, l.Count, lost.Load(), atEast.logins, atWest.logins)
}

// TestCredentialsOverOtherNetworks: TLS and Unix sockets, where no proxy can listen; the servers tell of failed logins.
func TestCredentialsOverOtherNetworks(t *testing.T) {
	for name, option := range map[string]redistest.Option{"tls": redistest.TLS(), "unix": redistest.UnixSocket()} {
		t.Run(name, func(t *testing.T) {
			p := &pair.Pair{}
			p.East, p.West = guarded(t, option)
			at := func(server *redistest.Redis, user, password string, index int) *redis.Options {
				opt := login(server.Addr(), user, password, index)
				opt.TLSConfig = server.TLSConfig()
				if name == "unix" {
					opt.Network = "unix"
				}
				return opt
			}
			p.Attach(t, at(p.East, eastUser, eastPassword, eastIndex), at(p.West, westUser, westPassword, westIndex),
				func(o *multidb.Options, r *redis.Options) {
					pair.Calm(o, r)
					r.Username, r.Password, r.DB = clientUser, clientPassword, clientIndex
				})
			l := load.NewTally()
			p.SwitchWhile(t, 10, 4, func(ctx context.Context, _ int) { l.Add("n", 1, p.RDB.Incr(ctx, "n").Err()) })
			require.Equal(t, errorFree, l.Errs)
			require.Equal(t, l.Count["n"], indexed(t, p.East, eastIndex, "n")+indexed(t, p.West, westIndex, "n"))
			for server, index := range map[*redistest.Redis]int{p.East: eastIndex, p.West: westIndex} {
				requireKeysOnlyIn(t, server, index)
				requireNoFailedLogin(t, server)
			}
		})
	}
}

// TestIndexIsTheDatabases, if the database names one; else it is the client's. Whichever way go-redis logs in.
func TestIndexIsTheDatabases(t *testing.T) {
	p := &pair.Pair{}
	p.East, p.West = guarded(t)
	ctx := t.Context()
	for _, own := range []int{0, clientIndex} {
		for _, index := range []int{0, eastIndex} {
			for _, protocol := range []int{2, 3} {
				name := fmt.Sprintf("client %d, database %d, RESP%d", own, index, protocol)
				hook, err := multidb.New(ctx, multidb.Options{Logger: testkit.Log(t), Databases: []multidb.Database{
					{Name: "east", URL: fmt.Sprintf("redis://%s:%s@%s/%d", eastUser, eastPassword, p.East.Addr(), index)},
				}})
				require.NoError(t, err, name)
				rdb := redis.NewClient(&redis.Options{Addr: p.West.Addr(), DB: own, Protocol: protocol, Password: clientPassword})
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
					require.Equal(t, want, indexed(t, p.East, i, name), "%s: index %d", name, i)
				}
			}
		}
	}
	requireNoFailedLogin(t, p.East)
	requireNoFailedLogin(t, p.West)
}

// TestCredentialsProviders: each database may have its own, of both kinds, and they are asked for each connection, so
// that a password can be changed while the hook runs.
func TestCredentialsProviders(t *testing.T) {
	p := startGuarded(t)
	const renewed = "renewed-secret-of-the-west"
	atEast := eavesdrop(p.ToEast, westUser, westPassword, renewed, clientUser, clientPassword)
	atWest := eavesdrop(p.ToWest, eastUser, eastPassword, clientUser, clientPassword)
	var password atomic.Value
	password.Store(westPassword)
	var asked atomic.Int64
	east := &redis.Options{Addr: p.ToEast.Addr(), DB: eastIndex, CredentialsProvider: func() (string, string) {
		asked.Add(1)
		return eastUser, eastPassword
	}}
	west := &redis.Options{Addr: p.ToWest.Addr(), DB: westIndex, CredentialsProviderContext: func(context.Context) (string, string, error) {
		return westUser, password.Load().(string), nil
	}}
	p.Attach(t, east, west, func(_ *multidb.Options, r *redis.Options) { r.Username, r.Password = clientUser, clientPassword })
	ctx := t.Context()
	require.NoError(t, p.RDB.Incr(ctx, "n").Err())
	require.Positive(t, asked.Load())
	require.NoError(t, p.Hook.SetActive(ctx, "west"))
	require.NoError(t, p.RDB.Incr(ctx, "n").Err())
	atEast.requireDiscretion(t, p.ToEast, eastUser, eastPassword, eastIndex)
	atWest.requireDiscretion(t, p.ToWest, westUser, westPassword, westIndex)

	require.NoError(t, p.West.Client().ACLSetUser(ctx, westUser, "resetpass", ">"+renewed).Err())
	password.Store(renewed)
	p.ToWest.Reset() // new connections for everybody
	require.NoError(t, p.RDB.Set(ctx, "k", 1, 0).Err())
	require.Equal(t, "west", p.Hook.Active())
	atWest.mu.Lock()
	defer atWest.mu.Unlock()
	require.Positive(t, atWest.logins[westUser+" "+renewed])
	require.Empty(t, atWest.foreign)
	require.Empty(t, atEast.foreign)
	requireNoFailedLogin(t, p.West)
}
