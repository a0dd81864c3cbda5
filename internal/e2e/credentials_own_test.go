package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// What a user does to a connection is the user's: only the handshake is rewritten. And what nobody may read is written
// nowhere.

// ownCommands are what users say to a server that go-redis says in its handshake, too, in every place where they may say it.
var ownCommands = map[string]func(ctx context.Context, rdb *redis.Client) error{
	"on a Conn": func(ctx context.Context, rdb *redis.Client) error {
		conn := rdb.Conn()
		defer conn.Close()
		for _, err := range []error{
			conn.Select(ctx, 9).Err(),
			conn.Do(ctx, "AUTH", "dave", "secret-of-dave").Err(),
			conn.AuthACL(ctx, "dave", "secret-of-dave").Err(),
			conn.Hello(ctx, 3, "dave", "secret-of-dave", "name-by-hello").Err(),
			conn.ClientSetName(ctx, "my-name").Err(),
			conn.Do(ctx, "CLIENT", "NO-EVICT", "off").Err(),
			conn.Set(ctx, "k", "SELECT 9", 0).Err(),
		} {
			if err != nil {
				return err
			}
		}
		_ = conn.ClientSetInfo(ctx, redis.WithLibraryName("mine")) // unknown to servers before 7.2
		return conn.Select(ctx, 0).Err()
	},
	"first on a Conn, the client's own index": func(ctx context.Context, rdb *redis.Client) error {
		conn := rdb.Conn()
		defer conn.Close()
		if err := conn.Select(ctx, clientIndex).Err(); err != nil {
			return err
		}
		return conn.Set(ctx, "k", 1, 0).Err()
	},
	"first on a Conn, with a value like a handshake's": func(ctx context.Context, rdb *redis.Client) error {
		conn := rdb.Conn()
		defer conn.Close()
		return conn.Echo(ctx, "*2\r\n$6\r\nselect\r\n$1\r\n3\r\n").Err()
	},
	"in a pipeline of their own": func(ctx context.Context, rdb *redis.Client) error {
		conn := rdb.Conn()
		defer conn.Close()
		_, err := conn.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Select(ctx, 9)
			pipe.ClientSetName(ctx, "my-name")
			pipe.AuthACL(ctx, "dave", "secret-of-dave")
			return nil
		})
		return err
	},
	"in a pipeline with others": func(ctx context.Context, rdb *redis.Client) error {
		_, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Select(ctx, 9)
			pipe.Set(ctx, "k", 1, 0)
			pipe.Select(ctx, 0)
			pipe.AuthACL(ctx, "dave", "secret-of-dave")
			return nil
		})
		return err
	},
	"in a transaction": func(ctx context.Context, rdb *redis.Client) error {
		_, err := rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Select(ctx, 9)
			pipe.Set(ctx, "k", 1, 0)
			return nil
		})
		return err
	},
}

// TestOwnCommandsReachTheServerUnchanged: as the first use of a new client and on a connection that is in use, whatever the
// indexes, the server gets what it gets from a client without the hook.
func TestOwnCommandsReachTheServerUnchanged(t *testing.T) {
	server := redistest.Start(t, redistest.Users("dave on >secret-of-dave ~* &* +@all"))
	for name, say := range ownCommands {
		want := heard(t, server, false, true, 0, 0, say)
		for _, warm := range []bool{false, true} {
			for _, index := range [][2]int{{0, 0}, {0, eastIndex}, {clientIndex, clientIndex}, {clientIndex, eastIndex}} {
				t.Run(fmt.Sprintf("%s/warm %v/index %d over %d", name, warm, index[0], index[1]), func(t *testing.T) {
					got := heard(t, server, true, warm, index[0], index[1], say)
					require.GreaterOrEqual(t, len(got), len(want), "%v", got)
					handshake, own := got[:len(got)-len(want)], got[len(got)-len(want):]
					require.Equal(t, want, own)
					require.Equal(t, warm, len(handshake) == 0, "%v", handshake)
				})
			}
		}
	}
}

// heard is what the server is told, without the PINGs of health checks. A warm client has its connections already.
func heard(t *testing.T, server *redistest.Redis, hooked, warm bool, own, index int,
	say func(context.Context, *redis.Client) error,
) (lines []string) {
	t.Helper()
	proxy := faultproxy.Start(t, server.Addr())
	opt := pair.Through(server, proxy)
	opt.DB = own
	rdb := redis.NewClient(opt)
	defer rdb.Close()
	if hooked {
		database := pair.Through(server, proxy)
		database.DB = index
		hook, err := multidb.New(t.Context(), multidb.Options{Databases: []multidb.Database{{Name: "a", Options: database}}, Logger: testkit.Log(t)})
		require.NoError(t, err)
		defer hook.Close()
		rdb.AddHook(hook)
	}
	if warm {
		require.NoError(t, rdb.Echo(t.Context(), "x").Err())
		_, err := rdb.Pipelined(t.Context(), func(pipe redis.Pipeliner) error { return pipe.Echo(t.Context(), "x").Err() })
		require.NoError(t, err) // pipelines have a pool of their own
	}
	proxy.Record(true)
	require.NoError(t, say(t.Context(), rdb))
	for _, c := range proxy.Commands() {
		if c.Name() != "PING" {
			lines = append(lines, fmt.Sprintf("%q", c.Args))
		}
	}
	return lines
}

// shared is a writer for a logger.
type shared struct {
	mu sync.Mutex
	bytes.Buffer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Buffer.Write(p)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Buffer.String()
}

// TestPasswordsAreWrittenNowhere collects everything the hook says while logins work and fail, databases come and go, and
// connections break.
func TestPasswordsAreWrittenNowhere(t *testing.T) {
	p := startGuarded(t)
	var text shared // a logger writes to it, and so do we
	say := func(v any) { _, _ = fmt.Fprintf(&text, "%v %+v %#v\n", v, v, v) }
	ctx := t.Context()
	hook, err := multidb.New(ctx, multidb.Options{
		Databases: []multidb.Database{
			{Name: "east", URL: fmt.Sprintf("redis://%s:%s@%s/5", eastUser, eastPassword, p.ToEast.Addr())},
			{Name: "west", Weight: 0.5, Options: login(p.ToWest.Addr(), westUser, westPassword, westIndex)},
			{Name: "locked", Weight: 0.1, URL: fmt.Sprintf("redis://mallory:wrong-secret@%s", p.ToWest.Addr())},
		},
		Breaker: multidb.Breaker{Delay: 50 * time.Millisecond},
		Logger:  slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Events: multidb.Events{
			OnSwitch:    func(s multidb.Switch) { say(s) },
			OnHealth:    func(c multidb.HealthChange) { say(c) },
			OnAllDown:   func(cause error) { say(cause) },
			OnRecovered: func(database string) { say(database) },
		},
	})
	require.NoError(t, err)
	defer hook.Close()
	rdb := redis.NewClient(&redis.Options{Addr: p.ToEast.Addr(), Username: clientUser, Password: clientPassword})
	defer rdb.Close()
	rdb.AddHook(hook)
	errs := 0
	try := func(err error) {
		if err != nil {
			errs++
			say(err)
			say(fmt.Sprint(multidb.SafeToRetry(err)))
		}
	}
	try(rdb.Incr(ctx, "n").Err())
	require.Zero(t, errs)
	try(hook.SetActive(ctx, "locked"))
	p.ToEast.DropReplies(faultproxy.Named("INCR"))
	try(rdb.Incr(ctx, "n").Err())
	p.ToEast.Refuse()
	redistest.Eventually(t, 20*time.Second, "a switch", func() bool { return hook.Active() == "west" })
	require.NoError(t, p.West.Client().ACLSetUser(ctx, westUser, "resetpass", ">changed-secret").Err())
	p.ToWest.Reset()
	for range 3 {
		try(rdb.Incr(ctx, "n").Err())
		_, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Set(ctx, "k", 1, 0).Err() })
		try(err)
	}
	p.ToWest.Refuse()
	redistest.Eventually(t, 20*time.Second, "the outage", func() bool { return hook.Stats().Down })
	try(rdb.Incr(ctx, "n").Err())
	say(hook.Stats())
	_, err = multidb.New(ctx, multidb.Options{Databases: []multidb.Database{{Name: "x", URL: "redis://u:bad%zz" + eastPassword + "@h"}, {Name: "y", URL: "redis://u:" + eastPassword + "@h:port"}}})
	try(err)
	require.NoError(t, hook.Close())
	require.GreaterOrEqual(t, errs, 6)
	for _, secret := range []string{eastPassword, westPassword, clientPassword, "wrong-secret", "changed-secret"} {
		for line := range strings.Lines(text.String()) {
			require.NotContains(t, line, secret)
			require.NotContains(t, line, url.QueryEscape(secret))
		}
	}
	require.Contains(t, text.String(), "locked", "there must be something to search")
}
