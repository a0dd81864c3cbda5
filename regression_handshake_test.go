package multidb

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/resp"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

var regressionNoMaint = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}

// Events: the first user's request on a fresh connection is a pipeline that begins with a CLIENT command. The wrapper
// takes all of it for a step of the handshake; the server executes it and dies; the failure says "not sent"; the INCR in
// the pipeline is run again.
func TestRegressionPipelineBeginningWithClientIsDoubled(t *testing.T) {
	var incr atomic.Int64
	server := regressionListen(t, func(_ net.Conn, args []string) (string, bool) {
		if strings.EqualFold(args[0], "incr") {
			return ":1\r\n", incr.Add(1) > 1
		}
		return regressionDefault(args), true
	})
	h := regressionHook(t, Options{Databases: []Database{{Name: "only", URL: "redis://" + server.addr()}}})
	rdb := redis.NewClient(&redis.Options{Addr: server.addr(), DisableIdentity: true, MaintNotificationsConfig: regressionNoMaint})
	defer rdb.Close()
	rdb.AddHook(h)
	_, err := rdb.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		p.ClientUnpause(t.Context())
		p.Incr(t.Context(), "n")
		return nil
	})
	t.Log(err)
	require.EqualValues(t, 1, incr.Load(), "INCR was sent, not answered, and run again")
}

// Events: a client with DB 0 and no option pipeline (DisableIdentity, no maintenance notifications). The first request
// of its first connection is the user's own SELECT 5 on a Conn. The wrapper takes it for the handshake's and selects 0:
// the SELECT is answered OK and everything after it goes to the wrong index, silently.
func TestRegressionUsersFirstSelectIsRewritten(t *testing.T) {
	east := redistest.Start(t)
	h := regressionHook(t, Options{Databases: []Database{{Name: "east", URL: "redis://" + east.Addr()}}})
	rdb := redis.NewClient(&redis.Options{Addr: east.Addr(), DisableIdentity: true, MaintNotificationsConfig: regressionNoMaint})
	defer rdb.Close()
	rdb.AddHook(h)
	conn := rdb.Conn()
	defer conn.Close()
	require.NoError(t, conn.Select(t.Context(), 5).Err())
	require.NoError(t, conn.Set(t.Context(), "k", "v", 0).Err())
	require.Zero(t, rdb.Exists(t.Context(), "k").Val(), "SELECT 5 was answered OK and the SET went to index 0")
}

// Events: the client was made with a small WriteBufferSize (a memory setting of go-redis) or has a token longer than
// the buffer, so that HELLO reaches the wrapper in pieces. The first piece does not parse; the next ones begin with no
// known name, so "the handshake is over" and they pass unchanged: the client's own password goes to another database.
func TestRegressionHelloInPiecesLeaksPassword(t *testing.T) {
	east := regressionListen(t, func(_ net.Conn, args []string) (string, bool) { return regressionDefault(args), true })
	west := regressionListen(t, func(_ net.Conn, args []string) (string, bool) { return regressionDefault(args), true })
	h := regressionHook(t, Options{Databases: []Database{
		{Name: "west", URL: "redis://:westpassword@" + west.addr()},
		{Name: "east", Weight: .5, URL: "redis://:eastpassword@" + east.addr()},
	}})
	rdb := redis.NewClient(&redis.Options{Addr: east.addr(), Password: "eastpassword", WriteBufferSize: 32})
	defer rdb.Close()
	rdb.AddHook(h)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	t.Log(rdb.Get(ctx, "k").Err())
	west.mu.Lock()
	defer west.mu.Unlock()
	require.False(t, strings.Contains(string(west.raw), "eastpassword"), "the password of east was sent to west")
}

// The same with a default buffer: a long token (a JWT, > 32 KiB) is written past the buffer in pieces.
func TestRegressionLongTokenLeaks(t *testing.T) {
	token := strings.Repeat("eastpassword", 3000)
	east := regressionListen(t, func(_ net.Conn, args []string) (string, bool) { return regressionDefault(args), true })
	west := regressionListen(t, func(_ net.Conn, args []string) (string, bool) { return regressionDefault(args), true })
	h := regressionHook(t, Options{Databases: []Database{{Name: "west", URL: "redis://:westpassword@" + west.addr()}}})
	rdb := redis.NewClient(&redis.Options{Addr: east.addr(), Password: token})
	defer rdb.Close()
	rdb.AddHook(h)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	t.Log(rdb.Get(ctx, "k").Err())
	west.mu.Lock()
	defer west.mu.Unlock()
	require.False(t, strings.Contains(string(west.raw), "eastpassword"), "the token of east was sent to west")
}

// Events: a server (or proxy) that does not know HELLO and needs a password; the client itself was made without one
// (its own database needs none). go-redis sends AUTH only if the CLIENT has a password, so the database's is never used.
func TestRegressionServerWithoutHelloGetsNoPassword(t *testing.T) {
	old := func(authed *atomic.Bool) func(net.Conn, []string) (string, bool) {
		return func(_ net.Conn, args []string) (string, bool) {
			switch strings.ToLower(args[0]) {
			case "hello":
				return "-ERR unknown command 'HELLO'\r\n", true
			case "auth":
				authed.Store(true)
				return "+OK\r\n", true
			}
			if !authed.Load() {
				return "-NOAUTH Authentication required.\r\n", true
			}
			return regressionDefault(args), true
		}
	}
	var authed atomic.Bool
	server := regressionListen(t, old(&authed))
	h := regressionHook(t, Options{Databases: []Database{{Name: "west", URL: "redis://:westpassword@" + server.addr()}}})
	authed.Store(false) // only the probe's connection has logged in
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer rdb.Close()
	rdb.AddHook(h)
	require.NoError(t, rdb.Set(t.Context(), "k", "v", 0).Err())
}

// Events: the other way round: the client has a password, the database needs none and does not know HELLO. The wrapper
// sends "AUTH" with an empty password, which such a server refuses; no connection is ever made.
func TestRegressionServerWithoutHelloAndPassword(t *testing.T) {
	server := regressionListen(t, func(_ net.Conn, args []string) (string, bool) {
		switch strings.ToLower(args[0]) {
		case "hello":
			return "-ERR unknown command 'HELLO'\r\n", true
		case "auth":
			return "-ERR Client sent AUTH, but no password is set\r\n", true
		}
		return regressionDefault(args), true
	})
	h := regressionHook(t, Options{Databases: []Database{{Name: "west", URL: "redis://" + server.addr()}}})
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", Password: "clientpassword"})
	defer rdb.Close()
	rdb.AddHook(h)
	require.NoError(t, rdb.Set(t.Context(), "k", "v", 0).Err())
}

// Events: two databases, each a Sentinel group; the client is a FailoverClient of the first. Every FailoverClient has
// Options().Addr "FailoverClient", so the hook takes the client's own dialer for the second group as well: after the
// switch, commands for west go to east's master, with west's credentials.
func TestRegressionSentinelClientsAreConfused(t *testing.T) {
	redisOf := func() *regressionServer {
		return regressionListen(t, func(_ net.Conn, args []string) (string, bool) { return regressionDefault(args), true })
	}
	sentinelOf := func(master *regressionServer) *regressionServer {
		host, port, _ := net.SplitHostPort(master.addr())
		return regressionListen(t, func(_ net.Conn, args []string) (string, bool) {
			if strings.EqualFold(args[0], "sentinel") && strings.EqualFold(args[1], "get-master-addr-by-name") {
				return string(resp.Encode(host, port)), true
			}
			if strings.EqualFold(args[0], "sentinel") {
				return "*0\r\n", true
			}
			if strings.EqualFold(args[0], "subscribe") || strings.EqualFold(args[0], "psubscribe") {
				return "", true
			}
			return regressionDefault(args), true
		})
	}
	east, west := redisOf(), redisOf()
	se, sw := sentinelOf(east), sentinelOf(west)
	failover := func(s *regressionServer, password string) *redis.FailoverOptions {
		return &redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{s.addr()}, Password: password}
	}
	h := regressionHook(t, Options{Databases: []Database{
		{Name: "east", Failover: failover(se, "eastpassword")}, {Name: "west", Weight: .5, Failover: failover(sw, "westpassword")},
	}})
	rdb := redis.NewFailoverClient(failover(se, "eastpassword"))
	defer rdb.Close()
	rdb.AddHook(h)
	require.NoError(t, rdb.Set(t.Context(), "k1", "v", 0).Err())
	require.NoError(t, h.SetActive(t.Context(), "west"))
	require.NoError(t, rdb.Set(t.Context(), "k2", "v", 0).Err())
	east.mu.Lock()
	raw := string(east.raw)
	east.mu.Unlock()
	if west.count("set k2") != 1 {
		t.Errorf("west is active; SET k2 reached west %d times and east %d times", west.count("set k2"), east.count("set k2"))
	}
	if strings.Contains(raw, "westpassword") {
		t.Error("the password of west was sent to east")
	}
}

// Events: the client and the database name the same address, and only the database says how to get there (TLS; the same
// with a Dialer of its own). The hook uses the client's dialer because the address is equal: health checks pass over TLS,
// the database's password goes over the wire in clear, and no command ever works.
func TestRegressionSameAddressLosesTLS(t *testing.T) {
	east := redistest.Start(t, redistest.TLS())
	h := regressionHook(t, Options{Databases: []Database{{Name: "east", Options: east.Options()}}})
	rdb := redis.NewClient(&redis.Options{Addr: east.Addr()})
	defer rdb.Close()
	rdb.AddHook(h)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	require.NoError(t, rdb.Set(ctx, "k", "v", 0).Err(), "status: %+v", h.Stats().Databases[0].Breaker)
}

// Events: the two sites use one address behind dialers of their own (tunnels). The client has east's. After a switch to
// west the hook uses the client's dialer, for the address is equal: "west" is east.
func TestRegressionSameAddressOtherDialer(t *testing.T) {
	east, west := regressionPair(t)
	to := func(r *redistest.Redis) func(context.Context, string, string) (net.Conn, error) {
		return func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", r.Addr())
		}
	}
	h := regressionHook(t, Options{Databases: []Database{
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
