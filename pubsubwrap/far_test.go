package pubsubwrap

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// TestGapOfADistantDatabase. Events: a publisher beside a database that is far away publishes; the way there is reset, and what was on
// it is lost. It was published long before the subscriber noticed.
func TestGapOfADistantDatabase(t *testing.T) {
	const far = 200 * time.Millisecond
	east := redistest.Start(t)
	proxy := faultproxy.Start(t, east.Addr())
	ctx := t.Context()
	hook, err := multidb.New(ctx, multidb.Options{Databases: []multidb.Database{{Name: "east", Options: &redis.Options{Addr: proxy.Addr()}}}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, hook.Close()) })
	rdb := redis.NewClient(&redis.Options{Addr: proxy.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	rdb.AddHook(hook)
	proxy.Delay(far)
	sub, err := Subscribe(ctx, rdb, "a")
	require.NoError(t, err)
	closing(t, sub)

	var mu sync.Mutex
	done := map[int]time.Time{} // when each was published
	stop := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(stop)
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(3 * time.Millisecond):
			}
			if east.Client().Publish(context.Background(), "a", i).Err() == nil {
				mu.Lock()
				done[i] = time.Now()
				mu.Unlock()
			}
		}
	})
	seen := map[int]bool{}
	for len(seen) < 100 {
		n, err := strconv.Atoi(message(t, sub).Payload)
		require.NoError(t, err)
		seen[n] = true
	}
	proxy.Reset()
	var gap time.Time
	last := 0
	for gap.IsZero() || len(seen) < 200 {
		e := next(t, sub)
		switch {
		case e.Switched != nil:
			gap = time.Now().Add(-e.Switched.Gap)
		case e.Message != nil:
			last, err = strconv.Atoi(e.Message.Payload)
			require.NoError(t, err)
			seen[last] = true
		}
	}
	mu.Lock()
	defer mu.Unlock()
	lost, early := 0, time.Duration(0)
	for i := range last {
		if at := done[i]; !seen[i] && !at.IsZero() {
			lost++
			early = max(early, gap.Sub(at))
		}
	}
	t.Logf("%d lost, the first one %v before the gap begins", lost, early)
	require.NotZero(t, lost, "nothing was on the way")
	require.Less(t, early, far/2, "lost outside of the gap") // this goroutine hears of the notice a moment after it was made
}
