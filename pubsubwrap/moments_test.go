package pubsubwrap

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// TestEndAtAnyMoment: a subscriber is closed, its contexts end and its handlers panic at random moments, while there are
// switches, lost connections and messages. Nothing waits for ever, and goleak is the judge of what is left.
func TestEndAtAnyMoment(t *testing.T) {
	n := 150
	if testing.Short() {
		n = 40
	}
	p := newPair(t)
	ctx := t.Context()
	soon := func() time.Duration { return time.Duration(rand.IntN(20000)) * time.Microsecond }
	for i := range n {
		sub, err := New(p.rdb, Options{
			Buffer: 1 + rand.IntN(3), Policy: Policy(rand.IntN(3)), FanIn: rand.IntN(3) == 0,
			Linger: []time.Duration{-1, 5 * time.Millisecond, time.Minute}[rand.IntN(3)],
			MessageID: func(m *redis.Message) string {
				if rand.IntN(4) == 0 {
					panic("no id")
				}
				return ""
			},
		})
		require.NoError(t, err)
		ending, cancel := context.WithTimeout(ctx, soon())
		var wg sync.WaitGroup
		wg.Go(func() { _ = sub.Subscribe(ending, "a", "b") })
		wg.Go(func() { _ = sub.PSubscribe(ctx, "c*"); _ = sub.PUnsubscribe(ctx, "c*") })
		wg.Go(func() {
			_ = sub.Handle(ctx, func(ctx context.Context, m *redis.Message) {
				switch rand.IntN(4) {
				case 0:
					panic("at any moment")
				case 1:
					_ = sub.Subscribe(ending, "d")
				case 2:
					_ = sub.Close()
				}
			}, "h")
		})
		wg.Go(func() { _ = sub.Run(ending, nil); _ = sub.Run(ctx, nil) })
		wg.Go(func() { _ = p.hook.SetActive(ctx, []string{"west", "east"}[i%2]) })
		wg.Go(func() {
			for range 20 {
				_ = p.rdb.Publish(ctx, []string{"a", "h", "cc"}[rand.IntN(3)], "x").Err()
			}
			_ = p.server(p.hook.Active()).Client().ClientKillByFilter(ctx, "TYPE", "pubsub").Err()
		})
		time.Sleep(soon()) // the moment, not a wait for something
		began := time.Now()
		require.NoError(t, sub.Close())
		require.Less(t, time.Since(began), 5*time.Second)
		wg.Wait()
		cancel()
		require.ErrorIs(t, sub.Subscribe(ctx, "late"), ErrClosed)
	}
}

// TestThreeDatabases: planned switches around a triangle lose and double nothing while publishers use the hook, and keep
// the order as long as the databases that were left linger for less than it takes to come back.
func TestThreeDatabases(t *testing.T) {
	p := newTrio(t, false)
	sub, err := New(p.rdb, Options{Linger: 50 * time.Millisecond, Buffer: 10000})
	require.NoError(t, err)
	require.NoError(t, sub.PSubscribe(t.Context(), "news:*"))
	w := startPress(p.rdb)
	stop := w.readAll(sub, true)
	defer stop()
	for i := range 15 {
		w.more(t, 200)
		require.NoError(t, p.hook.SetActive(t.Context(), []string{"b", "c", "a"}[i%3]))
	}
	w.end()
	w.arrived(t)
	lost, _ := w.missing()
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Zero(t, lost)
	require.Empty(t, w.wrong)
	for _, n := range w.notices {
		require.Zero(t, n.Gap)
	}
}

// TestCrashesOfThree: the first two of three die, one after the other.
func TestCrashesOfThree(t *testing.T) {
	p := &pair{east: redistest.Start(t), west: redistest.Start(t)}
	p.attach(t)
	ctx := t.Context()
	north := redistest.Start(t)
	require.NoError(t, p.hook.Add(ctx, multidb.Database{Name: "north", Weight: 0.1, Options: north.Options()}))
	sub, err := PSubscribe(ctx, p.rdb, "news:*")
	require.NoError(t, err)
	w := startPress(p.rdb)
	stop := w.readAll(sub, true)
	defer stop()
	for _, server := range []*redistest.Redis{p.east, p.west} {
		w.more(t, 200)
		choice := p.hook.Choice()
		server.Kill()
		<-choice.Over()
	}
	eventually(t, waitFor, "the last of them", func() bool { return p.hook.Active() == "north" })
	w.more(t, 200)
	w.end()
	w.arrived(t)
	lost, unsaid := w.missing()
	t.Logf("%d lost in gaps", lost)
	require.Empty(t, w.wrong)
	require.Empty(t, unsaid)
}

// TestShortLinger: publishers that use the hook of the subscriber need no more than a moment.
func TestShortLinger(t *testing.T) {
	p := newPair(t)
	sub, err := New(p.rdb, Options{Linger: 20 * time.Millisecond, Buffer: 10000})
	require.NoError(t, err)
	require.NoError(t, sub.PSubscribe(t.Context(), "news:*"))
	w := startPress(p.rdb)
	stop := w.readAll(sub, true)
	defer stop()
	for i := range 40 {
		w.more(t, 100)
		require.NoError(t, p.hook.SetActive(t.Context(), []string{"west", "east"}[i%2]))
	}
	w.end()
	w.arrived(t)
	eventually(t, waitFor, "the last notice", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.notices) >= 40
	})
	lost, _ := w.missing()
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Zero(t, lost)
	require.Empty(t, w.wrong)
	require.Len(t, w.notices, 40)
}
