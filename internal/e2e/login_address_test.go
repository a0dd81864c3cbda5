package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/resp"
	"github.com/redishook/multidb/internal/testkit/fakeserver"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// Events: the client and the database name the same address, and only the database says how to get there (TLS; the same
// with a Dialer of its own). The hook uses the client's dialer because the address is equal: health checks pass over TLS,
// the database's password goes over the wire in clear, and no command ever works.
func TestSameAddressKeepsTLS(t *testing.T) {
	east := redistest.Start(t, redistest.TLS())
	h := pair.Hook(t, multidb.Options{Databases: []multidb.Database{{Name: "east", Options: east.Options()}}})
	rdb := redis.NewClient(&redis.Options{Addr: east.Addr()})
	defer rdb.Close()
	rdb.AddHook(h)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	require.NoError(t, rdb.Set(ctx, "k", "v", 0).Err(), "status: %+v", h.Stats().Databases[0].Breaker)
}

// Events: the two sites use one address behind dialers of their own (tunnels). The client has east's. After a switch to
// west the hook uses the client's dialer, for the address is equal: "west" is east.
func TestSameAddressKeepsTheDialer(t *testing.T) {
	east, west := pair.Servers(t)
	to := func(r *redistest.Redis) func(context.Context, string, string) (net.Conn, error) {
		return func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", r.Addr())
		}
	}
	h := pair.Hook(t, multidb.Options{Databases: []multidb.Database{
		{Name: "east", Options: &redis.Options{Addr: "redis:6379", Dialer: to(east)}},
		{Name: "west", Weight: .5, Options: &redis.Options{Addr: "redis:6379", Dialer: to(west)}},
	}})
	rdb := redis.NewClient(&redis.Options{Addr: "redis:6379", Dialer: to(east)})
	defer rdb.Close()
	rdb.AddHook(h)
	require.NoError(t, h.SetActive(t.Context(), "west"))
	require.NoError(t, rdb.Set(t.Context(), "k", "v", 0).Err())
	require.EqualValues(t, 1, west.Client().Exists(t.Context(), "k").Val(), "west is active and the SET went to east")
}

// Events: two databases, each a Sentinel group; the client is a FailoverClient of the first. Every FailoverClient has
// Options().Addr "FailoverClient", so the hook takes the client's own dialer for the second group as well: after the
// switch, commands for west go to east's master, with west's credentials.
func TestSentinelClientsOfTwoGroups(t *testing.T) {
	redisOf := func() *fakeserver.Server {
		return fakeserver.Listen(t, func(_ net.Conn, args []string) (string, bool) { return fakeserver.Default(args), true })
	}
	sentinelOf := func(master *fakeserver.Server) *fakeserver.Server {
		host, port, _ := net.SplitHostPort(master.Addr())
		return fakeserver.Listen(t, func(_ net.Conn, args []string) (string, bool) {
			if strings.EqualFold(args[0], "sentinel") && strings.EqualFold(args[1], "get-master-addr-by-name") {
				return string(resp.Encode(host, port)), true
			}
			if strings.EqualFold(args[0], "sentinel") {
				return "*0\r\n", true
			}
			if strings.EqualFold(args[0], "subscribe") || strings.EqualFold(args[0], "psubscribe") {
				return "", true
			}
			return fakeserver.Default(args), true
		})
	}
	east, west := redisOf(), redisOf()
	se, sw := sentinelOf(east), sentinelOf(west)
	failover := func(s *fakeserver.Server, password string) *redis.FailoverOptions {
		return &redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{s.Addr()}, Password: password}
	}
	h := pair.Hook(t, multidb.Options{Databases: []multidb.Database{
		{Name: "east", Failover: failover(se, "eastpassword")}, {Name: "west", Weight: .5, Failover: failover(sw, "westpassword")},
	}})
	rdb := redis.NewFailoverClient(failover(se, "eastpassword"))
	defer rdb.Close()
	rdb.AddHook(h)
	require.NoError(t, rdb.Set(t.Context(), "k1", "v", 0).Err())
	require.NoError(t, h.SetActive(t.Context(), "west"))
	require.NoError(t, rdb.Set(t.Context(), "k2", "v", 0).Err())
	raw := east.Raw()
	if west.Count("set k2") != 1 {
		t.Errorf("west is active; SET k2 reached west %d times and east %d times", west.Count("set k2"), east.Count("set k2"))
	}
	if strings.Contains(raw, "westpassword") {
		t.Error("the password of west was sent to east")
	}
}

// fakeSentinel is a fake Sentinel whose master can be changed; subscribers are told, as real ones are.
type fakeSentinel struct {
	*fakeserver.Server
	mu     sync.Mutex
	master *fakeserver.Server
	subs   []net.Conn
}

func (s *fakeSentinel) failover(to *fakeserver.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h1, p1, _ := net.SplitHostPort(s.master.Addr())
	h2, p2, _ := net.SplitHostPort(to.Addr())
	s.master = to
	msg := fmt.Sprintf("m %s %s %s %s", h1, p1, h2, p2)
	for _, c := range s.subs {
		_, _ = io.WriteString(c, fmt.Sprintf(">3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n$%d\r\n%s\r\n", len(msg), msg))
	}
}

func newFakeSentinel(t *testing.T, master *fakeserver.Server) *fakeSentinel {
	s := &fakeSentinel{master: master}
	s.Server = fakeserver.Listen(t, func(c net.Conn, args []string) (string, bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch strings.ToLower(args[0]) {
		case "sentinel":
			if strings.EqualFold(args[1], "get-master-addr-by-name") {
				host, port, _ := net.SplitHostPort(s.master.Addr())
				return string(resp.Encode(host, port)), true
			}
			return "*0\r\n", true
		case "subscribe":
			s.subs = append(s.subs, c)
			var b strings.Builder
			for i, ch := range args[1:] {
				fmt.Fprintf(&b, ">3\r\n$9\r\nsubscribe\r\n$%d\r\n%s\r\n:%d\r\n", len(ch), ch, i+1)
			}
			return b.String(), true
		}
		return fakeserver.Default(args), true
	})
	return s
}

// Events: Sentinel promotes another node while the old master is alive (a partition, or a replica that answers reads).
// go-redis closes the connections of the pool that asks Sentinel, which is that of the probes; the client's stay where they
// are, with every write that goes there.
func TestConnectionsFollowTheNewMaster(t *testing.T) {
	node := func() *fakeserver.Server {
		return fakeserver.Listen(t, func(_ net.Conn, args []string) (string, bool) { return fakeserver.Default(args), true })
	}
	first, second := node(), node()
	sentinel := newFakeSentinel(t, first)
	h := pair.Hook(t, multidb.Options{
		Databases: []multidb.Database{{Name: "group", Failover: &redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{sentinel.Addr()}}}},
		Health:    multidb.Health{Interval: 200 * time.Millisecond},
	})
	rdb := redis.NewClient(&redis.Options{Addr: "elsewhere:6379"})
	defer rdb.Close()
	rdb.AddHook(h)
	ctx := t.Context()
	require.NoError(t, rdb.Set(ctx, "k", "v", 0).Err())
	require.Equal(t, 1, first.Count("set k"))
	sentinel.failover(second)
	redistest.Eventually(t, 10*time.Second, "the new master", func() bool {
		require.NoError(t, rdb.Set(ctx, "k", "v", 0).Err())
		return second.Count("set k") > 0
	})
	before := first.Count("set k")
	for range 20 {
		require.NoError(t, rdb.Set(ctx, "k", "v", 0).Err())
	}
	require.Equal(t, before, first.Count("set k"))
}

// Events: a server that is no sentinel stands in SentinelAddrs; it answers "unknown command 'SENTINEL'", or NOPERM, which as
// the reply of a database means that it is there and well. So a database that cannot be dialed is healthy.
func TestReplyOfASentinelIsNotTheDatabases(t *testing.T) {
	for name, reply := range map[string]string{
		"no sentinel":  "-ERR unknown command 'SENTINEL', with args beginning with: 'get-master-addr-by-name'\r\n",
		"no rights":    "-NOPERM this user has no permissions to run the 'sentinel' command\r\n",
		"no password":  "-NOAUTH Authentication required.\r\n",
		"wrong secret": "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			server := fakeserver.Listen(t, func(_ net.Conn, args []string) (string, bool) {
				if strings.EqualFold(args[0], "sentinel") {
					return reply, true
				}
				return fakeserver.Default(args), true
			})
			west := redistest.Start(t)
			h := pair.Hook(t, multidb.Options{
				Databases: []multidb.Database{
					{Name: "group", Failover: &redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{server.Addr()}}},
					{Name: "west", Weight: 0.5, URL: "redis://" + west.Addr()},
				},
			})
			require.Equal(t, "west", h.Active())
			require.Equal(t, multidb.BreakerOpen, h.Stats().Databases[0].Breaker)
			require.ErrorContains(t, h.SetActive(t.Context(), "group"), reply[1:7], "and it says why")
		})
	}
}
