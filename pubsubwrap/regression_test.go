package pubsubwrap

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/redistest"
)

// trio is three servers with a hooked client, a being far away.
type trio struct {
	a, b, c *redistest.Redis
	hook    *multidb.Hook
	rdb     *redis.Client
}

func newTrio(t *testing.T) *trio {
	t.Helper()
	p := &trio{a: redistest.Start(t), b: redistest.Start(t), c: redistest.Start(t)}
	far := p.a.Options()
	far.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return farAway{nc}, nil
	}
	var err error
	p.hook, err = multidb.New(t.Context(), multidb.Options{
		Databases: []multidb.Database{
			{Name: "a", Options: far},
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

// TestRegressionHeldIsDeliveredOnce. Events: a switches to b, which holds what it receives until a, which is far, has
// answered; within Linger there is a switch to c and one back to b, whose link goes to the end of the row.
func TestRegressionHeldIsDeliveredOnce(t *testing.T) {
	p := newTrio(t)
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
