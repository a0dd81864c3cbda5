package e2e_test

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/fakeserver"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// TestWrongPasswordIsNoHealth: a database that refuses the login is no place to go to, and New says why.
func TestWrongPasswordIsNoHealth(t *testing.T) {
	east, west := guarded(t)
	wrong := multidb.Database{Name: "east", Options: login(east.Addr(), eastUser, "wrong-secret", eastIndex)}
	right := multidb.Database{Name: "west", Weight: 0.5, Options: login(west.Addr(), westUser, westPassword, westIndex)}
	t.Run("alone", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		hook, err := multidb.New(ctx, multidb.Options{Databases: []multidb.Database{wrong}, Logger: testkit.Log(t)})
		if hook != nil {
			defer hook.Close()
		}
		require.ErrorIs(t, err, multidb.ErrNoDatabase)
		require.ErrorContains(t, err, `database "east"`)
		require.True(t, redis.IsAuthError(err), "%v", err)
		require.NotContains(t, err.Error(), "wrong-secret")
	})
	t.Run("the preferred one of two", func(t *testing.T) {
		hook, err := multidb.New(t.Context(), multidb.Options{Databases: []multidb.Database{wrong, right}, Logger: testkit.Log(t)})
		require.NoError(t, err)
		defer hook.Close()
		require.Equal(t, "west", hook.Active())
	})
}

// Events: the password of the active database is changed, and the client has one of its own. Its callers get a bare WRONGPASS,
// which counts as an answer, while nobody can log in: no failover.
func TestRefusedLoginIsNoAnswer(t *testing.T) {
	p := pair.New(t, func(_ *multidb.Options, r *redis.Options) { r.Password = "of-the-client" })
	ctx := t.Context()
	require.NoError(t, p.East.Client().Do(ctx, "acl", "setuser", p.East.Options().Username, "resetpass", ">rotated").Err())
	var failed *multidb.CommandError
	redistest.Eventually(t, 20*time.Second, "the failover", func() bool {
		conn := p.RDB.Conn()
		defer conn.Close()
		if err := conn.Set(ctx, "k", 1, 0).Err(); err != nil {
			require.ErrorAs(t, err, &failed)
			require.True(t, multidb.SafeToRetry(err), "%v", err)
			require.True(t, redis.IsAuthError(err), "%v", err)
		}
		return p.Hook.Active() == "west"
	})
	require.NoError(t, p.RDB.Set(ctx, "k", 1, 0).Err())
}

// Events: the password of the active database has been changed there, and a new connection is needed. A command is run on the
// other database after the verdict; a pipeline and a transaction failed, although nothing of them was sent, and their commands
// had no error: go-redis leaves a batch as it is if the error is a reply, which that of a login is behind it all.
func TestBatchAfterARefusedLoginIsRunElsewhere(t *testing.T) {
	type client = *redis.Client
	for name, run := range map[string]func(context.Context, client) error{
		"command": func(ctx context.Context, rdb client) error { return rdb.Incr(ctx, "n").Err() },
		"pipeline": func(ctx context.Context, rdb client) error {
			_, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Incr(ctx, "n").Err() })
			return err
		},
		"transaction": func(ctx context.Context, rdb client) error {
			_, err := rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Incr(ctx, "n").Err() })
			return err
		},
	} {
		for _, own := range []string{"", "own"} {
			t.Run(name+", password "+own, func(t *testing.T) {
				var refuse, refuseWest atomic.Bool
				serve := func(refuse *atomic.Bool) *fakeserver.Server {
					return fakeserver.Listen(t, func(_ net.Conn, args []string) (string, bool) {
						switch verb := strings.ToLower(args[0]); {
						case refuse.Load() && (verb == "hello" || verb == "auth"):
							return "-WRONGPASS invalid username-password pair or user is disabled.\r\n", true
						case verb == "incr" && name == "transaction":
							return "+QUEUED\r\n", true
						case verb == "incr":
							return ":1\r\n", true
						case verb == "exec":
							return "*1\r\n:1\r\n", true
						}
						return fakeserver.Default(args), true
					})
				}
				east, west := serve(&refuse), serve(&refuseWest)
				h := pair.Hook(t, multidb.Options{Initial: multidb.InitialAll, Databases: pair.Databases(":secret@"+east.Addr(), ":secret@"+west.Addr())})
				rdb := redis.NewClient(&redis.Options{Addr: east.Addr(), Password: own})
				defer rdb.Close()
				rdb.AddHook(h)
				refuse.Store(true)
				require.NoError(t, run(t.Context(), rdb))
				require.Equal(t, 0, east.Count("incr"))
				require.Equal(t, 1, west.Count("incr"), "once")
			})
		}
	}
}

// Events: a URL whose password holds a # or a / that was not escaped, the common mistake. net/url's inner error quotes
// what it takes for a port: the password.
func TestURLErrorShowsNoPassword(t *testing.T) {
	for _, url := range []string{
		"redis://user:s3cret#x@host:6379", "redis://:s3cret/x@host:6379", "redis://:s3cret?x@host:6379", "redis://user:%s3cret@host:6379",
		"redis://user:s3cret@host:6379/notanumber", "http://user:s3cret@host", "redis://user:s3cret@host:6379?bogus=1", "user:s3cret@host:6379",
		"redis://user:s3cret @host:6379", "redis://user:s3cret@host:port", "rediss://user:s3cret@[host", "redis:user:s3cret@host",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := multidb.New(ctx, multidb.Options{Logger: slog.New(slog.DiscardHandler), Databases: []multidb.Database{{Name: "east", URL: url}}})
		if err != nil && (strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "%s3")) {
			t.Errorf("%s: %v", url, err)
		}
	}
}
