package goredis

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/memnet"
	"github.com/redishook/multidb/internal/testkit/scripted"
)

// failingConn calls failed in the goroutine of each read that fails.
type failingConn struct {
	pipeConn
	failed func()
}

func (c *failingConn) Read(p []byte) (int, error) {
	n, err := c.pipeConn.Read(p)
	if err != nil {
		c.failed()
	}
	return n, err
}

// Events: a GET through the cache is coalesced with others and its connection ends. go-redis runs it again by itself. A command
// that is not cached has neither.
func TestCoalescedMissesAreToldFromTheirSecondAttempt(t *testing.T) {
	var network memnet.Network
	ln, err := network.Listen("127.0.0.1:1")
	require.NoError(t, err)
	var mu sync.Mutex
	gets := 0
	scripted.Serve(t, ln, func(r scripted.Request) string {
		mu.Lock()
		defer mu.Unlock()
		if r.Name != "get" {
			return scripted.OK
		}
		if gets++; gets == 1 {
			return scripted.Hangup
		}
		return scripted.Bulk("v")
	})
	var misses, cached []bool // of each read that fails, and of each write of a command
	rdb := redis.NewClient(&redis.Options{
		Addr: "127.0.0.1:1", Protocol: 3,
		ClientSideCacheConfig: &redis.ClientSideCacheConfig{}, ClientSideCacheCoalesceMisses: true,
		Dialer: func(ctx context.Context, network_, addr string) (net.Conn, error) {
			nc, err := network.Dial(ctx, network_, addr)
			wrote := func(p string) {
				if mu.Lock(); strings.Contains(p, "\r\nget\r\n") || strings.Contains(p, "\r\nset\r\n") {
					cached = append(cached, ReadsCached())
				}
				mu.Unlock()
			}
			return &failingConn{pipeConn{nc, wrote, nil}, func() {
				mu.Lock()
				misses = append(misses, FetchesMisses())
				mu.Unlock()
			}}, err
		},
	})
	t.Cleanup(func() { _ = rdb.Close() })
	val, err := rdb.Get(t.Context(), "k").Result()
	require.NoError(t, err)
	require.Equal(t, "v", val)
	require.NoError(t, rdb.Set(t.Context(), "k", 1, 0).Err())
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, 2, gets)
	require.Contains(t, misses, true)
	require.Equal(t, []bool{false, true, false}, cached, "coalesced, again, and a SET")
}
