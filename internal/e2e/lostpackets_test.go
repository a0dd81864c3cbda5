package e2e_test

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/testkit/virtual"
)

// lossy is a network that loses packets. TCP sends them again, after 200 ms, then 400 ms, and so on; the first packet of a connection
// after a second.
type lossy struct {
	share float64
	mu    sync.Mutex
	rand  *rand.Rand
	lost  int
}

// again returns how long a packet takes because it was lost.
func (n *lossy) again(first time.Duration) (d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for wait := first; n.rand.Float64() < n.share; wait *= 2 {
		n.lost++
		d += wait
	}
	return d
}

func (n *lossy) wrap(_ *virtual.DB, next goredis.Dialer) goredis.Dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		select {
		case <-time.After(n.again(time.Second)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		nc, err := next(ctx, network, addr)
		return &lossyConn{nc, n}, err
	}
}

type lossyConn struct {
	net.Conn
	of *lossy
}

func (c *lossyConn) Write(p []byte) (int, error) {
	time.Sleep(c.of.again(200 * time.Millisecond))
	return c.Conn.Write(p)
}

func (c *lossyConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		time.Sleep(c.of.again(200 * time.Millisecond))
	}
	return n, err
}

// TestLostPacketsMoveNobody: an hour in which one packet of a hundred is lost, on the way to all databases, under load.
func TestLostPacketsMoveNobody(t *testing.T) {
	long := time.Hour
	if testing.Short() {
		long = 4 * time.Minute
	}
	n := &lossy{share: 0.01, rand: rand.New(rand.NewPCG(1, 2))}
	opt := multidb.Options{}
	switches := recordSwitches(&opt)
	dialedBubble(t, opt, n.wrap, func(h *multidb.Hook, _ []*virtual.DB, rdb *redis.Client) {
		var wg sync.WaitGroup
		errs := make(chan error, 10)
		end := time.Now().Add(long)
		for range 5 {
			wg.Go(func() {
				for time.Now().Before(end) {
					if err := rdb.Incr(context.Background(), "n").Err(); err != nil {
						errs <- err
						return
					}
					time.Sleep(100 * time.Millisecond)
				}
			})
		}
		wg.Wait()
		require.Empty(t, errs)
		require.False(t, h.Stats().Down)
	})
	require.Greater(t, n.lost, int(long/time.Minute))
	require.Empty(t, switches.list())
}
