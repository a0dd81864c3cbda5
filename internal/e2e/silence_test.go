package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/load"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/probes"
)

// Silence: what owes an answer and gives none.

// Events: a process that does nothing but subscribe; the database hangs. Nothing is outstanding but the answer to the next PING.
func TestHangUnderASubscriptionAlone(t *testing.T) {
	p := pair.New(t, nil)
	sub := p.RDB.Subscribe(t.Context(), "news")
	defer sub.Close()
	_, err := sub.Receive(t.Context())
	require.NoError(t, err)
	time.Sleep(700 * time.Millisecond)
	p.East.Stop()
	defer p.East.Cont()
	began := time.Now()
	redistest.Eventually(t, 5*time.Second, "the switch", func() bool { return p.Hook.Active() == "west" })
	took := time.Since(began)
	load.Report(t, "hang (SIGSTOP)", "a subscription alone", took.Round(time.Millisecond).String(), "0")
	require.Less(t, took, 1500*time.Millisecond)
}

// Events: the server freezes for up to 400 ms every now and then (a fork, an fsync, a large key that is deleted). Idle or busy, it
// keeps its place.
func TestFreezesAreNoHang(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	for _, busy := range []bool{false, true} {
		t.Run(fmt.Sprint("busy ", busy), func(t *testing.T) {
			t.Parallel()
			p := pair.New(t, nil)
			if busy {
				l := load.Start(2, paced(load.SetGet(p.RDB)))
				defer func() { l.End(); require.Empty(t, l.Errs) }()
			}
			for range rounds {
				time.Sleep(1600 * time.Millisecond)
				p.East.Stop()
				began := time.Now()
				time.Sleep(400 * time.Millisecond)
				p.East.Cont()
				if frozen := time.Since(began); frozen > 405*time.Millisecond {
					t.Skipf("this machine was too busy: frozen for %v", frozen)
				}
			}
			require.Empty(t, p.Switched())
		})
	}
}

// Events:
//  1. The active database hangs.
//  2. An operator moves away before the hook has noticed. So the switch is planned, and sessions may go on.
//  3. Requests are in flight on the old database.
//
// The drain is watched: what is in flight is cut and run again, long before the client's own timeout.
func TestHangOfADatabaseThatDrains(t *testing.T) {
	p := pair.New(t, func(o *multidb.Options, _ *redis.Options) {
		o.Health.StallTimeout, o.Health.Timeout = 500*time.Millisecond, time.Second
	})
	ctx := t.Context()
	require.NoError(t, p.RDB.Set(ctx, "k", 1, 0).Err())
	p.East.Stop()
	defer p.East.Cont()
	l := load.Start(5, paced(func(ctx context.Context, _, _ int) error { return p.RDB.Set(ctx, "k", 1, 0).Err() }))
	defer l.End()
	time.Sleep(100 * time.Millisecond)
	require.NoError(t, p.Hook.SetActive(ctx, "west"))
	redistest.Eventually(t, 5*time.Second, "the event", func() bool { return len(p.Switched()) > 0 })
	require.True(t, p.Switched()[0].Planned)
	l.Strike(func() {})
	_, last := l.AwaitRecovery(t, 10*time.Second)
	l.End()
	require.Less(t, last, 3*time.Second)
	require.Empty(t, l.Errs)
}

// Events: a firewall loses its table: what is sent over connections that stand is swallowed, both ways, and new ones work at once.
// Nobody waits for the client's own timeout, and the database keeps its place.
func TestConnectionsThatAreForgottenOnTheirWay(t *testing.T) {
	p := &pair.Pair{East: redistest.Start(t), West: redistest.Start(t)}
	far := startFar(t, p.East.Addr(), 0)
	east := p.East.Options()
	east.Addr = far.Addr().String()
	p.Attach(t, east, p.West.Options(), nil)
	l := load.Start(20, paced(load.SetGet(p.RDB)))
	defer l.End()
	redistest.Eventually(t, 10*time.Second, "load to run", func() bool { return l.Ops.Load() > 200 })
	l.Strike(far.forget)
	_, last := l.AwaitRecovery(t, 4*time.Second)
	l.End()
	load.Report(t, "connections are forgotten, new ones work", "20 × SET/GET", "no switch, all well after "+last.Round(time.Millisecond).String(), "0")
	require.Less(t, last, 1500*time.Millisecond)
	require.Empty(t, l.Errs)
	require.Empty(t, p.Switched())
}

// Events: writes on east are paused. Many connections read and are answered, and one writes. The silence of that one is seen beside
// the answers to the others.
func TestPausedWritesAreSeenBesideReads(t *testing.T) {
	p := pair.New(t, func(_ *multidb.Options, client *redis.Options) { client.ReadTimeout = time.Minute })
	reads := load.Start(5, paced(func(ctx context.Context, _, _ int) error {
		if err := p.RDB.Get(ctx, "k").Err(); !errors.Is(err, redis.Nil) {
			return err
		}
		return nil
	}))
	defer reads.End()
	redistest.Eventually(t, 10*time.Second, "load to run", func() bool { return reads.Ops.Load() > 200 })
	require.NoError(t, p.East.Client().Do(t.Context(), "CLIENT", "PAUSE", 60_000, "WRITE").Err())
	began := time.Now()
	require.NoError(t, p.RDB.Set(t.Context(), "w", 1, 0).Err())
	require.Less(t, time.Since(began), 20*time.Second)
	reads.End()
	require.Empty(t, reads.Errs)
	require.Len(t, p.Switched(), 1)
	require.NoError(t, p.East.Client().Do(context.Background(), "CLIENT", "UNPAUSE").Err())
}

// Events: a hook over one database, which freezes for a second. There is nowhere to go, so its callers wait, as they would without
// the hook.
func TestOneDatabaseThatFreezes(t *testing.T) {
	east := redistest.Start(t)
	var downs atomic.Int64
	h := pair.Hook(t, multidb.Options{
		Databases: []multidb.Database{{Name: "east", Options: east.Options()}},
		Events:    multidb.Events{OnAllDown: func(error) { downs.Add(1) }},
	})
	rdb := redis.NewClient(&redis.Options{Addr: east.Addr()})
	defer rdb.Close()
	rdb.AddHook(h)
	l := load.Start(10, paced(func(ctx context.Context, _, _ int) error { return rdb.Incr(ctx, "n").Err() }))
	defer l.End()
	redistest.Eventually(t, 10*time.Second, "load to run", func() bool { return l.Ops.Load() > 200 })
	east.Stop()
	time.Sleep(time.Second)
	east.Cont()
	before := l.Ops.Load()
	redistest.Eventually(t, 10*time.Second, "load to go on", func() bool { return l.Ops.Load() > before+200 })
	l.End()
	require.Empty(t, l.Errs)
	require.Zero(t, downs.Load())
}

// Events: a check of the user's own begins to panic, or leans on something that is away, for all databases. PING passes on all of
// them, and traffic is served. That the same check fails everywhere says nothing about any database.
func TestCheckThatFailsForAllMovesNobody(t *testing.T) {
	var broken atomic.Bool
	p := pair.New(t, func(o *multidb.Options, _ *redis.Options) {
		o.Health.Interval = 200 * time.Millisecond
		o.Health.Checks = []probes.Check{{Probes: 1, Probe: probes.Func("own", func(context.Context, probes.Target) error {
			if broken.Load() {
				panic("no certificate")
			}
			return nil
		})}}
	})
	l := load.Start(4, paced(load.SetGet(p.RDB)))
	defer l.End()
	redistest.Eventually(t, 10*time.Second, "load to run", func() bool { return l.Ops.Load() > 200 })
	broken.Store(true)
	time.Sleep(2 * time.Second) // ten checks
	l.End()
	require.Empty(t, l.Errs)
	require.Empty(t, p.Switched())
	require.Zero(t, p.Downs.Load())
}

// Events:
//  1. All databases hang for some seconds.
//  2. The one that was active last is the first to answer, 40 ms away.
//  3. The first request after that raised a suspicion: the silence of the outage was counted.
func TestSilenceOfAnOutageIsNotCountedAfterIt(t *testing.T) {
	var mu sync.Mutex
	var lines []string
	p := pair.NewProxied(t, func(o *multidb.Options, _ *redis.Options) {
		o.Health.StallTimeout = 300 * time.Millisecond
		o.Logger = slog.New(handlerFunc(func(r slog.Record) {
			text := r.Message
			r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
			mu.Lock()
			defer mu.Unlock()
			lines = append(lines, text)
		}))
	})
	l := load.Start(5, paced(load.SetGet(p.RDB)))
	defer l.End()
	redistest.Eventually(t, 10*time.Second, "load to run", func() bool { return l.Ops.Load() > 200 })
	p.ToEast.Hang()
	p.ToWest.Hang()
	redistest.Eventually(t, 10*time.Second, "the outage", func() bool { return p.Hook.Stats().Down })
	time.Sleep(2 * time.Second)
	mu.Lock()
	lines = nil
	mu.Unlock()
	p.ToEast.Delay(40 * time.Millisecond)
	p.ToEast.Pass()
	redistest.Eventually(t, 10*time.Second, "the return", func() bool { return !p.Hook.Stats().Down })
	time.Sleep(time.Second)
	l.End()
	mu.Lock()
	defer mu.Unlock()
	for _, line := range lines {
		require.False(t, strings.Contains(line, "suspected") && strings.Contains(line, "no byte read for"), line)
	}
}

// Events: a server answers slowly over a connection that stands, and takes no new ones. It is left for that and drained. It is
// unusable from the beginning of the drain, so its silence was taken for a hang, and the answer was cut off.
func TestADrainWaitsForAServerThatTakesNoNewConnections(t *testing.T) {
	p := pair.NewProxied(t, func(_ *multidb.Options, client *redis.Options) { client.ReadTimeout = time.Minute })
	answers := make(chan struct{})
	answer := sync.OnceFunc(func() { close(answers) })
	defer answer()
	var arrived atomic.Bool
	p.ToEast.Answer(func(args []string) (string, bool) {
		if strings.EqualFold(args[0], "incr") {
			arrived.Store(true)
			<-answers
		}
		return "", false
	})
	var n int64
	var err error
	var caller sync.WaitGroup
	caller.Go(func() { n, err = p.RDB.Incr(context.Background(), "n").Result() })
	redistest.Eventually(t, 10*time.Second, "the request", arrived.Load)
	p.ToEast.RefuseNew()
	l := load.Start(20, paced(load.SetGet(p.RDB))) // some of them need new connections
	defer l.End()
	redistest.Eventually(t, 10*time.Second, "a failover", func() bool { return p.Hook.Active() == "west" })
	l.End()
	time.Sleep(2 * time.Second) // several times Health.Timeout
	answer()
	caller.Wait()
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	require.EqualValues(t, 1, pair.Counter(t, p.East, "n"))
}
