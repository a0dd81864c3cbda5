package oracle_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/memnet"
	"github.com/redishook/multidb/internal/testkit/scripted"
	"github.com/redishook/multidb/window"
)

// deafOnce is a connection whose socket takes nothing of the first request with a certain word.
type deafOnce struct {
	net.Conn
	word string
	left *atomic.Int32
}

func (c deafOnce) Write(p []byte) (int, error) {
	if strings.Contains(string(p), c.word) && c.left.Add(-1) >= 0 {
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: errors.New("broken pipe")}
	}
	return c.Conn.Write(p)
}

// TestNoErrorOfAnEarlierAttemptStaysOnACommandThatWasSent: go-redis puts an error only on commands that have none. Events:
//  1. The socket takes nothing of a pipeline. Each command has the error "not sent", and go-redis runs the pipeline again.
//  2. The second connection is lost after the first reply. The second command has the error "sent, not answered".
//  3. The third and the fourth keep what step 1 has left on them, and a caller who runs them again runs them twice.
func TestNoErrorOfAnEarlierAttemptStaysOnACommandThatWasSent(t *testing.T) {
	for _, c := range []struct {
		retries int
		clone   bool
	}{{-1, false}, {0, false}, {0, true}} {
		synctest.Test(t, func(t *testing.T) {
			var network memnet.Network
			ln, err := network.Listen(address)
			require.NoError(t, err)
			scripted.Serve(t, ln, func(r scripted.Request) string {
				if r.Args[1] == "a" {
					return scripted.Int(1)
				}
				return scripted.Hangup
			})
			var left atomic.Int32
			left.Store(1)
			options := func() *redis.Options {
				return &redis.Options{Addr: address, MaxRetries: c.retries, Dialer: func(ctx context.Context, n, addr string) (net.Conn, error) {
					nc, err := network.Dial(ctx, n, addr)
					return deafOnce{nc, "incr", &left}, err
				}}
			}
			hook, err := multidb.New(t.Context(), multidb.Options{
				Databases: []multidb.Database{{Name: "east", Options: options()}, {Name: "west", Weight: 0.5, Options: options()}},
				Detectors: []window.Factory{}, Logger: slog.New(slog.DiscardHandler),
			})
			require.NoError(t, err)
			defer func() { require.NoError(t, hook.Close()) }()
			rdb := redis.NewClient(options())
			defer rdb.Close()
			rdb.AddHook(hook)
			if c.clone {
				rdb = rdb.WithTimeout(time.Second)
			}
			cmds, err := rdb.Pipelined(t.Context(), func(p redis.Pipeliner) error {
				for _, key := range []string{"a", "b", "c", "d"} {
					p.Incr(t.Context(), key)
				}
				return nil
			})
			require.NoError(t, cmds[0].Err())
			for _, err := range []error{err, cmds[1].Err(), cmds[2].Err(), cmds[3].Err()} {
				var failed *multidb.CommandError
				require.ErrorAs(t, err, &failed)
				require.True(t, failed.Sent, "%v", err)
				require.False(t, multidb.SafeToRetry(err), "%v", err)
			}
		})
	}
}
