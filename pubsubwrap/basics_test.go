package pubsubwrap

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/redistest"
)

// TestKindsComeAndGo: channels, patterns and shard channels are added and removed, each by itself.
func TestKindsComeAndGo(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	sub, err := Subscribe(ctx, p.rdb, "a")
	require.NoError(t, err)
	closing(t, sub)
	require.NoError(t, sub.PSubscribe(ctx, "b*"))
	require.NoError(t, sub.SSubscribe(ctx, "c"))
	require.Error(t, sub.Subscribe(ctx, "c"), "one name, two kinds")

	require.NoError(t, p.rdb.Publish(ctx, "a", 1).Err())
	require.Equal(t, "1", message(t, sub).Payload)
	require.NoError(t, p.rdb.Publish(ctx, "bb", 2).Err())
	require.Equal(t, &redis.Message{Channel: "bb", Pattern: "b*", Payload: "2"}, message(t, sub))
	require.NoError(t, p.rdb.SPublish(ctx, "c", 3).Err())
	require.Equal(t, "3", message(t, sub).Payload)

	require.NoError(t, sub.PUnsubscribe(ctx, "b*"))
	require.NoError(t, sub.SUnsubscribe(ctx, "c"))
	require.NoError(t, sub.Subscribe(ctx, "d"))
	for _, channel := range []string{"bb", "a", "d"} {
		require.NoError(t, p.rdb.Publish(ctx, channel, 4).Err())
	}
	require.Equal(t, "a", message(t, sub).Channel)
	require.Equal(t, "d", message(t, sub).Channel)
	require.NoError(t, sub.Unsubscribe(ctx, "a"))

	p.server(p.hook.Active()).Kill()
	e := next(t, sub)
	require.NotNil(t, e.Switched)
	require.Equal(t, "east", e.Switched.From)
	require.Equal(t, "west", e.Switched.To)
	require.NotEmpty(t, e.Switched.Reason)
	require.Positive(t, e.Switched.Gap)
	require.Less(t, e.Switched.Gap, 5*time.Second)
	for _, channel := range []string{"bb", "a", "d"} {
		require.NoError(t, p.rdb.Publish(ctx, channel, 5).Err())
	}
	require.Equal(t, "d", message(t, sub).Channel, "what was unsubscribed stays so")
	require.Equal(t, "west", sub.Stats().Database)
}

// TestRefusalIsInTheStream: on the new database, access rules forbid one of three.
func TestRefusalIsInTheStream(t *testing.T) {
	p := &pair{
		east: redistest.Start(t, redistest.Users("app on >pw ~* &* +@all")),
		west: redistest.Start(t, redistest.Users("app on >pw ~* resetchannels &open &also +@all")),
	}
	p.login = "app"
	p.attach(t)
	ctx := t.Context()
	sub, err := Subscribe(ctx, p.rdb, "open", "secret", "also")
	require.NoError(t, err)
	closing(t, sub)
	require.NoError(t, p.hook.SetActive(ctx, "west"))

	require.NotNil(t, next(t, sub).Switched)
	var refused *SubscribeError
	require.ErrorAs(t, next(t, sub).Err, &refused)
	require.Equal(t, "west", refused.Database)
	require.Equal(t, Channel, refused.Kind)
	require.Equal(t, "secret", refused.Name)
	require.ErrorContains(t, refused, "NOPERM")
	for _, channel := range []string{"also", "open"} {
		require.NoError(t, p.rdb.Publish(ctx, channel, 1).Err())
		require.Equal(t, channel, message(t, sub).Channel)
	}
	require.ErrorAs(t, sub.Subscribe(ctx, "secret too"), &refused)
}

// TestHandlers run in the background, survive a panic, and stop with their context.
func TestHandlers(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	sub, err := New(p.rdb, Options{})
	require.NoError(t, err)
	closing(t, sub)
	got := make(chan string, 10)
	note := func(prefix string) Handler {
		return func(_ context.Context, m *redis.Message) { got <- prefix + m.Payload }
	}
	require.NoError(t, sub.Handle(ctx, note("channel "), "a"))
	require.NoError(t, sub.PHandle(ctx, note("pattern "), "b*"))
	require.NoError(t, sub.SHandle(ctx, note("shard "), "c"))
	require.NoError(t, sub.Handle(ctx, func(context.Context, *redis.Message) { panic("at the disco") }, "p"))
	require.NoError(t, sub.Subscribe(ctx, "other"))

	running, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var end error
	wg.Go(func() {
		end = sub.Run(running, func(_ context.Context, e Event) {
			if e.Err != nil {
				got <- "panic"
			} else if e.Message != nil {
				got <- "rest " + e.Message.Payload
			}
		})
	})
	for _, c := range []struct{ channel, want string }{
		{"p", "panic"}, {"a", "channel x"}, {"bb", "pattern x"}, {"other", "rest x"}, {"c", "shard x"},
	} {
		publish := p.rdb.Publish
		if c.channel == "c" {
			publish = p.rdb.SPublish
		}
		require.NoError(t, publish(ctx, c.channel, "x").Err())
		require.Equal(t, c.want, <-got)
	}
	stop()
	wg.Wait()
	require.ErrorIs(t, end, context.Canceled)
	var panicked *PanicError
	require.ErrorAs(t, end, &panicked)
	require.Equal(t, "p", panicked.Channel)
}

// TestFullBuffer: each policy, and what it counts.
func TestFullBuffer(t *testing.T) {
	for name, c := range map[string]struct {
		policy  Policy
		dropped uint64
		first   string
	}{"block": {Block, 0, "0"}, "drop oldest": {DropOldest, 90, "90"}, "drop newest": {DropNewest, 90, "0"}} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			ctx := t.Context()
			sub, err := New(p.rdb, Options{Buffer: 10, Policy: c.policy})
			require.NoError(t, err)
			closing(t, sub)
			require.NoError(t, sub.Subscribe(ctx, "a"))
			for i := range 100 {
				require.NoError(t, p.rdb.Publish(ctx, "a", i).Err())
			}
			eventually(t, waitFor, "all to arrive", func() bool {
				return sub.Stats().Dropped == c.dropped && sub.Stats().Buffered == 10
			})
			require.Equal(t, c.first, message(t, sub).Payload)
			// A subscriber that does not read holds up no switch.
			began := time.Now()
			require.NoError(t, p.hook.SetActive(ctx, "west"))
			require.Less(t, time.Since(began), 2*time.Second)
			for range 5 {
				require.NoError(t, p.rdb.Publish(ctx, "a", "west").Err())
			}
			for c.policy == Block {
				if message(t, sub).Payload == "west" {
					break
				}
			}
		})
	}
}

// TestCloseAtAnyMoment: goleak is the judge.
func TestCloseAtAnyMoment(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	for i := range 30 {
		sub, err := New(p.rdb, Options{Buffer: 1})
		require.NoError(t, err)
		var wg sync.WaitGroup
		wg.Go(func() { _ = sub.Subscribe(ctx, "a", "b") })
		wg.Go(func() { _ = sub.PSubscribe(ctx, "c*") })
		wg.Go(func() { _ = p.hook.SetActive(ctx, []string{"west", "east"}[i%2]) })
		wg.Go(func() {
			for range 20 {
				_ = p.rdb.Publish(ctx, "a", "x").Err()
			}
		})
		time.Sleep(time.Duration(i) * 200 * time.Microsecond) // the moment, not a wait for something
		require.NoError(t, sub.Close())
		require.NoError(t, sub.Close())
		wg.Wait()
		_, err = sub.Receive(ctx)
		for err == nil {
			_, err = sub.Receive(ctx)
		}
		require.ErrorIs(t, err, ErrClosed)
		require.ErrorIs(t, sub.Subscribe(ctx, "late"), ErrClosed)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err := Subscribe(cancelled, p.rdb, "a")
	require.True(t, err == nil || errors.Is(err, context.Canceled))
	bare := redis.NewClient(p.east.Options())
	defer bare.Close()
	_, err = New(bare, Options{})
	require.ErrorContains(t, err, "no hook")
}
