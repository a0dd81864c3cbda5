package pubsubwrap

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// TestFanInOfAnAddedDatabase. Events: a database is added, and made the active one at once; publishers follow.
func TestFanInOfAnAddedDatabase(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	sub, err := New(p.rdb, Options{FanIn: true})
	require.NoError(t, err)
	closing(t, sub)
	require.NoError(t, sub.Subscribe(ctx, "a"))
	for _, name := range []string{"north", "south"} {
		added := redistest.Start(t)
		require.NoError(t, p.hook.Add(ctx, multidb.Database{Name: name, Weight: 0.1, Options: added.Options()}))
		require.NoError(t, p.hook.SetActive(ctx, name))
		require.NoError(t, p.rdb.Publish(ctx, "a", name).Err())
		e := next(t, sub)
		require.NotNil(t, e.Message, "there is no gap to speak of")
		require.Equal(t, name, e.Message.Payload)
	}
}

// TestFanInThatIsLate. Events: a database that was never subscribed, because its connections take their time, is
// made active before it is: what is published there meanwhile is lost, and must be said.
func TestFanInThatIsLate(t *testing.T) {
	p, delay := slowPair(t)
	ctx := t.Context()
	require.NoError(t, p.hook.SetActive(ctx, "west"))
	delay.Store(int64(600 * time.Millisecond))
	sub, err := New(p.rdb, Options{FanIn: true})
	require.NoError(t, err)
	closing(t, sub)
	require.NoError(t, sub.Subscribe(ctx, "a"))
	require.NoError(t, p.hook.ForceActive("east", time.Minute)) // without a probe, which would take its time too
	require.NoError(t, p.east.Client().Publish(ctx, "a", "lost").Err())
	lost := time.Now()
	n := notice(t, sub)
	require.Equal(t, Switched{From: "west", To: "east", Reason: multidb.ReasonManual, Planned: true, Gap: n.Gap}, n)
	require.Greater(t, n.Gap, time.Since(lost)-20*time.Millisecond)
	require.NoError(t, p.east.Client().Publish(ctx, "a", "heard").Err())
	require.Equal(t, "heard", message(t, sub).Payload)
}

// TestFanInSharesMessageIDs: both databases bring the same message, each over its own connection.
func TestFanInSharesMessageIDs(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	sub, err := New(p.rdb, Options{FanIn: true, Buffer: 10000, MessageID: func(m *redis.Message) string { return m.Payload }})
	require.NoError(t, err)
	closing(t, sub)
	require.NoError(t, sub.Subscribe(ctx, "a"))
	eventually(t, waitFor, "both databases", func() bool {
		return len(p.east.Client().PubSubChannels(ctx, "a").Val())+len(p.west.Client().PubSubChannels(ctx, "a").Val()) == 2
	})
	var wg sync.WaitGroup
	const n = 500
	for _, server := range []*redistest.Redis{p.east, p.west} {
		wg.Go(func() {
			for i := range n {
				_ = server.Client().Publish(ctx, "a", i).Err()
			}
			_ = server.Client().Publish(ctx, "a", "end of "+server.Addr()).Err()
		})
	}
	seen := make(map[string]int)
	for ends := 0; ends < 2; {
		m := message(t, sub)
		if seen[m.Payload]++; len(m.Payload) > 5 {
			ends++
		}
	}
	wg.Wait()
	require.Len(t, seen, n+2)
	for payload, times := range seen {
		require.Equal(t, 1, times, payload)
	}
}

// deaf is a connection that can be made to bring nothing any more, without an end.
type deaf struct {
	net.Conn
	on *atomic.Bool
}

func (c deaf) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if err != nil || !c.on.Load() {
			return n, err
		}
	}
}

// hangingPair is a pair whose connections to east that are dialed from now on can be made to bring nothing any more; those
// dialed later are well.
func hangingPair(t *testing.T) (p *pair, hang func()) {
	t.Helper()
	line := new(atomic.Pointer[atomic.Bool]) // of the connections that are being dialed
	line.Store(new(atomic.Bool))
	p = &pair{east: redistest.Start(t), west: redistest.Start(t)}
	p.dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return deaf{nc, line.Load()}, nil
	}
	p.attach(t)
	line.Store(new(atomic.Bool))
	return p, func() { line.Swap(new(atomic.Bool)).Store(true) }
}

// TestKeepAliveFindsAHungConnection: the database is well, but one connection brings nothing any more.
func TestKeepAliveFindsAHungConnection(t *testing.T) {
	for _, fanIn := range []bool{false, true} {
		p, hang := hangingPair(t)
		ctx := t.Context()
		sub, err := New(p.rdb, Options{HealthInterval: 100 * time.Millisecond, FanIn: fanIn})
		require.NoError(t, err)
		closing(t, sub)
		require.NoError(t, sub.Subscribe(ctx, "a"))
		hang()
		require.NoError(t, p.rdb.Publish(ctx, "a", "lost").Err())
		lost := time.Now()
		n := notice(t, sub)
		require.Equal(t, Switched{From: "east", To: "east", Reason: ReasonConnectionLost, Gap: n.Gap}, n)
		require.Greater(t, n.Gap, time.Since(lost)-20*time.Millisecond)
		require.Less(t, n.Gap, 2*time.Second)
		require.NoError(t, p.rdb.Publish(ctx, "a", "heard").Err())
		require.Equal(t, "heard", message(t, sub).Payload)
	}
}

// TestHungLingeringConnection. Events: a planned switch; before the old database is left, the connection to it brings
// nothing any more, without an end, and a publisher that has not moved yet publishes there.
func TestHungLingeringConnection(t *testing.T) {
	p, hang := hangingPair(t)
	ctx := t.Context()
	sub := moved(t, p, Options{HealthInterval: 100 * time.Millisecond, Linger: time.Minute})
	hang()
	require.NoError(t, p.east.Client().Publish(ctx, "a", "lost").Err())
	lost := time.Now()
	n := notice(t, sub)
	require.Equal(t, Switched{From: "east", To: "east", Reason: ReasonConnectionLost, Gap: n.Gap}, n)
	require.Greater(t, n.Gap, time.Since(lost)-20*time.Millisecond)
	require.NoError(t, p.east.Client().Publish(ctx, "a", "heard").Err())
	require.Equal(t, "heard", message(t, sub).Payload)
}

// TestFanInStartsWithAGap. Events: the active database is subscribed, but has not been told about yet; another
// database is, and lets calls wait for the active one from here on. The stream began with a switch from nowhere.
func TestFanInStartsWithAGap(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	for range 100 {
		sub, err := New(p.rdb, Options{FanIn: true})
		require.NoError(t, err)
		require.NoError(t, sub.Subscribe(ctx, "a"))
		require.NoError(t, p.rdb.Publish(ctx, "a", "first").Err())
		e := next(t, sub)
		require.Nil(t, e.Switched)
		require.Equal(t, "first", e.Message.Payload)
		require.NoError(t, sub.Close())
	}
}
