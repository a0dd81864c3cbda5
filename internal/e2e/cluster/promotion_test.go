package cluster_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/clustertest"
)

// promotion is what was seen of a replica that became a master.
type promotion struct {
	served   time.Time     // it has executed a command on a key of its slots
	followed time.Duration // from then on, until the client of the application sends such commands there
	late     time.Duration // the longest that a goroutine and a node which live have been late meanwhile
}

// watchPromotion waits until a replica of A is promoted, which gets the slot of a key, and the client of the pair knows. What is
// late on this machine anyway is measured beside: a goroutine that sleeps for a millisecond and asks a living node something.
func (p *pair) watchPromotion(t *testing.T, replica *clustertest.Node, key string) promotion {
	t.Helper()
	opt := replica.Options()
	opt.MaxRetries = -1
	direct := redis.NewClient(opt)
	defer direct.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	var late atomic.Int64
	var over atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for !over.Load() {
			began := time.Now()
			time.Sleep(time.Millisecond)
			_ = p.a.Nodes[1].Client().Ping(ctx).Err() // only its time counts
			late.Store(max(late.Load(), int64(time.Since(began)-time.Millisecond)))
		}
	}()
	poll := func(what string, done func() bool) time.Time {
		for !done() {
			require.NoError(t, ctx.Err(), what)
			time.Sleep(time.Millisecond)
		}
		return time.Now()
	}
	// A replica answers with MOVED, and a cluster that is down with CLUSTERDOWN.
	seen := promotion{served: poll("the replica serves", func() bool { return direct.Set(ctx, key, 1, 0).Err() == nil })}
	followed := poll("the client follows", func() bool {
		node, err := p.rdb.MasterForKey(ctx, key)
		return err == nil && node.Options().Addr == replica.Addr()
	})
	seen.followed = followed.Sub(seen.served)
	over.Store(true)
	<-ended
	seen.late = time.Duration(late.Load())
	return seen
}
