package multidb

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// Events: the password of the active database has been changed there, and a new connection is needed. A command is run on the
// other database after the verdict; a pipeline and a transaction failed, although nothing of them was sent, and their commands
// had no error: go-redis leaves a batch as it is if the error is a reply, which that of a login is behind it all.
func TestRegressionBatchAfterARefusedLogin(t *testing.T) {
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
				serve := func(refuse *atomic.Bool) *regressionServer {
					return regressionListen(t, func(_ net.Conn, args []string) (string, bool) {
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
						return regressionDefault(args), true
					})
				}
				east, west := serve(&refuse), serve(&refuseWest)
				h := regressionHook(t, Options{Initial: InitialAll, Databases: regressionURLs(":secret@"+east.addr(), ":secret@"+west.addr())})
				rdb := redis.NewClient(&redis.Options{Addr: east.addr(), Password: own})
				defer rdb.Close()
				rdb.AddHook(h)
				refuse.Store(true)
				require.NoError(t, run(t.Context(), rdb))
				require.Equal(t, 0, east.count("incr"))
				require.Equal(t, 1, west.count("incr"), "once")
			})
		}
	}
}
