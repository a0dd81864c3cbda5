package pubsubwrap

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// TestDropOldestKeepsNotices. Events: the buffer is full of notices and messages while more come.
func TestDropOldestKeepsNotices(t *testing.T) {
	for _, policy := range []Policy{DropOldest, DropNewest} {
		t.Run(fmt.Sprint(policy), func(t *testing.T) {
			p := newPair(t)
			ctx := t.Context()
			sub, err := New(p.rdb, Options{Buffer: 4, Policy: policy, Linger: -1})
			require.NoError(t, err)
			closing(t, sub)
			require.NoError(t, sub.Subscribe(ctx, "a"))
			const switches = 9
			payload := 0
			for i := range switches {
				for range 10 {
					require.NoError(t, p.rdb.Publish(ctx, "a", payload).Err())
					payload++
				}
				require.NoError(t, p.hook.SetActive(ctx, []string{"west", "east"}[i%2]))
			}
			require.NoError(t, p.rdb.Publish(ctx, "a", "last").Err())
			eventually(t, waitFor, "everything to arrive", func() bool {
				stats := sub.Stats()
				return int(stats.Dropped)+stats.Buffered >= payload+switches || policy == DropOldest && lastHas(sub, "last")
			})
			notices, last := 0, -1
			for notices < switches || policy == DropOldest {
				e := next(t, sub)
				if e.Switched != nil {
					notices++
					require.Equal(t, []string{"west", "east"}[(notices-1)%2], e.Switched.To)
					continue
				}
				require.NoError(t, e.Err)
				if e.Message.Payload == "last" {
					break
				}
				n, err := strconv.Atoi(e.Message.Payload)
				require.NoError(t, err)
				require.Greater(t, n, last)
				require.Equal(t, n/10, notices, "of message %d: it was published after as many switches", n)
				last = n
			}
			require.Equal(t, switches, notices)
		})
	}
}

// lastHas reports whether the newest event that is waiting behind the channel is a message with this payload.
func lastHas(sub *Subscriber, payload string) bool {
	sub.buf.mu.Lock()
	defer sub.buf.mu.Unlock()
	n := len(sub.buf.more)
	return n > 0 && sub.buf.more[n-1].Message != nil && sub.buf.more[n-1].Message.Payload == payload
}

// TestSubscribeFromAHandler. Events: the buffer is full, so the reader waits for the handler; the handler waits
// for the answer to its Subscribe, which the reader has to read.
func TestSubscribeFromAHandler(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	sub, err := New(p.rdb, Options{Buffer: 1})
	require.NoError(t, err)
	closing(t, sub)
	const n = 200
	full := make(chan struct{})
	var got []string
	var errs []error
	done := make(chan struct{})
	require.NoError(t, sub.Handle(ctx, func(ctx context.Context, m *redis.Message) {
		<-full
		got = append(got, m.Payload)
		if len(got)%20 == 1 {
			bounded, cancel := context.WithTimeout(ctx, waitFor)
			defer cancel()
			errs = append(errs, sub.Subscribe(bounded, "more:"+m.Payload), sub.Unsubscribe(bounded, "more:"+m.Payload))
		}
		if len(got) == n {
			close(done)
		}
	}, "a"))
	var wg sync.WaitGroup
	running, stop := context.WithCancel(ctx)
	wg.Go(func() { _ = sub.Run(running, nil) })
	for i := range n {
		require.NoError(t, p.rdb.Publish(ctx, "a", i).Err())
	}
	close(full)
	select {
	case <-done:
	case <-time.After(waitFor):
		require.Fail(t, "the handler waits for itself")
	}
	stop()
	wg.Wait()
	for i := range n {
		require.Equal(t, strconv.Itoa(i), got[i])
	}
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.Zero(t, sub.Stats().Dropped)
}

// TestPanickingMessageIDIsContained. Events: the function panics, for one payload.
func TestPanickingMessageIDIsContained(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	sub, err := New(p.rdb, Options{MessageID: func(m *redis.Message) string {
		if m.Payload == "bad" {
			panic("no id")
		}
		return m.Payload
	}})
	require.NoError(t, err)
	closing(t, sub)
	require.NoError(t, sub.Subscribe(ctx, "a"))
	for _, payload := range []string{"1", "bad", "bad", "1", "2"} {
		require.NoError(t, p.rdb.Publish(ctx, "a", payload).Err())
	}
	require.Equal(t, "1", next(t, sub).Message.Payload)
	var panicked *PanicError
	require.ErrorAs(t, next(t, sub).Err, &panicked)
	require.Equal(t, "MessageID", panicked.Function)
	require.Equal(t, "a", panicked.Channel)
	require.Contains(t, string(panicked.Stack), "TestPanickingMessageIDIsContained")
	for _, want := range []string{"bad", "bad", "2"} {
		require.Equal(t, want, next(t, sub).Message.Payload)
	}
}

// TestUnsubscribeIsNotUndone. Events: a request is refused for the sake of one name, and all are asked for one by
// one; meanwhile the application unsubscribes from another.
func TestUnsubscribeIsNotUndone(t *testing.T) {
	rules := redistest.Users("app on >pw ~* resetchannels &open +@all")
	p := &pair{east: redistest.Start(t, rules), west: redistest.Start(t, rules), login: "app"}
	p.attach(t)
	ctx := t.Context()
	sub, err := New(p.rdb, Options{Policy: DropOldest})
	require.NoError(t, err)
	closing(t, sub)
	require.NoError(t, sub.Subscribe(ctx))
	for range 200 {
		var wg sync.WaitGroup
		wg.Go(func() { _ = sub.Subscribe(ctx, "open", "secret") })
		eventually(t, waitFor, "the call", func() bool { return sub.only().wants(topic{Channel, "open"}) })
		require.NoError(t, sub.Unsubscribe(ctx, "open"))
		wg.Wait()
		require.NoError(t, sub.Unsubscribe(ctx, "secret"))
		sub.only().mu.Lock()
		home := sub.only().home
		sub.only().mu.Unlock()
		eventually(t, waitFor, "all answers", func() bool {
			home.outbox.mu.Lock()
			defer home.outbox.mu.Unlock()
			return len(home.asked) == 0
		})
		require.Empty(t, p.east.Client().PubSubChannels(ctx, "open").Val())
	}
	// What is asked for anew is asked anew.
	var refused *SubscribeError
	require.ErrorAs(t, sub.Subscribe(ctx, "secret"), &refused)
	require.NoError(t, p.east.Client().ACLSetUser(ctx, "app", "&secret").Err())
	require.NoError(t, sub.Subscribe(ctx, "secret"))
}

// TestSubscribeDoesNotWaitForADial. Events: a switch is announced to a database that takes its time to accept a
// connection; the application subscribes to one more channel meanwhile.
func TestSubscribeDoesNotWaitForADial(t *testing.T) {
	p, delay := slowPair(t)
	ctx := t.Context()
	sub := onWest(t, p)
	delay.Store(int64(time.Second))
	began := time.Now()
	prepared := make(chan struct{})
	sub.wg.Go(func() { defer close(prepared); sub.only().follow.prepare(sub.ctx, "east") })
	eventually(t, waitFor, "the link", func() bool {
		sub.only().mu.Lock()
		defer sub.only().mu.Unlock()
		return len(sub.only().conns) == 2
	})
	require.NoError(t, sub.Subscribe(ctx, "b"))
	require.Less(t, time.Since(began), 700*time.Millisecond)
	<-prepared
	require.Equal(t, []string{"b"}, p.east.Client().PubSubChannels(ctx, "b").Val(), "it was not forgotten there")
}

// TestClosedHookIsNotSilent. Events: the hook is closed, then the connection is lost.
func TestClosedHookIsNotSilent(t *testing.T) {
	for _, fanIn := range []bool{false, true} {
		t.Run(fmt.Sprint("fan-in ", fanIn), func(t *testing.T) {
			p := newPair(t)
			ctx := t.Context()
			sub, err := New(p.rdb, Options{FanIn: fanIn})
			require.NoError(t, err)
			require.NoError(t, sub.Subscribe(ctx, "a"))
			if fanIn { // which keeps a connection to west as well, and may be dialing it
				redistest.Eventually(t, 20*time.Second, "a subscription in west", func() bool {
					return p.west.Client().PubSubNumSub(ctx, "a").Val()["a"] == 1
				})
			}
			require.NoError(t, p.hook.Close())
			require.NoError(t, p.east.Client().Publish(ctx, "a", "still there").Err())
			require.Equal(t, "still there", message(t, sub).Payload)
			for _, server := range []*redistest.Redis{p.east, p.west} {
				require.NoError(t, server.Client().ClientKillByFilter(ctx, "TYPE", "pubsub").Err())
			}
			require.ErrorIs(t, next(t, sub).Err, multidb.ErrClosed)
			_, err = sub.Receive(ctx)
			require.ErrorIs(t, err, ErrClosed)
			require.ErrorIs(t, sub.Subscribe(ctx, "b"), ErrClosed)
			require.NoError(t, sub.Close())
		})
	}
}

// TestLastErrorOfAFullStream. Events: the application has read nothing, so that the buffer is full; the hook is
// closed, then the connection is lost. The application asks for one more channel before it reads.
func TestLastErrorOfAFullStream(t *testing.T) {
	for _, policy := range []Policy{Block, DropOldest, DropNewest} {
		t.Run(fmt.Sprint(policy), func(t *testing.T) {
			p := newPair(t)
			ctx := t.Context()
			sub, err := New(p.rdb, Options{Buffer: 1, Policy: policy, Linger: -1})
			require.NoError(t, err)
			closing(t, sub)
			require.NoError(t, sub.Subscribe(ctx, "a"))
			require.NoError(t, p.hook.SetActive(ctx, "west")) // its notice is in the buffer
			for i := range 3 {
				require.NoError(t, p.west.Client().Publish(ctx, "a", i).Err())
			}
			require.NoError(t, p.hook.Close())
			require.NoError(t, p.west.Client().ClientKillByFilter(ctx, "TYPE", "pubsub").Err())
			require.ErrorIs(t, sub.Subscribe(ctx, "b"), ErrClosed)
			var last Event
			for e := range sub.Channel() {
				last = e
			}
			require.ErrorIs(t, last.Err, multidb.ErrClosed)
		})
	}
}

// TestSubscribeAmongManyRefusals. Events: a database refuses more channels than the buffer keeps notices beyond
// its size, so that the reader waits for the application; that subscribes to one more channel before it reads.
func TestSubscribeAmongManyRefusals(t *testing.T) {
	for _, policy := range []Policy{Block, DropOldest, DropNewest} {
		t.Run(fmt.Sprint(policy), func(t *testing.T) {
			rules := redistest.Users("app on >pw ~* resetchannels &open +@all")
			p := &pair{east: redistest.Start(t, rules), west: redistest.Start(t, rules), login: "app"}
			p.attach(t)
			ctx := t.Context()
			sub, err := New(p.rdb, Options{Buffer: 1, Policy: policy})
			require.NoError(t, err)
			closing(t, sub)
			secret := make([]string, heldMore+100)
			for i := range secret {
				secret[i] = fmt.Sprint("secret:", i)
			}
			require.Error(t, sub.Subscribe(ctx, secret...))
			sub.only().mu.Lock()
			home := sub.only().home
			sub.only().mu.Unlock()
			eventually(t, waitFor, "the reader to wait", home.blocked.Load)
			bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			require.NoError(t, sub.Subscribe(bounded, "open"))
			var refused *SubscribeError
			for range secret {
				require.ErrorAs(t, next(t, sub).Err, &refused)
			}
			require.NoError(t, p.rdb.Publish(ctx, "open", "heard").Err())
			require.Equal(t, "heard", next(t, sub).Message.Payload)
		})
	}
}

// TestErrorInPlaceOfAPong. Events: a database answers every PING with an error, as one that is loading or has lost
// its master does, but subscribes, and passes messages on.
func TestErrorInPlaceOfAPong(t *testing.T) {
	p := newPair(t, redistest.Lines("replica-serve-stale-data no"))
	ctx := t.Context()
	require.NoError(t, p.east.Client().ReplicaOf(ctx, "127.0.0.1", "1").Err())
	eventually(t, waitFor, "the switch", func() bool { return p.hook.Active() == "west" })
	sub, err := New(p.rdb, Options{FanIn: true, HealthInterval: 100 * time.Millisecond})
	require.NoError(t, err)
	closing(t, sub)
	require.NoError(t, sub.Subscribe(ctx, "a"))
	eventually(t, waitFor, "east", func() bool { return len(p.east.Client().PubSubChannels(ctx, "a").Val()) == 1 })
	for _, payload := range []string{"heard", "still heard"} {
		require.NoError(t, p.east.Client().Publish(ctx, "a", payload).Err())
		e := next(t, sub)
		require.NoError(t, e.Err)
		require.NotNil(t, e.Message, "it is no loss either")
		require.Equal(t, payload, e.Message.Payload)
		time.Sleep(time.Second) // for PINGs, and for a second that it is not lost for: no condition to wait for
	}
}
