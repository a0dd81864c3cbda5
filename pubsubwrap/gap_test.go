package pubsubwrap

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// trio is three servers with a hooked client.
type trio struct {
	a, b, c *redistest.Redis
	hook    *multidb.Hook
	rdb     *redis.Client
}

// newTrio starts them; a is far away if so.
func newTrio(t *testing.T, aIsFar bool) *trio {
	t.Helper()
	p := &trio{a: redistest.Start(t), b: redistest.Start(t), c: redistest.Start(t)}
	a := p.a.Options()
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return farAway{nc}, nil
	}
	if aIsFar {
		a.Dialer = dial
	}
	var err error
	p.hook, err = multidb.New(t.Context(), multidb.Options{
		Databases: []multidb.Database{
			{Name: "a", Options: a},
			{Name: "b", Weight: 0.5, Options: p.b.Options()},
			{Name: "c", Weight: 0.4, Options: p.c.Options()},
		},
		Initial: multidb.InitialAll,
		Logger:  slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.hook.Close()) })
	p.rdb = redis.NewClient(p.a.Options())
	t.Cleanup(func() { _ = p.rdb.Close() })
	p.rdb.AddHook(p.hook)
	return p
}

// until reads the stream up to a message with this payload, which it leaves out.
func until(t *testing.T, sub *Subscriber, payload string) (messages []string, notices []Switched) {
	t.Helper()
	for {
		e := next(t, sub)
		switch {
		case e.Switched != nil:
			notices = append(notices, *e.Switched)
		case e.Message != nil && e.Message.Payload == payload:
			return messages, notices
		case e.Message != nil:
			messages = append(messages, e.Message.Payload)
		}
	}
}

// TestHeldIsDeliveredOnce. Events: a switches to b, which holds what it receives until a, which is far, has
// answered; within Linger there is a switch to c and one back to b, whose link goes to the end of the row.
func TestHeldIsDeliveredOnce(t *testing.T) {
	p := newTrio(t, true)
	ctx := t.Context()
	sub, err := New(p.rdb, Options{Buffer: 100000, Linger: 5 * time.Second})
	require.NoError(t, err)
	closing(t, sub)
	require.NoError(t, sub.Subscribe(ctx, "x"))
	require.NoError(t, p.hook.SetActive(ctx, "b"))
	var stop atomic.Bool
	var wg sync.WaitGroup
	n := 0
	wg.Go(func() {
		for ; !stop.Load(); n++ {
			_ = p.b.Client().Publish(ctx, "x", n).Err()
			time.Sleep(2 * time.Millisecond) // the rate of a publisher: no condition to wait for
		}
	})
	for _, to := range []string{"c", "b", "c", "b"} {
		time.Sleep(100 * time.Millisecond) // so that something is held: it cannot be seen from outside
		require.NoError(t, p.hook.SetActive(ctx, to))
	}
	stop.Store(true)
	wg.Wait()
	require.NoError(t, p.b.Client().Publish(ctx, "x", "end").Err())
	messages, notices := until(t, sub, "end")
	seen := make(map[string]int)
	for _, m := range messages {
		seen[m]++
	}
	for i := range n {
		require.Equal(t, 1, seen[fmt.Sprint(i)], "of message %d of %d", i, n)
	}
	require.Len(t, notices, 5)
}

// TestGapOfSlowReader. Events: the application reads nothing, so that the reader is blocked; the connection is
// lost, messages are published that nobody receives; 500 ms later the application reads on.
func TestGapOfSlowReader(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	sub, err := New(p.rdb, Options{Buffer: 1})
	require.NoError(t, err)
	closing(t, sub)
	require.NoError(t, sub.Subscribe(ctx, "a"))
	for i := range 5 {
		require.NoError(t, p.rdb.Publish(ctx, "a", i).Err())
	}
	eventually(t, waitFor, "the reader to be blocked", func() bool { return sub.Stats().Buffered == 1 })
	require.NoError(t, p.east.Client().ClientKillByFilter(ctx, "TYPE", "pubsub").Err())
	require.NoError(t, p.rdb.Publish(ctx, "a", "missed").Err())
	missed := time.Now()
	time.Sleep(500 * time.Millisecond) // how slow the application is: no condition to wait for
	for {
		e := next(t, sub)
		if e.Switched == nil {
			continue
		}
		require.GreaterOrEqual(t, e.Switched.Gap, time.Since(missed)-100*time.Millisecond)
		require.GreaterOrEqual(t, e.Switched.Gap, 500*time.Millisecond)
		return
	}
}

// TestGapOfUnplannedSwitch. Events: the active database refuses writes but still passes messages on, and the
// new one takes 400 ms to accept a connection, while publishers are there already.
func TestGapOfUnplannedSwitch(t *testing.T) {
	p := &pair{east: redistest.Start(t), west: redistest.Start(t)}
	var slow atomic.Bool
	p.dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if slow.Load() {
			time.Sleep(400 * time.Millisecond) // what is being tested: no condition to wait for
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	p.attach(t)
	ctx := t.Context()
	require.NoError(t, p.hook.SetActive(ctx, "west"))
	p.hook.Release()
	sub, err := New(p.rdb, Options{Buffer: 10000})
	require.NoError(t, err)
	closing(t, sub)
	require.NoError(t, sub.Subscribe(ctx, "a"))
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !stop.Load() {
			_ = p.west.Client().Publish(ctx, "a", "west").Err()
			time.Sleep(2 * time.Millisecond) // the rate of a publisher: no condition to wait for
		}
	})
	require.NoError(t, p.west.Client().ReplicaOf(ctx, "127.0.0.1", "1").Err())
	choice := p.hook.Choice()
	slow.Store(true)
	wg.Go(func() { _ = p.rdb.Incr(ctx, "n").Err() })
	<-choice.Over()
	require.False(t, p.hook.Choice().Planned)
	for {
		e := next(t, sub)
		if e.Switched == nil {
			continue
		}
		require.GreaterOrEqual(t, e.Switched.Gap, 350*time.Millisecond)
		break
	}
	stop.Store(true)
	wg.Wait()
}

// TestServerEndsASubscription. Events: the database is a node of a cluster, and the slot of a shard channel is
// taken from it: it ends the subscription without being asked.
func TestServerEndsASubscription(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0") // the bus would have the port number plus 10,000, which may be none
	require.NoError(t, err)
	bus := free.Addr().(*net.TCPAddr).Port
	require.NoError(t, free.Close())
	p := &pair{
		east: redistest.Start(t, redistest.Lines("cluster-enabled yes", fmt.Sprint("cluster-port ", bus))),
		west: redistest.Start(t),
	}
	ctx := t.Context()
	east := p.east.Client()
	require.NoError(t, east.ClusterAddSlotsRange(ctx, 0, 16383).Err())
	eventually(t, waitFor, "the cluster", func() bool {
		return strings.Contains(east.ClusterInfo(ctx).Val(), "cluster_state:ok")
	})
	p.attach(t)
	sub, err := New(p.rdb, Options{})
	require.NoError(t, err)
	closing(t, sub)
	require.NoError(t, sub.SSubscribe(ctx, "s"))
	require.NoError(t, sub.Subscribe(ctx, "a"))
	require.NoError(t, east.SPublish(ctx, "s", "heard").Err())
	require.Equal(t, "heard", message(t, sub).Payload)

	slot := int(east.ClusterKeySlot(ctx, "s").Val())
	require.NoError(t, east.ClusterDelSlots(ctx, slot).Err())
	n := notice(t, sub)
	require.Equal(t, Switched{From: "east", To: "east", Reason: ReasonConnectionLost, Gap: n.Gap}, n)
	require.Positive(t, n.Gap)
	var refused *SubscribeError
	require.ErrorAs(t, next(t, sub).Err, &refused)
	require.Equal(t, ShardChannel, refused.Kind)

	require.NoError(t, east.ClusterAddSlots(ctx, slot).Err())
	require.NoError(t, sub.SSubscribe(ctx, "s"))
	require.NoError(t, east.SPublish(ctx, "s", "heard again").Err())
	require.Equal(t, "heard again", message(t, sub).Payload)
	require.NoError(t, sub.SUnsubscribe(ctx, "s"))
	require.NoError(t, sub.Unsubscribe(ctx, "a"))
}

// TestRefusedUnsubscribe. Events: the access rules of a user do not allow UNSUBSCRIBE.
func TestRefusedUnsubscribe(t *testing.T) {
	rules := redistest.Users("app on >pw ~* &* +@all -unsubscribe")
	p := &pair{east: redistest.Start(t, rules), west: redistest.Start(t, rules), login: "app"}
	p.attach(t)
	ctx := t.Context()
	sub, err := Subscribe(ctx, p.rdb, "a", "b")
	require.NoError(t, err)
	closing(t, sub)
	bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var refused *SubscribeError
	require.ErrorAs(t, sub.Unsubscribe(bounded, "a", "b"), &refused)
	require.ErrorAs(t, next(t, sub).Err, &refused)
	require.Contains(t, refused.Error(), "NOPERM")
	require.NoError(t, sub.Subscribe(bounded, "a"))
}
