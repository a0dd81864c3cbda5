package e2e_test

import (
	"context"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/fakeserver"
	"github.com/redishook/multidb/internal/testkit/load"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// What the user's own code, and the client's own Sentinel, must not do to callers of another database.

// TestAProviderWithoutContextHoldsNobody: events: 1. east dies, and its CredentialsProvider, which takes no context, asks a service
// that is lost with it. 2. The hook switches. 3. The callers waited for the provider.
func TestAProviderWithoutContextHoldsNobody(t *testing.T) {
	var hole atomic.Bool
	p := pair.New(t, func(o *multidb.Options, r *redis.Options) {
		o.Databases[0].Options.CredentialsProvider = func() (string, string) {
			if hole.Load() {
				time.Sleep(10 * time.Second)
			}
			return "", ""
		}
		r.PoolSize = 10
	})
	l := load.Start(20, func(ctx context.Context, g, i int) error { return p.RDB.Set(ctx, "k"+strconv.Itoa(g), i, 0).Err() })
	redistest.Eventually(t, 10*time.Second, "load to run", func() bool { return l.Ops.Load() > 100 })
	l.Strike(func() {
		hole.Store(true)
		p.East.Kill()
	})
	_, last := l.AwaitRecovery(t, 8*time.Second)
	l.End()
	require.Less(t, last, 3*time.Second, "west was active and healthy")
}

// TestTheClientsOwnSentinelCutsNoOtherDatabase: events: 1. A client made for Sentinel listens to it, and is attached. 2. A request is
// in flight on west. 3. The client's own group fails over, and go-redis closes what does not lead to its new master.
func TestTheClientsOwnSentinelCutsNoOtherDatabase(t *testing.T) {
	node := func() *fakeserver.Server {
		return fakeserver.Listen(t, func(_ net.Conn, args []string) (string, bool) { return fakeserver.Default(args), true })
	}
	first, second := node(), node()
	sentinel := newFakeSentinel(t, first)
	var incr atomic.Int64
	west := fakeserver.Listen(t, func(_ net.Conn, args []string) (string, bool) {
		if strings.EqualFold(args[0], "incr") {
			incr.Add(1)
			time.Sleep(300 * time.Millisecond)
			return ":1\r\n", true
		}
		return fakeserver.Default(args), true
	})
	failover := redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{sentinel.Addr()}}
	h := pair.Hook(t, multidb.Options{Databases: []multidb.Database{
		{Name: "group", Weight: 0.5, Failover: &failover},
		{Name: "west", URL: "redis://" + west.Addr()},
	}, Health: pair.Patient})
	own := failover
	own.MinIdleConns = 2
	rdb := redis.NewFailoverClient(&own)
	defer rdb.Close()
	redistest.Eventually(t, 5*time.Second, "the client to listen to its Sentinel", func() bool {
		sentinel.mu.Lock()
		defer sentinel.mu.Unlock()
		return len(sentinel.subs) >= 2 && rdb.PoolStats().IdleConns == 2 // the hook's database listens as well
	})
	require.NoError(t, h.Attach(rdb))
	require.Equal(t, "west", h.Active())
	require.NoError(t, rdb.Ping(t.Context()).Err())
	answer := make(chan error, 1)
	go func() { answer <- rdb.Incr(context.Background(), "n").Err() }()
	redistest.Eventually(t, 5*time.Second, "the INCR on west", func() bool { return incr.Load() == 1 })
	sentinel.failover(second)
	require.NoError(t, <-answer)
}

// TestADialThatEndsByDialTimeoutWasNotSent: events: 1. The way to east is lost: connections are reset, dials lead nowhere, and each
// ends by the client's short DialTimeout, before the verdict. 2. go-redis' pool kept the error, and answered with it from memory.
func TestADialThatEndsByDialTimeoutWasNotSent(t *testing.T) {
	var hole atomic.Bool
	p := pair.New(t, func(o *multidb.Options, r *redis.Options) {
		east := o.Databases[0].Options
		addr := east.Addr
		east.Dialer = func(ctx context.Context, network, _ string) (net.Conn, error) {
			if hole.Load() {
				<-ctx.Done()
				return nil, &net.OpError{Op: "dial", Net: network, Err: ctx.Err()}
			}
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}
		r.DialTimeout = 100 * time.Millisecond
	})
	l := load.Start(20, func(ctx context.Context, g, i int) error { return p.RDB.Set(ctx, "k"+strconv.Itoa(g), i, 0).Err() })
	redistest.Eventually(t, 10*time.Second, "load to run", func() bool { return l.Ops.Load() > 100 })
	l.Strike(func() {
		hole.Store(true)
		p.East.Kill()
	})
	l.AwaitRecovery(t, 8*time.Second)
	l.End()
	require.Zero(t, l.Other.Load(), "errors of commands that were not sent: %v", l.Errs)
}
