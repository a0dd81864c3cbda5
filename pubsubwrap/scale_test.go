package pubsubwrap

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
)

// TestManySubscriptionsMoveQuickly: 1,000 channels, 200 patterns and 200 shard channels are on the new database within
// 500 ms of a crash, as that database itself counts them.
func TestManySubscriptionsMoveQuickly(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	sub, err := New(p.rdb, Options{})
	require.NoError(t, err)
	closing(t, sub)
	names := func(prefix string, n int) []string {
		all := make([]string, n)
		for i := range all {
			all[i] = fmt.Sprint(prefix, i)
		}
		return all
	}
	require.NoError(t, sub.Subscribe(ctx, names("channel:", 1000)...))
	require.NoError(t, sub.PSubscribe(ctx, names("pattern:*:", 200)...))
	require.NoError(t, sub.SSubscribe(ctx, names("shard:", 200)...))

	crashed := time.Now()
	p.east.Kill()
	notice := next(t, sub).Switched
	took := time.Since(crashed)
	require.NotNil(t, notice)
	west := p.west.Client()
	require.Len(t, west.PubSubChannels(ctx, "*").Val(), 1000)
	require.EqualValues(t, 200, west.PubSubNumPat(ctx).Val())
	require.Len(t, west.PubSubShardChannels(ctx, "*").Val(), 200)
	for _, channel := range []string{"channel:999", "pattern:x:199"} {
		require.NoError(t, p.rdb.Publish(ctx, channel, 1).Err())
		require.Equal(t, channel, message(t, sub).Channel)
	}
	require.NoError(t, p.rdb.SPublish(ctx, "shard:199", 1).Err())
	require.Equal(t, "shard:199", message(t, sub).Channel)
	t.Logf("all moved in %v, gap %v", took, notice.Gap)
	require.Less(t, took, 500*time.Millisecond)
}

// TestHungDatabaseIsLeft: it closes nothing, so somebody must notice.
func TestHungDatabaseIsLeft(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	sub, err := Subscribe(ctx, p.rdb, "a")
	require.NoError(t, err)
	closing(t, sub)
	p.east.Stop()
	defer p.east.Cont()
	notice := next(t, sub).Switched
	require.NotNil(t, notice)
	require.Equal(t, "west", notice.To)
	require.NoError(t, p.rdb.Publish(ctx, "a", 1).Err())
	require.Equal(t, "1", message(t, sub).Payload)
	t.Logf("gap %v", notice.Gap)
}

// TestLostConnectionIsNoSecret: no switch, but a gap all the same.
func TestLostConnectionIsNoSecret(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	sub, err := Subscribe(ctx, p.rdb, "a")
	require.NoError(t, err)
	closing(t, sub)
	time.Sleep(100 * time.Millisecond) // which must not be in the gap: no condition to wait for
	lost := time.Now()
	require.NoError(t, p.east.Client().ClientKillByFilter(ctx, "TYPE", "pubsub").Err())
	notice := next(t, sub).Switched
	require.NotNil(t, notice)
	require.Equal(t, "east", notice.From)
	require.Equal(t, "east", notice.To)
	require.Equal(t, ReasonConnectionLost, notice.Reason)
	require.Positive(t, notice.Gap)
	require.Less(t, notice.Gap, time.Since(lost)+2*endMargin, "nothing was missed before")
	require.NoError(t, p.rdb.Publish(ctx, "a", 1).Err())
	require.Equal(t, "1", message(t, sub).Payload)
}

// TestMessageIDs drops what two databases both bring.
func TestMessageIDs(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	sub, err := New(p.rdb, Options{FanIn: true, MessageIDs: 2, MessageID: func(m *redis.Message) string {
		if m.Payload == "anonymous" {
			return ""
		}
		return m.Payload
	}})
	require.NoError(t, err)
	closing(t, sub)
	require.NoError(t, sub.Subscribe(ctx, "a", "b"))
	publish := func(channel, payload string) {
		t.Helper()
		require.NoError(t, p.east.Client().Publish(ctx, channel, payload).Err())
	}
	for _, payload := range []string{"1", "1", "2", "anonymous", "anonymous", "3", "1"} {
		publish("a", payload)
	}
	publish("b", "3")
	for _, want := range []string{"a 1", "a 2", "a anonymous", "a anonymous", "a 3", "a 1", "b 3"} {
		m := message(t, sub)
		require.Equal(t, want, m.Channel+" "+m.Payload)
	}
	require.Zero(t, sub.Stats().Dropped)
}

// TestPreparedSwitchThatDoesNotCome leaves everything as it is.
func TestPreparedSwitchThatDoesNotCome(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	sub, err := Subscribe(ctx, p.rdb, "a")
	require.NoError(t, err)
	closing(t, sub)
	sub.only().follow.prepare(ctx, "west")
	require.Len(t, p.west.Client().PubSubChannels(ctx, "a").Val(), 1, "subscribed there already")
	require.NoError(t, p.west.Client().Publish(ctx, "a", "of others").Err())
	require.NoError(t, p.rdb.Publish(ctx, "a", "ours").Err())
	require.Equal(t, "ours", message(t, sub).Payload)
	eventually(t, waitFor, "the link to be given up", func() bool {
		return len(p.west.Client().PubSubChannels(ctx, "a").Val()) == 0
	})
	require.NoError(t, p.rdb.Publish(ctx, "a", "ours too").Err())
	require.Equal(t, "ours too", message(t, sub).Payload)
	require.Equal(t, "east", p.hook.Choice().Database)
	require.Equal(t, multidb.ReasonHealthCheck, p.hook.Choice().Reason, "that of the first choice")
}
