package e2e_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/fakeserver"
	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// Events: the first user's request on a fresh connection is a pipeline that begins with a CLIENT command. The wrapper
// takes all of it for a step of the handshake; the server executes it and dies; the failure says "not sent"; the INCR in
// the pipeline is run again.
func TestPipelineBeginningWithClientIsRunOnce(t *testing.T) {
	var incr atomic.Int64
	server := fakeserver.Listen(t, func(_ net.Conn, args []string) (string, bool) {
		if strings.EqualFold(args[0], "incr") {
			return ":1\r\n", incr.Add(1) > 1
		}
		return fakeserver.Default(args), true
	})
	h := pair.Hook(t, multidb.Options{Databases: []multidb.Database{{Name: "only", URL: "redis://" + server.Addr()}}})
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), DisableIdentity: true, MaintNotificationsConfig: noMaintenance})
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

var noMaintenance = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}

// Events: a client with DB 0 and no option pipeline (DisableIdentity, no maintenance notifications). The first request
// of its first connection is the user's own SELECT 5 on a Conn. The wrapper takes it for the handshake's and selects 0:
// the SELECT is answered OK and everything after it goes to the wrong index, silently.
func TestUsersFirstSelectIsTheirs(t *testing.T) {
	east := redistest.Start(t)
	h := pair.Hook(t, multidb.Options{Databases: []multidb.Database{{Name: "east", URL: "redis://" + east.Addr()}}})
	rdb := redis.NewClient(&redis.Options{Addr: east.Addr(), DisableIdentity: true, MaintNotificationsConfig: noMaintenance})
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
func TestHelloInPiecesKeepsThePassword(t *testing.T) {
	east := fakeserver.Listen(t, func(_ net.Conn, args []string) (string, bool) { return fakeserver.Default(args), true })
	west := fakeserver.Listen(t, func(_ net.Conn, args []string) (string, bool) { return fakeserver.Default(args), true })
	h := pair.Hook(t, multidb.Options{Databases: []multidb.Database{
		{Name: "west", URL: "redis://:westpassword@" + west.Addr()},
		{Name: "east", Weight: .5, URL: "redis://:eastpassword@" + east.Addr()},
	}})
	rdb := redis.NewClient(&redis.Options{Addr: east.Addr(), Password: "eastpassword", WriteBufferSize: 32})
	defer rdb.Close()
	rdb.AddHook(h)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	t.Log(rdb.Get(ctx, "k").Err())
	require.False(t, strings.Contains(west.Raw(), "eastpassword"), "the password of east was sent to west")
}

// The same with a default buffer: a long token (a JWT, > 32 KiB) is written past the buffer in pieces.
func TestLongTokenIsKept(t *testing.T) {
	token := strings.Repeat("eastpassword", 3000)
	east := fakeserver.Listen(t, func(_ net.Conn, args []string) (string, bool) { return fakeserver.Default(args), true })
	west := fakeserver.Listen(t, func(_ net.Conn, args []string) (string, bool) { return fakeserver.Default(args), true })
	h := pair.Hook(t, multidb.Options{Databases: []multidb.Database{{Name: "west", URL: "redis://:westpassword@" + west.Addr()}}})
	rdb := redis.NewClient(&redis.Options{Addr: east.Addr(), Password: token})
	defer rdb.Close()
	rdb.AddHook(h)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	t.Log(rdb.Get(ctx, "k").Err())
	require.False(t, strings.Contains(west.Raw(), "eastpassword"), "the token of east was sent to west")
}

// Events: a server (or proxy) that does not know HELLO and needs a password; the client itself was made without one
// (its own database needs none). go-redis sends AUTH only if the CLIENT has a password, so the database's is never used.
func TestServerWithoutHelloGetsThePassword(t *testing.T) {
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
			return fakeserver.Default(args), true
		}
	}
	var authed atomic.Bool
	server := fakeserver.Listen(t, old(&authed))
	h := pair.Hook(t, multidb.Options{Databases: []multidb.Database{{Name: "west", URL: "redis://:westpassword@" + server.Addr()}}})
	authed.Store(false) // only the probe's connection has logged in
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer rdb.Close()
	rdb.AddHook(h)
	require.NoError(t, rdb.Set(t.Context(), "k", "v", 0).Err())
}

// Events: the other way round: the client has a password, the database needs none and does not know HELLO. The wrapper
// sends "AUTH" with an empty password, which such a server refuses; no connection is ever made.
func TestServerWithoutHelloAndPassword(t *testing.T) {
	server := fakeserver.Listen(t, func(_ net.Conn, args []string) (string, bool) {
		switch strings.ToLower(args[0]) {
		case "hello":
			return "-ERR unknown command 'HELLO'\r\n", true
		case "auth":
			return "-ERR Client sent AUTH, but no password is set\r\n", true
		}
		return fakeserver.Default(args), true
	})
	h := pair.Hook(t, multidb.Options{Databases: []multidb.Database{{Name: "west", URL: "redis://" + server.Addr()}}})
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", Password: "clientpassword"})
	defer rdb.Close()
	rdb.AddHook(h)
	require.NoError(t, rdb.Set(t.Context(), "k", "v", 0).Err())
}

// slowSelect holds a SELECT up.
type slowSelect struct{ in, out chan struct{} }

func (slowSelect) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s slowSelect) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "select" {
			close(s.in)
			<-s.out
		}
		return next(ctx, cmd)
	}
}

func (slowSelect) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// Events: the client uses index 5, the database index 3. While somebody's SELECT is under way on a Conn, a clone dials a
// connection into the shared pool. Its handshake's SELECT 5 is taken for a user's, and the connection stays in index 5.
func TestCloneConnectionIsInTheDatabasesIndex(t *testing.T) {
	east := redistest.Start(t)
	opt := *east.Options()
	opt.DB = 3
	h := pair.Hook(t, multidb.Options{Databases: []multidb.Database{{Name: "east", Options: &opt}}})
	rdb := redis.NewClient(&redis.Options{Addr: east.Addr(), DB: 5, MaintNotificationsConfig: testkit.MaintenanceOff()})
	defer rdb.Close()
	slow := slowSelect{make(chan struct{}), make(chan struct{})}
	rdb.AddHook(h)
	rdb.AddHook(slow)
	ctx := t.Context()
	conn := rdb.Conn()
	defer conn.Close()
	require.NoError(t, conn.Ping(ctx).Err())
	clone := rdb.WithTimeout(5 * time.Second)
	selected := make(chan error, 1)
	go func() { selected <- conn.Select(ctx, 1).Err() }()
	<-slow.in
	require.NoError(t, clone.Set(ctx, "k", "v", 0).Err())
	close(slow.out)
	require.NoError(t, <-selected)
	require.NoError(t, rdb.Set(ctx, "k2", "v", 0).Err())
	direct := redis.NewClient(&opt)
	defer direct.Close()
	n, err := direct.Exists(ctx, "k", "k2").Result()
	require.NoError(t, err)
	require.EqualValues(t, 2, n, "both in index 3")
}

// TestHandshakeIsRunAgain: what is lost before the request was written is run again, whoever would have retried it.
func TestHandshakeIsRunAgain(t *testing.T) {
	for _, retries := range []int{-1, 0} {
		for _, name := range []string{"HELLO", "CLIENT"} {
			t.Run(fmt.Sprintf("%s/MaxRetries %d", name, retries), func(t *testing.T) {
				p := pair.NewProxied(t, func(_ *multidb.Options, r *redis.Options) { r.MaxRetries = retries })
				// The health check that follows the start would meet the faults as well, twice at worst.
				redistest.Eventually(t, 20*time.Second, "the check after the start", func() bool { return p.ToEast.Count("PING") >= 2 })
				require.NoError(t, p.RDB.Set(t.Context(), "k", "v", 0).Err())
				for i := range 2 { // five failures of ten would be a reason to leave
					p.ToEast.Reset() // a new connection, the first of which is lost in its handshake
					p.ToEast.DropReplies(faultproxy.First(1, faultproxy.Named(name)))
					require.NoError(t, p.RDB.Incr(t.Context(), "n").Err(), "call %d", i)
					require.Equal(t, "east", p.Hook.Active())
				}
				require.EqualValues(t, 2, p.Sum(t, "n"))
			})
		}
	}
}
