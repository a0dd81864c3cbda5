package e2e_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/resp"
	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/fakeserver"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// sourceKind is one way to say where a database is and who logs in there.
type sourceKind struct {
	server redistest.Option // nil: a plain one
	source func(t *testing.T, server *redistest.Redis, login *redis.Options) multidb.Database
}

var sourceKinds = map[string]sourceKind{
	"redis URL": {nil, func(_ *testing.T, _ *redistest.Redis, login *redis.Options) multidb.Database {
		u := url.URL{Scheme: "redis", User: userOf(login), Host: login.Addr, Path: fmt.Sprint(login.DB)}
		return multidb.Database{URL: u.String()}
	}},
	"rediss URL": {redistest.TLS(), func(_ *testing.T, _ *redistest.Redis, login *redis.Options) multidb.Database {
		u := url.URL{Scheme: "rediss", User: userOf(login), Host: login.Addr, Path: fmt.Sprint(login.DB), RawQuery: "skip_verify=true"}
		return multidb.Database{URL: u.String()}
	}},
	"unix URL": {redistest.UnixSocket(), func(_ *testing.T, _ *redistest.Redis, login *redis.Options) multidb.Database {
		u := url.URL{Scheme: "unix", User: userOf(login), Path: login.Addr, RawQuery: fmt.Sprint("db=", login.DB)}
		return multidb.Database{URL: u.String()}
	}},
	"Options": {nil, func(_ *testing.T, _ *redistest.Redis, login *redis.Options) multidb.Database {
		return multidb.Database{Options: login}
	}},
	"Options with TLS": {redistest.TLS(), func(_ *testing.T, server *redistest.Redis, login *redis.Options) multidb.Database {
		login.TLSConfig = server.TLSConfig()
		return multidb.Database{Options: login}
	}},
	"Options with the path of a socket": {redistest.UnixSocket(), func(_ *testing.T, _ *redistest.Redis, login *redis.Options) multidb.Database {
		return multidb.Database{Options: login}
	}},
	"Client": {redistest.TLS(), func(t *testing.T, server *redistest.Redis, login *redis.Options) multidb.Database {
		login.TLSConfig = server.TLSConfig()
		return multidb.Database{Client: closedLater(t, redis.NewClient(login))}
	}},
	"Failover": {nil, func(t *testing.T, _ *redistest.Redis, login *redis.Options) multidb.Database {
		return multidb.Database{Failover: groupOf(t, login)}
	}},
	"Client of a Sentinel group": {nil, func(t *testing.T, _ *redistest.Redis, login *redis.Options) multidb.Database {
		return multidb.Database{Client: closedLater(t, redis.NewFailoverClient(groupOf(t, login)))}
	}},
}

// TestKindsOfSource: each leads to the right server, user and index, before a switch and after it, and what was lent to the
// hook is as it was when the hook has been closed.
func TestKindsOfSource(t *testing.T) {
	for name, kind := range sourceKinds {
		t.Run(name, func(t *testing.T) {
			var servers []redistest.Option
			if kind.server != nil {
				servers = append(servers, kind.server)
			}
			east, west := guarded(t, servers...)
			dbs := []multidb.Database{
				kind.source(t, east, login(east.Addr(), eastUser, eastPassword, eastIndex)),
				kind.source(t, west, login(west.Addr(), westUser, westPassword, westIndex)),
			}
			dbs[0].Name, dbs[1].Name, dbs[1].Weight = "east", "west", 0.5
			hook, err := multidb.New(t.Context(), multidb.Options{Databases: dbs, Failback: multidb.Failback{GracePeriod: -1}, Logger: testkit.Log(t)})
			require.NoError(t, err)
			defer hook.Close()
			rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", Username: clientUser, Password: clientPassword, DB: clientIndex})
			defer rdb.Close()
			rdb.AddHook(hook)

			requireWork(t, rdb, 1)
			require.NoError(t, hook.SetActive(t.Context(), "west"))
			requireWork(t, rdb, 1)
			require.NoError(t, hook.SetActive(t.Context(), "east"))
			requireWork(t, rdb, 2)
			require.NoError(t, hook.Close())
			requireWork(t, rdb, 3)

			for key, want := range map[string][2]int64{"single": {3, 1}, "pipeline": {3, 1}, "transaction": {3, 1}} {
				require.Equal(t, want, [2]int64{indexed(t, east, eastIndex, key), indexed(t, west, westIndex, key)}, key)
			}
			requireKeysOnlyIn(t, east, eastIndex)
			requireKeysOnlyIn(t, west, westIndex)
			requireNoFailedLogin(t, east)
			requireNoFailedLogin(t, west)
			for _, db := range dbs {
				if db.Client != nil {
					require.NoError(t, db.Client.Incr(t.Context(), "single").Err(), "a ready client stays open, also for commands")
				}
			}
		})
	}
}

// requireWork increments a counter in each of the ways that take a pool or a batch of their own.
func requireWork(t *testing.T, rdb *redis.Client, want int64) {
	t.Helper()
	ctx := t.Context()
	n, err := rdb.Incr(ctx, "single").Result()
	require.NoError(t, err)
	require.Equal(t, want, n)
	for key, batch := range map[string]func(context.Context, func(redis.Pipeliner) error) ([]redis.Cmder, error){
		"pipeline": rdb.Pipelined, "transaction": rdb.TxPipelined,
	} {
		_, err := batch(ctx, func(pipe redis.Pipeliner) error { return pipe.Incr(ctx, key).Err() })
		require.NoError(t, err, key)
	}
}

func userOf(login *redis.Options) *url.Userinfo {
	return url.UserPassword(login.Username, login.Password)
}

func closedLater(t *testing.T, c *redis.Client) *redis.Client {
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// groupOf is a Sentinel group whose master is the place of the login, watched by a Sentinel of the test's own.
func groupOf(t *testing.T, login *redis.Options) *redis.FailoverOptions {
	host, port, err := net.SplitHostPort(login.Addr)
	require.NoError(t, err)
	sentinel := fakeserver.Listen(t, func(_ net.Conn, args []string) (string, bool) {
		switch what := strings.ToLower(args[0]); {
		case what == "sentinel" && strings.EqualFold(args[1], "get-master-addr-by-name"):
			return string(resp.Encode(host, port)), true
		case what == "sentinel":
			return "*0\r\n", true
		case what == "subscribe", what == "psubscribe":
			return "", true
		}
		return fakeserver.Default(args), true
	})
	return &redis.FailoverOptions{
		MasterName: "m", SentinelAddrs: []string{sentinel.Addr()}, Username: login.Username, Password: login.Password, DB: login.DB,
	}
}
