package e2e_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// A PubSub of go-redis in planned switches: its connection moves, and its reader is told of nothing.

// received is a number that a reader was sent.
func received(t *testing.T, m *redis.Message) int {
	n, err := strconv.Atoi(m.Payload)
	require.NoError(t, err)
	return n
}

// TestPlannedSwitchesAreNoErrorToAPubSub: what is published after the switch comes, and comes once, in its order.
func TestPlannedSwitchesAreNoErrorToAPubSub(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	for _, c := range []struct {
		name     string
		protocol int
		servers  []redistest.Option
	}{
		{"RESP3", 3, nil}, {"RESP2", 2, nil}, {"TLS", 3, []redistest.Option{redistest.TLS()}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := pair.New(t, func(o *multidb.Options, r *redis.Options) { r.Protocol = c.protocol }, c.servers...)
			ctx := t.Context()
			sub := p.RDB.Subscribe(ctx, "news", "more")
			defer sub.Close()
			require.NoError(t, sub.PSubscribe(ctx, "pattern:*"))
			for range 3 {
				_, err := sub.Receive(ctx)
				require.NoError(t, err)
			}
			var wg sync.WaitGroup
			defer wg.Wait()
			var closing atomic.Bool
			got := make(chan int, 10_000)
			wg.Go(func() {
				for {
					m, err := sub.Receive(ctx)
					switch m := m.(type) {
					case *redis.Message:
						got <- received(t, m)
						continue
					case *redis.Pong:
						continue
					}
					if !closing.Load() {
						t.Errorf("%v, %v", m, err)
					}
					return
				}
			})
			defer sub.Close()
			next := 0
			for range rounds {
				for range 20 {
					channel := []string{"news", "more", "pattern:1"}[next%3]
					require.NoError(t, p.RDB.Publish(ctx, channel, next).Err())
					next++
				}
				active, _ := p.Servers()
				require.NoError(t, sub.Ping(ctx))
				require.NoError(t, p.Hook.SetActive(ctx, map[bool]string{true: "west", false: "east"}[active == p.East]))
			}
			for want := range next {
				select {
				case n := <-got:
					require.Equal(t, want, n, "of %d", next)
				case <-time.After(5 * time.Second):
					require.FailNow(t, "missing", "%d of %d", want, next)
				}
			}
			closing.Store(true)
		})
	}
}

// TestSubscribeInPlannedSwitches: subscriptions that begin and end while the connection moves are there after it.
func TestSubscribeInPlannedSwitches(t *testing.T) {
	p := pair.New(t, nil)
	ctx := t.Context()
	sub := p.RDB.Subscribe(ctx, "always")
	defer sub.Close()
	var errs, confirmed, asked atomic.Int64
	asked.Store(1)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			m, err := sub.Receive(ctx)
			if errors.Is(err, net.ErrClosed) || errors.Is(err, redis.ErrClosed) {
				return
			}
			if err != nil {
				t.Log(err)
				errs.Add(1)
				return
			}
			if _, ok := m.(*redis.Subscription); ok {
				confirmed.Add(1)
			}
		}
	})
	stop, stopped := make(chan struct{}), make(chan struct{})
	wg.Go(func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			name := "c" + strconv.Itoa(i)
			if sub.Subscribe(ctx, name) != nil {
				errs.Add(1)
			}
			asked.Add(1)
			if i%2 == 1 {
				if sub.Unsubscribe(ctx, name) != nil {
					errs.Add(1)
				}
				asked.Add(1)
			}
			time.Sleep(time.Millisecond)
		}
	})
	for range 10 {
		active, _ := p.Servers()
		require.NoError(t, p.Hook.SetActive(ctx, map[bool]string{true: "west", false: "east"}[active == p.East]))
		time.Sleep(20 * time.Millisecond)
	}
	close(stop)
	<-stopped
	active, passive := p.Servers()
	redistest.Eventually(t, 10*time.Second, "every request to be confirmed once", func() bool { return confirmed.Load() >= asked.Load() || errs.Load() > 0 })
	time.Sleep(50 * time.Millisecond)
	require.Zero(t, errs.Load())
	require.Equal(t, asked.Load(), confirmed.Load())
	require.EqualValues(t, 1, active.Client().PubSubNumSub(ctx, "c0").Val()["c0"])
	require.EqualValues(t, 0, active.Client().PubSubNumSub(ctx, "c1").Val()["c1"])
	require.Empty(t, passive.Client().PubSubChannels(ctx, "*").Val())
	require.NoError(t, sub.Close())
	wg.Wait()
	redistest.Eventually(t, 5*time.Second, "nothing to be subscribed any more", func() bool {
		return len(active.Client().PubSubChannels(context.Background(), "*").Val()) == 0
	})
}

// TestAPubSubIsReadToItsEnd: what the old database has sent before the switch comes, although it is read after it.
func TestAPubSubIsReadToItsEnd(t *testing.T) {
	p := pair.New(t, nil)
	ctx := t.Context()
	sub := p.RDB.Subscribe(ctx, "news")
	defer sub.Close()
	_, err := sub.Receive(ctx)
	require.NoError(t, err)
	for i := range 100 {
		require.NoError(t, p.RDB.Publish(ctx, "news", i).Err())
	}
	require.NoError(t, p.Hook.SetActive(ctx, "west"))
	for i := 100; i < 200; i++ {
		require.NoError(t, p.RDB.Publish(ctx, "news", i).Err())
	}
	first, err := sub.ReceiveTimeout(ctx, 5*time.Second)
	require.NoError(t, err)
	require.Equal(t, 0, received(t, first.(*redis.Message)))
	for i := range 199 {
		m, err := sub.ReceiveTimeout(ctx, 5*time.Second)
		require.NoError(t, err)
		require.Equal(t, i+1, received(t, m.(*redis.Message)))
	}
	_, err = sub.ReceiveTimeout(ctx, 20*time.Millisecond)
	ne, ok := err.(net.Error) // as callers do
	require.True(t, ok && ne.Timeout(), "%T: %v", err, err)
	require.NoError(t, p.RDB.Publish(ctx, "news", 200).Err())
	m, err := sub.ReceiveMessage(ctx)
	require.NoError(t, err)
	require.Equal(t, 200, received(t, m))
}
