package e2e_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/pair"
)

// Events: 1. full duplex has a GET or a SET in flight, which may run twice. 2. It is executed and its reply is lost. 3. go-redis wants
// to send it again, and finds no connection. 4. One error is given to all that full duplex holds. It must not say that the
// command was not sent, and must say so of an INCR that came later.
func TestFullDuplexCallsNothingUnsentThatItHasSentBefore(t *testing.T) {
	for _, line := range []string{"get k", "set k v"} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			var args []any
			for _, word := range strings.Fields(line) {
				args = append(args, word)
			}
			p := pair.StartProxied(t)
			var refuse atomic.Bool
			var once sync.Once
			lost := make(chan struct{})
			dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
				if refuse.Load() { // so the connection is known to be lost
					once.Do(func() { close(lost) })
					return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
				}
				return (&net.Dialer{}).DialContext(ctx, network, addr)
			}
			east, west := pair.Through(p.East, p.ToEast), pair.Through(p.West, p.ToWest)
			east.Dialer, west.Dialer = dial, dial
			p.Attach(t, east, west, func(_ *multidb.Options, r *redis.Options) { r.MaxRetries, r.MinRetryBackoff = 1, 50*time.Millisecond })
			p.ToEast.DropReplies(func(request []string) bool {
				hit := strings.EqualFold(request[0], args[0].(string))
				if hit {
					refuse.Store(true)
				}
				return hit
			})
			ap, err := p.RDB.AutoPipelineWithOptions(&redis.AutoPipelineOptions{FullDuplex: true})
			require.NoError(t, err)
			incr := make(chan error)
			go func() {
				<-lost
				incr <- ap.Incr(t.Context(), "n").Err()
			}()
			cmd := redis.NewCmd(t.Context(), args...)
			_ = ap.Process(t.Context(), cmd) // which is queued
			err = cmd.Err()
			var failed *multidb.CommandError
			require.ErrorAs(t, err, &failed)
			require.True(t, failed.Sent, "%v: %v", args, err)
			require.False(t, multidb.SafeToRetry(err), "%v", err)
			err = <-incr
			require.Error(t, err)
			require.True(t, multidb.SafeToRetry(err), "INCR was never sent: %v", err)
			require.NoError(t, ap.Close())
			require.Zero(t, p.Sum(t, "n"))
		})
	}
}
