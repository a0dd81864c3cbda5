package e2e_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/virtual"
	"github.com/redishook/multidb/window"
)

// What telemetry is told: which database has served a request, which attempt it was, failures by kind and by reply code,
// and every check.

// insider is a hook inside of ours that notes what it can know of each attempt.
type insider struct {
	redis.Hook
	hook *multidb.Hook

	mu   sync.Mutex
	seen []insight
}

func (i *insider) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		before := i.hook.Choice()
		err := next(ctx, cmd)
		i.note(ctx, cmd, before, err)
		return err
	}
}

func (i *insider) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		before := i.hook.Choice()
		err := next(ctx, cmds)
		i.note(ctx, cmds[0], before, err)
		return err
	}
}

func (i *insider) DialHook(next redis.DialHook) redis.DialHook { return next }

func (i *insider) note(ctx context.Context, cmd redis.Cmder, before multidb.Choice, err error) {
	served, ok := i.hook.ServedBy(before, err)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.seen = append(i.seen, insight{cmd.Name(), served, ok, multidb.AttemptOf(ctx), err})
}

func (i *insider) take() []insight {
	i.mu.Lock()
	defer i.mu.Unlock()
	seen := i.seen
	i.seen = nil
	return seen
}

type insight struct {
	command string
	served  multidb.Endpoint
	known   bool
	attempt multidb.Attempt
	err     error
}

func TestServedByNamesTheDatabaseAndTheAttempt(t *testing.T) {
	p := pair.NewProxied(t, func(opt *multidb.Options, client *redis.Options) {
		opt.Databases[0].Options.DB, opt.Databases[1].Options.DB = 1, 2
		client.MaxRetries = -1
	})
	in := &insider{hook: p.Hook}
	p.RDB.AddHook(in)
	ctx := t.Context()
	require.NoError(t, p.RDB.Set(ctx, "k", "v", 0).Err())
	seen := in.take()
	last := seen[len(seen)-1]
	require.True(t, last.known)
	require.Equal(t, multidb.Endpoint{Database: "east", Network: "tcp", Addr: p.ToEast.Addr(), DB: 1}, last.served)
	require.Equal(t, multidb.Attempt{Number: 1}, last.attempt)

	// The reply is lost, so the SET is run again where it is safe: on west, as the connection and its server have ended.
	p.ToEast.Answer(func(args []string) (string, bool) {
		if strings.EqualFold(args[0], "set") {
			go p.ToEast.Refuse() // it waits for the proxy, which is waiting for us
			return "", false
		}
		return "", false
	})
	p.ToEast.DropReplies(func(args []string) bool { return strings.EqualFold(args[0], "set") })
	require.NoError(t, p.RDB.Set(ctx, "k", "w", 0).Err())
	var sets []insight
	for _, s := range in.take() {
		if s.command == "set" {
			sets = append(sets, s)
		}
	}
	require.GreaterOrEqual(t, len(sets), 2)
	first, last := sets[0], sets[len(sets)-1]
	require.Equal(t, "east", first.served.Database)
	require.Error(t, first.err)
	require.True(t, last.known)
	require.Equal(t, multidb.Endpoint{Database: "west", Network: "tcp", Addr: p.ToWest.Addr(), DB: 2}, last.served)
	require.Equal(t, len(sets), last.attempt.Number)
	require.Equal(t, "east", sets[1].attempt.FailedOn)
	require.True(t, sets[1].attempt.Replayed, "it had been sent")
	require.Error(t, sets[1].attempt.Failed)
}

// Events: a session goes on on the database before, in the drain of a planned switch. What it is answered there was not
// served by the active database.
func TestServedByIsSilentAboutASessionInADrain(t *testing.T) {
	p := pair.New(t, nil)
	in := &insider{hook: p.Hook}
	p.RDB.AddHook(in)
	ctx := t.Context()
	err := p.RDB.Watch(ctx, func(tx *redis.Tx) error {
		return tx.Get(ctx, "k").Err()
	}, "k")
	require.ErrorIs(t, err, redis.Nil)
	in.take()
	_ = p.RDB.Watch(ctx, func(tx *redis.Tx) error {
		require.NoError(t, p.Hook.SetActive(ctx, "west"))
		in.take()
		require.ErrorIs(t, tx.Get(ctx, "k").Err(), redis.Nil)
		seen := in.take()
		require.Len(t, seen, 1)
		require.False(t, seen[0].known, "it ran on east")
		require.NoError(t, p.RDB.Set(ctx, "other", 1, 0).Err())
		seen = in.take()
		require.True(t, seen[len(seen)-1].known)
		require.Equal(t, "west", seen[len(seen)-1].served.Database)
		return nil
	}, "k")
}

func TestServedByAllocatesNothing(t *testing.T) {
	p := pair.New(t, nil)
	require.NoError(t, p.RDB.Ping(t.Context()).Err())
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		before := p.Hook.Choice()
		if _, ok := p.Hook.ServedBy(before, nil); !ok {
			t.Error("not known")
		}
		_ = multidb.AttemptOf(t.Context())
	}))
}

func TestStatsTellFailuresByKindAndByReplyCode(t *testing.T) {
	p := pair.NewProxied(t, func(opt *multidb.Options, _ *redis.Options) {
		opt.Detectors, opt.Retry.MaxAttempts = []window.Factory{}, -1
	})
	ctx := t.Context()
	text := "-OOM command not allowed when used memory > 'maxmemory'.\r\n"
	p.ToEast.Answer(func(args []string) (string, bool) { return text, strings.EqualFold(args[0], "set") })
	require.Error(t, p.RDB.Set(ctx, "k", 1, 0).Err())
	_, err := p.RDB.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Set(ctx, "a", 1, 0)
		pipe.Set(ctx, "b", 1, 0)
		return nil
	})
	require.Error(t, err)
	east := p.Hook.Stats().Databases[0]
	require.Equal(t, map[string]uint64{"OOM": 2}, east.Replies, "a pipeline counts a code once")
	require.EqualValues(t, 2, east.Failures)
	require.Zero(t, east.Suspicions, "a full database keeps its place")

	text = "-READONLY You can't write against a read only replica.\r\n"
	require.Error(t, p.RDB.Set(ctx, "k", 1, 0).Err())
	east = p.Hook.Stats().Databases[0]
	require.Equal(t, map[string]uint64{"OOM": 2, "READONLY": 1}, east.Replies)
	require.EqualValues(t, 3, east.CannotServe)

	p.ToEast.Answer(nil)
	p.ToEast.DropReplies(func(args []string) bool { return strings.EqualFold(args[0], "incr") })
	require.Error(t, p.RDB.Incr(ctx, "n").Err())
	east = p.Hook.Stats().Databases[0]
	require.EqualValues(t, 1, east.Unanswered)
	require.Equal(t, east.Failures, east.NotSent+east.CannotServe+east.Unanswered)
	require.Equal(t, "default", p.Hook.Stats().Name)
	require.Equal(t, p.ToEast.Addr(), east.Addr)
}

func TestSubscribeHearsEventsBesideThoseOfTheOptions(t *testing.T) {
	var options, subscribed, later []string
	opt := multidb.Options{Failback: multidb.Failback{GracePeriod: -1}}
	opt.Events.OnSwitch = func(s multidb.Switch) { options = append(options, s.To); panic("boom") }
	startBubble(t, 2, opt, func([]*virtual.DB, []multidb.Database) {}, func(h *multidb.Hook, dbs []*virtual.DB) {
		synctest.Wait()
		var checks []multidb.HealthCheck
		cancel := h.Subscribe(multidb.Events{
			OnSwitch: func(s multidb.Switch) { subscribed = append(subscribed, s.To) },
			OnCheck:  func(c multidb.HealthCheck) { checks = append(checks, c) },
			OnHealth: func(c multidb.HealthChange) { subscribed = append(subscribed, string(c.From)+">"+string(c.State)) },
		})
		h.Subscribe(multidb.Events{OnSwitch: func(s multidb.Switch) { later = append(later, s.To) }})
		dbs[0].Up.Store(false)
		time.Sleep(10 * time.Second)
		dbs[0].Up.Store(true)
		time.Sleep(10 * time.Second)
		cancel()
		synctest.Wait()
		assert.True(t, slices.ContainsFunc(checks, func(c multidb.HealthCheck) bool { return c.Database == "a" && c.Err != nil && c.Quick }))
		assert.True(t, slices.ContainsFunc(checks, func(c multidb.HealthCheck) bool { return c.Database == "b" && c.Err == nil && !c.Quick }))
		told := len(checks)
		assert.NoError(t, h.ForceActive("a", 0))
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Len(t, checks, told, "cancelled")
	})
	require.Equal(t, []string{"b", "a"}, options)
	require.Equal(t, []string{"b", "a"}, later, "the panic of one is no loss of the others")
	require.Equal(t, []string{"closed>open", "b", "half-open>closed"}, subscribed)
}
