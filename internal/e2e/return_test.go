//go:build unix

package e2e_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/load"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// Events: both databases crash, and one returns, a long way away, over TLS and with an index. It is used within five round trips: TCP,
// TLS, the login and the question are four, and a look comes every 50 ms.
func TestReturnOfADistantDatabase(t *testing.T) {
	ways := []time.Duration{time.Millisecond, 80 * time.Millisecond, 300 * time.Millisecond}
	if testing.Short() {
		ways = ways[1:2]
	}
	for _, way := range ways {
		t.Run(way.String(), func(t *testing.T) {
			p := &pair.Pair{East: redistest.Start(t, redistest.TLS()), West: redistest.Start(t)}
			far := startFar(t, p.East.Addr(), way)
			east := p.East.Options()
			east.Addr, east.DB, east.Dialer = far.Addr().String(), 3, far.dialer(p.East)
			p.Attach(t, east, p.West.Options(), func(o *multidb.Options, r *redis.Options) {
				o.Initial = multidb.InitialAll
				r.TLSConfig = nil
			})
			ctx := context.Background()
			require.NoError(t, p.RDB.Set(ctx, "k", 1, 0).Err())
			p.East.Kill()
			p.West.Kill()
			redistest.Eventually(t, 10*time.Second, "the outage", func() bool { _ = p.RDB.Set(ctx, "k", 1, 0).Err(); return p.Hook.Stats().Down })
			time.Sleep(2 * time.Second) // and it lasts
			p.East.Restart()
			began := time.Now()
			redistest.Eventually(t, 30*time.Second, "the return", func() bool { return !p.Hook.Stats().Down })
			took := time.Since(began)
			load.Report(t, "all down, one returns", fmt.Sprintf("round trip %v, TLS and an index", way), took.Round(time.Millisecond).String()+" after it answers", "`ErrNoDatabase` meanwhile")
			require.Less(t, took, 5*way+600*time.Millisecond)
			require.NoError(t, p.RDB.Set(ctx, "k", 1, 0).Err())
		})
	}
}
