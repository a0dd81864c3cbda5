package e2e_test

import (
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/load"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// TestSubscriptionsFollow: no help from the user, whether the database crashes or hangs, and whether the process has
// other traffic or only subscribes.
func TestSubscriptionsFollow(t *testing.T) {
	for _, c := range []struct {
		name    string
		hang    bool
		traffic bool
		within  time.Duration
	}{
		{"crash", false, false, 2 * time.Second},
		{"hang/with traffic", true, true, 4 * time.Second},
		{"hang/only subscribing", true, false, 6 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := pair.New(t, nil)
			sub := p.RDB.Subscribe(t.Context(), "news")
			defer sub.Close()
			messages := sub.Channel()
			publishUntil(t, p.East.Client(), messages, 20*time.Second)
			if c.traffic {
				l := load.Start(2, load.SetGet(p.RDB))
				defer l.End()
			}
			// Let the hook find nothing to do but wait, as in an idle process.
			time.Sleep(300 * time.Millisecond)
			if c.hang {
				p.East.Stop()
			} else {
				p.East.Kill()
			}
			took := publishUntil(t, p.West.Client(), messages, c.within)
			load.Report(t, "pub/sub: "+c.name, "1 subscriber", took.Round(time.Millisecond).String(), "0")
		})
	}
}

// publishUntil publishes to one server until the subscriber hears something, and says how long that took.
func publishUntil(t *testing.T, server *redis.Client, messages <-chan *redis.Message, within time.Duration) time.Duration {
	t.Helper()
	for len(messages) > 0 {
		<-messages
	}
	began := time.Now()
	for i := 0; time.Since(began) < within; i++ {
		require.NoError(t, server.Publish(t.Context(), "news", i).Err())
		select {
		case <-messages:
			return time.Since(began)
		case <-time.After(5 * time.Millisecond):
		}
	}
	require.FailNow(t, "no message", "within %v", within)
	return 0
}

// Events: a subscriber's connection is in its handshake with a distant database when a planned switch comes. It is not known
// as a subscription's yet, so it is not closed, and its SUBSCRIBE goes to the old database for as long as that drains. If it
// is refused instead, go-redis connects again without the channel, and the subscriber is deaf for good.
func TestSubscribeDuringAPlannedSwitch(t *testing.T) {
	p := &pair.Pair{East: redistest.Start(t), West: redistest.Start(t)}
	proxy := faultproxy.Start(t, p.East.Addr())
	p.Attach(t, &redis.Options{Addr: proxy.Addr()}, p.West.Options(), nil)
	ctx := t.Context()
	require.NoError(t, p.RDB.Ping(ctx).Err())
	proxy.Delay(100 * time.Millisecond)
	before := p.Hook.Stats().Databases[0].Connections
	switched := make(chan error, 1)
	go func() {
		for open := before; open == before; time.Sleep(time.Millisecond) {
			open = p.Hook.Stats().Databases[0].Connections
		}
		switched <- p.Hook.SetActive(ctx, "west")
	}()
	sub := p.RDB.Subscribe(ctx, "news")
	defer sub.Close()
	messages := sub.Channel()
	require.NoError(t, <-switched)
	redistest.Eventually(t, 5*time.Second, "the subscription on the new database", func() bool {
		return p.West.Client().PubSubNumSub(ctx, "news").Val()["news"] == 1
	})
	require.NoError(t, p.RDB.Publish(ctx, "news", "hello").Err())
	require.Equal(t, "hello", (<-messages).Payload)
}

// Events: a PubSub begins with a PING, before it has a channel. It is not known as a subscription's for the life of its
// connection: a receive timeout ends it, and is no net.Error.
func TestSubscriptionThatBeginsWithPing(t *testing.T) {
	p := pair.New(t, nil)
	ctx := t.Context()
	sub := p.RDB.Subscribe(ctx)
	defer sub.Close()
	require.NoError(t, sub.Ping(ctx))
	_, err := sub.Receive(ctx)
	require.NoError(t, err)
	require.NoError(t, sub.Subscribe(ctx, "c"))
	_, err = sub.Receive(ctx)
	require.NoError(t, err)
	_, err = sub.ReceiveTimeout(ctx, 20*time.Millisecond)
	ne, ok := err.(net.Error) // as callers do
	require.True(t, ok && ne.Timeout(), "%T: %v", err, err)
	require.NoError(t, p.RDB.Publish(ctx, "c", "still there").Err())
	message, err := sub.ReceiveMessage(ctx)
	require.NoError(t, err)
	require.Equal(t, "still there", message.Payload)
}

// TestClientSideCachingFollows: what was cached of the old database must not be served for the new one.
func TestClientSideCachingFollows(t *testing.T) {
	t.Run("tcp", func(t *testing.T) { cachingFollows(t) })
	t.Run("tls", func(t *testing.T) { cachingFollows(t, redistest.TLS()) })
}

func cachingFollows(t *testing.T, servers ...redistest.Option) {
	p := pair.New(t, func(_ *multidb.Options, o *redis.Options) {
		o.Protocol = 3
		o.ClientSideCacheConfig = &redis.ClientSideCacheConfig{}
	}, servers...)
	ctx := t.Context()
	require.NoError(t, p.East.Client().Set(ctx, "k", "east", 0).Err())
	require.NoError(t, p.West.Client().Set(ctx, "k", "west", 0).Err())
	for range 10 {
		require.Equal(t, "east", p.RDB.Get(ctx, "k").Val())
	}
	p.East.Kill()
	redistest.Eventually(t, 20*time.Second, "the value of the new database", func() bool {
		v, err := p.RDB.Get(ctx, "k").Result()
		require.NoError(t, err)
		return v == "west"
	})
	require.NoError(t, p.West.Client().Set(ctx, "k", "changed", 0).Err())
	redistest.Eventually(t, 20*time.Second, "an invalidation by the new database", func() bool { return p.RDB.Get(ctx, "k").Val() == "changed" })
}
