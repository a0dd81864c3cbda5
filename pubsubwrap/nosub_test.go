package pubsubwrap

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/memnet"
	"github.com/redishook/multidb/internal/testkit/scripted"
)

// strict is a database that answers UNSUBSCRIBE on a connection without subscriptions with an error, as Valkey 8.0 does. It
// refuses the channel "secret".
type strict struct {
	hold       chan struct{} // the answer to a refused SUBSCRIBE waits for it; nil: it does not
	held       chan struct{} // closed when one waits
	unanswered atomic.Int64  // how many UNSUBSCRIBE had nothing to end

	mu         sync.Mutex
	subscribed map[uint64]map[string]bool
}

func (d *strict) answer(r scripted.Request) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	channels := d.subscribed[r.Conn]
	if channels == nil {
		channels = map[string]bool{}
		d.subscribed[r.Conn] = channels
	}
	var replies string
	switch r.Name {
	case "subscribe":
		for _, name := range r.Args[1:] {
			if name == "secret" {
				if d.hold != nil {
					close(d.held)
					<-d.hold
				}
				return scripted.Error("NOPERM No permissions to access a channel")
			}
		}
		for _, name := range r.Args[1:] {
			channels[name] = true
			replies += scripted.Push(scripted.Bulk(r.Name), scripted.Bulk(name), scripted.Int(len(channels)))
		}
	case "unsubscribe":
		if len(channels) == 0 {
			d.unanswered.Add(1)
			return scripted.Error("NOSUB 'unsubscribe' command executed not in subscribed mode")
		}
		for _, name := range r.Args[1:] {
			delete(channels, name)
			replies += scripted.Push(scripted.Bulk(r.Name), scripted.Bulk(name), scripted.Int(len(channels)))
		}
	default:
		return scripted.Error("ERR unknown command")
	}
	return replies
}

// subscriber returns one on the database alone.
func (d *strict) subscriber(t *testing.T) *Subscriber {
	const addr = "10.0.0.1:6379"
	d.subscribed = map[uint64]map[string]bool{}
	var network memnet.Network
	ln, err := network.Listen(addr)
	require.NoError(t, err)
	scripted.Serve(t, ln, d.answer)
	options := func() *redis.Options {
		return &redis.Options{Addr: addr, Dialer: network.Dial}
	}
	hook, err := multidb.New(t.Context(), multidb.Options{
		Databases: []multidb.Database{{Name: "only", Options: options()}}, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, hook.Close()) })
	rdb := redis.NewClient(options())
	t.Cleanup(func() { _ = rdb.Close() })
	rdb.AddHook(hook)
	sub, err := New(rdb, Options{})
	require.NoError(t, err)
	closing(t, sub)
	return sub
}

// TestNothingToEndIsNotEnded. Events: a channel is refused, so nothing is subscribed; the application ends the subscription.
func TestNothingToEndIsNotEnded(t *testing.T) {
	d := &strict{}
	sub := d.subscriber(t)
	ctx, cancel := context.WithTimeout(t.Context(), waitFor)
	defer cancel()
	var refused *SubscribeError
	require.ErrorAs(t, sub.Subscribe(ctx, "secret"), &refused)
	require.ErrorAs(t, next(t, sub).Err, &refused)
	require.NoError(t, sub.Unsubscribe(ctx, "secret"))
	require.NoError(t, sub.Subscribe(ctx, "open"))
	require.NoError(t, sub.Unsubscribe(ctx, "open"))
	require.NoError(t, sub.Unsubscribe(ctx, "open"), "twice")
	require.NoError(t, sub.Subscribe(ctx, "open"))
	require.Zero(t, d.unanswered.Load(), "UNSUBSCRIBEs that had nothing to end")
	require.Zero(t, sub.Stats().Buffered, "events")
}

// TestEndOfWhatIsRefusedMeanwhile. Events: UNSUBSCRIBE is on its way when the answer to SUBSCRIBE comes, which is a refusal.
func TestEndOfWhatIsRefusedMeanwhile(t *testing.T) {
	d := &strict{hold: make(chan struct{}), held: make(chan struct{})}
	sub := d.subscriber(t)
	ctx, cancel := context.WithTimeout(t.Context(), waitFor)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { _ = sub.Subscribe(ctx, "secret") })
	<-d.held
	ended := make(chan error, 1)
	wg.Go(func() { ended <- sub.Unsubscribe(ctx, "secret") })
	eventually(t, waitFor, "both to be asked for", func() bool {
		sub.mu.Lock()
		defer sub.mu.Unlock()
		return sub.links[noSlot].changes == 2
	})
	close(d.hold)
	require.NoError(t, <-ended)
	wg.Wait()
	var refused *SubscribeError
	require.ErrorAs(t, next(t, sub).Err, &refused)
	require.ErrorContains(t, refused, "NOPERM")
	require.NoError(t, sub.Subscribe(ctx, "open"))
	require.EqualValues(t, 1, d.unanswered.Load())
	require.Zero(t, sub.Stats().Buffered, "events")
}
