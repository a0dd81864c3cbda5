package e2e_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/fakeserver"
	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// What was sent, and what was not, on connections that others have used before.

// Events: the active database hangs while OnConnect asks something on a new connection. The connection is cut, and OnConnect
// returns that error, as it is or wrapped. The command that has waited for the connection was not sent.
func TestACommandBehindOnConnectIsNotSent(t *testing.T) {
	for _, retries := range []int{-1, 0} {
		for name, wrap := range map[string]string{"bare": "%w", "wrapped": "setup: %w"} {
			t.Run(fmt.Sprintf("%s, MaxRetries %d", name, retries), func(t *testing.T) {
				var p *pair.Pair
				var once sync.Once
				p = pair.New(t, func(_ *multidb.Options, r *redis.Options) {
					r.MaxRetries = retries
					r.OnConnect = func(ctx context.Context, cn *redis.Conn) error {
						once.Do(func() { p.East.Stop() })
						err := cn.Ping(ctx).Err()
						if err == nil || wrap == "%w" {
							return err
						}
						return fmt.Errorf(wrap, err)
					}
				})
				err := p.RDB.Incr(t.Context(), "n").Err()
				p.East.Cont()
				require.NoError(t, err, "what was never sent is run again")
				require.EqualValues(t, 1, p.Sum(t, "n"))
			})
		}
	}
}

// Events: a Conn has run a command on the active database, which dies. Its next command is not written.
func TestTheNextCommandOfAConnIsNotSent(t *testing.T) {
	p := pair.New(t, nil)
	conn := p.RDB.Conn()
	defer conn.Close()
	require.NoError(t, conn.Set(t.Context(), "k", 1, 0).Err())
	p.East.Kill()
	redistest.Eventually(t, 20*time.Second, "a switch", func() bool { return p.Hook.Active() == "west" })
	var failed *multidb.CommandError
	require.ErrorAs(t, conn.Incr(t.Context(), "n").Err(), &failed)
	require.False(t, failed.Sent, "%v", failed)
}

// Events: a Conn subscribes and unsubscribes by raw commands, and goes back to the pool. The next borrower's INCR is executed
// and its reply is lost.
func TestAConnectionThatHasUnsubscribedIsLikeAnyOther(t *testing.T) {
	p := pair.NewProxied(t, pair.Calm)
	ctx := t.Context()
	conn := p.RDB.Conn()
	require.NoError(t, conn.Process(ctx, redis.NewSliceCmd(ctx, "subscribe", "news")))
	require.NoError(t, conn.Process(ctx, redis.NewSliceCmd(ctx, "unsubscribe", "news")))
	require.NoError(t, conn.Close())
	p.ToEast.DropReplies(faultproxy.First(1, faultproxy.Named("INCR")))
	err := p.RDB.Incr(ctx, "n").Err()
	require.Error(t, err)
	require.EqualValues(t, 1, p.Sum(t, "n"))
}

// Events: two requests are in flight in full duplex, and both replies come in one piece. The connection goes back to the pool.
// The next request is executed, and the server dies.
func TestRepliesInOnePieceLeaveNothingBehind(t *testing.T) {
	var incr atomic.Int64
	server := fakeserver.Listen(t, func(c net.Conn, args []string) (string, bool) {
		if !strings.EqualFold(args[0], "incr") {
			return fakeserver.Default(args), true
		}
		switch n := incr.Add(1); n {
		case 1:
			return "", true
		case 2:
			time.Sleep(50 * time.Millisecond)
			_, _ = fmt.Fprint(c, ":1\r\n:2\r\n")
			return "", true
		case 3:
			return "", false // executed, and dies
		default:
			return fmt.Sprintf(":%d\r\n", n), true
		}
	})
	h := pair.Hook(t, multidb.Options{Databases: []multidb.Database{{Name: "only", URL: "redis://" + server.Addr()}}})
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()
	rdb.AddHook(h)
	ap, err := rdb.AutoPipelineWithOptions(&redis.AutoPipelineOptions{FullDuplex: true, FullDuplexIdleTimeout: 50 * time.Millisecond})
	require.NoError(t, err)
	defer ap.Close()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { _ = ap.Incr(context.Background(), "n").Err() })
		time.Sleep(20 * time.Millisecond) // the second one is written while the reader waits for the first
	}
	wg.Wait()
	redistest.Eventually(t, 10*time.Second, "the connection to be back in the pool", func() bool {
		s := rdb.PoolStats()
		return s.PipelineStats != nil && s.PipelineStats.IdleConns == 1
	})
	err = ap.Incr(context.Background(), "n").Err()
	var failed *multidb.CommandError
	require.ErrorAs(t, err, &failed)
	require.True(t, failed.Sent)
	require.EqualValues(t, 3, incr.Load(), "three INCRs, executed three times")
}
