package faultproxy_test

import (
	"context"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/memnet"
)

func TestRefuseNewKeepsTheConnectionsThatExist(t *testing.T) {
	t.Parallel()
	p, _ := start(t)
	old := dial(t, p)
	old.send("PING\r\n")
	old.expect("+PONG\r\n")

	p.RefuseNew()
	_, err := net.Dial("tcp", p.Addr())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	old.send("PING\r\n")
	old.expect("+PONG\r\n")

	p.Refuse()
	old.expectEnd(io.EOF)
	p.RefuseNew()
	_, err = net.Dial("tcp", p.Addr())
	require.ErrorIs(t, err, syscall.ECONNREFUSED, "from one kind of refusal to the other")
	p.Pass()
	again := dial(t, p)
	again.send("PING\r\n")
	again.expect("+PONG\r\n")
}

// A server that dies between executing and answering has executed, and is gone for everybody.
func TestDieAfterExecutesAndIsGone(t *testing.T) {
	t.Parallel()
	p, r := start(t)
	other := dial(t, p)
	other.send("PING\r\n")
	other.expect("+PONG\r\n")
	p.DieAfter(faultproxy.First(1, faultproxy.Named("INCR")))

	c := dial(t, p)
	c.send("SET k 1\r\nINCR n\r\nINCR n\r\n")
	c.expect("+OK\r\n")
	c.expectEnd(io.EOF)
	other.expectEnd(io.EOF)
	require.Equal(t, faultproxy.Refuse, p.Mode())
	_, err := net.Dial("tcp", p.Addr())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.Equal(t, "1", r.Client().Get(t.Context(), "n").Val(), "the one after it was not forwarded")

	p.Pass()
	again := dial(t, p)
	again.send("INCR n\r\n")
	again.expect(":2\r\n")
}

// Over another network than TCP everything is the same, and virtual time moves while connections wait.
func TestOverANetworkInsideTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := miniredis.NewMiniRedis()
		defer m.Close()
		var network memnet.Network
		p := faultproxy.Start(t, "", faultproxy.Listen("192.0.2.1:6379"), faultproxy.Over(faultproxy.Transport{
			Listen: network.Listen,
			Dial:   func(context.Context, string, string) (net.Conn, error) { return m.Dial() },
		}))
		assert.Equal(t, "192.0.2.1:6379", p.Addr())
		c := redis.NewClient(&redis.Options{Addr: p.Addr(), Dialer: network.Dial, MaxRetries: -1, DialerRetries: 1, ReadTimeout: 7 * time.Second})
		defer c.Close()
		ctx := t.Context()
		value := strings.Repeat("x", 1<<20)
		require.NoError(t, c.Set(ctx, "k", value, 0).Err())
		require.Equal(t, value, c.Get(ctx, "k").Val())

		p.Delay(time.Hour)
		slow := redis.NewClient(&redis.Options{Addr: p.Addr(), Dialer: network.Dial, MaxRetries: -1, ReadTimeout: -1})
		defer slow.Close()
		began := time.Now()
		require.NoError(t, slow.Ping(ctx).Err())
		require.GreaterOrEqual(t, time.Since(began), time.Hour)
		p.Delay(0)

		p.Hang()
		began = time.Now()
		require.Error(t, c.Ping(ctx).Err())
		require.Equal(t, 7*time.Second, time.Since(began), "the read timeout, to the nanosecond")
		p.Refuse()
		require.ErrorIs(t, c.Ping(ctx).Err(), syscall.ECONNREFUSED)
		p.Pass()
		require.NoError(t, c.Ping(ctx).Err())
		p.Reset()
		require.ErrorIs(t, c.Ping(ctx).Err(), syscall.ECONNRESET)
		require.NoError(t, c.Close())
		require.NoError(t, slow.Close())
		p.Close()
	})
}
