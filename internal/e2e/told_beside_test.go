package e2e_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// What the hook does for itself is nothing that the user's hooks and limiters should hear of, and what the user does himself
// is nothing that the counters should blame on a database.

// bystander is a hook and a limiter of the user's that notes what passes it.
type bystander struct {
	mu     sync.Mutex
	heard  []string
	failed int
}

func (b *bystander) DialHook(next redis.DialHook) redis.DialHook { return next }

func (b *bystander) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		b.note(cmd)
		return err
	}
}

func (b *bystander) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			b.note(cmd)
		}
		return err
	}
}

func (b *bystander) note(cmd redis.Cmder) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var args []string
	for _, arg := range cmd.Args() {
		text, _ := arg.(string)
		args = append(args, text)
	}
	b.heard = append(b.heard, strings.Join(args, " "))
}

func (b *bystander) Allow() error { return nil }

func (b *bystander) ReportResult(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil && !errors.Is(err, redis.Nil) {
		b.failed++
	}
}

// own returns the requests of the hook's own that were heard.
func (b *bystander) own() (found []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, command := range b.heard {
		if strings.Contains(command, "multidb") || strings.HasPrefix(command, "ping") {
			found = append(found, command)
		}
	}
	return found
}

// Events: a client with idle connections and a circuit breaker as a hook is attached. Each connection is asked whose it is, and
// replaced by a request that fails. The breaker counts dozens of failures and opens.
func TestAttachIsHeardByNobody(t *testing.T) {
	east := redistest.Start(t)
	user := &bystander{}
	rdb := redis.NewClient(&redis.Options{Addr: east.Addr(), MinIdleConns: 20, Limiter: user})
	defer rdb.Close()
	rdb.AddHook(user)
	redistest.Eventually(t, 5*time.Second, "the idle connections", func() bool { return rdb.PoolStats().TotalConns >= 20 })
	hook, err := multidb.New(t.Context(), multidb.Options{Databases: []multidb.Database{{Name: "east", Options: east.Options()}}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	defer hook.Close()
	require.NoError(t, hook.Attach(rdb))
	require.NoError(t, rdb.Set(t.Context(), "k", 1, 0).Err())
	require.GreaterOrEqual(t, hook.Stats().Databases[0].Dialed, uint64(1))
	own := user.own()
	require.LessOrEqual(t, len(own), 1, "one question, before the first connection: %q", own)
	require.Zero(t, user.failed, "the limiter has heard of no failure")

	for range 10 {
		require.Equal(t, hook, multidb.HookOf(rdb))
	}
	require.Len(t, user.own(), len(own), "the hook of a client is known from then on")
}

// Events: a process sends a request now and then, and in between nothing is outstanding. The request wakes the monitor, which
// counts the silence from before its rest, and suspects a healthy database.
func TestARequestAfterARestRaisesNoSuspicion(t *testing.T) {
	p := pair.New(t, nil)
	require.NoError(t, p.RDB.Ping(t.Context()).Err())
	for range 30 {
		time.Sleep(350 * time.Millisecond) // longer than a rest, and shorter than the interval of the active database
		require.ErrorIs(t, p.RDB.Get(t.Context(), "k").Err(), redis.Nil)
	}
	require.Zero(t, p.Hook.Stats().Databases[0].Suspicions)
}

// A deadline of the caller's, and the end of its client, are no incident of a healthy database.
func TestUnknownDoesNotCountWhatTheCallerDoesItself(t *testing.T) {
	p := pair.NewProxied(t, func(o *multidb.Options, client *redis.Options) {
		client.ContextTimeoutEnabled = true
		o.Health.StallTimeout = time.Minute // nothing is wrong with the database, however long its answers take
	})
	require.NoError(t, p.RDB.Ping(t.Context()).Err())
	p.ToEast.Delay(100 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	err := p.RDB.Incr(ctx, "n").Err()
	var failed *multidb.CommandError
	require.ErrorAs(t, err, &failed)
	require.True(t, failed.Sent, "the caller is told all the same")
	require.Zero(t, p.Hook.Stats().Databases[0].Unknown)

	done := make(chan error, 1)
	go func() { done <- p.RDB.Incr(t.Context(), "n").Err() }()
	redistest.Eventually(t, 5*time.Second, "the request", func() bool { return p.ToEast.Count("incr") >= 2 })
	require.NoError(t, p.RDB.Close())
	err = <-done
	require.Error(t, err)
	require.True(t, errors.Is(err, net.ErrClosed) || errors.Is(err, redis.ErrClosed), "%v", err)
	require.Zero(t, p.Hook.Stats().Databases[0].Unknown)
}
