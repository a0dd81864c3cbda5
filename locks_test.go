package multidb

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/probes"
	"github.com/redishook/multidb/window"
)

// lockWatch is called from everything that is a user's or does I/O. A lock that its own goroutine holds there is one
// that it can never get, so it tries each lock for a while.
type lockWatch struct {
	hook  atomic.Pointer[Hook]
	calls sync.Map // place → true
	held  sync.Map // what was found
}

func (w *lockWatch) look(place string) { w.lookFor(place, time.Second) }

func (w *lockWatch) lookFor(place string, patience time.Duration) {
	h := w.hook.Load()
	if h == nil {
		return
	}
	w.calls.Store(place, true)
	try := func(name string, mu *sync.Mutex) {
		// Both: a machine that stands still for as long would leave it at one try, in which anybody may hold the lock.
		until := time.Now().Add(patience)
		for tries := 0; tries < 50 || time.Now().Before(until); tries++ {
			time.Sleep(time.Millisecond)
			if mu.TryLock() {
				mu.Unlock()
				return
			}
		}
		w.held.Store(name+" in "+place, true)
	}
	try("selector.mu", h.selector.Mutex())
	try("events.mu", h.events.Mutex())
	try("preparers.mu", h.preparers.Mutex())
	for _, db := range h.selector.All() {
		try("health.mu", db.Health.Mutex())
		try("connections.mu", db.Conns.Mutex())
	}
}

type watchedConn struct {
	net.Conn
	w *lockWatch
}

func (c watchedConn) Read(p []byte) (int, error)  { c.w.look("read"); return c.Conn.Read(p) }
func (c watchedConn) Write(p []byte) (int, error) { c.w.look("write"); return c.Conn.Write(p) }
func (c watchedConn) Close() error                { c.w.look("close"); return c.Conn.Close() }

type watchedStrategy struct{ w *lockWatch }

func (s watchedStrategy) Choose(usable []Candidate) string {
	s.w.look("strategy")
	return HighestWeight{}.Choose(usable)
}

type watchedDetector struct{ w *lockWatch }

func (d watchedDetector) Record(time.Time, window.Sample) { d.w.look("detector record") }
func (d watchedDetector) Reset()                          { d.w.look("detector reset") }
func (d watchedDetector) Verdict(time.Time) window.Verdict {
	d.w.look("detector verdict")
	return window.Verdict{}
}

// watchedHandler is the user's handler of the log.
type watchedHandler struct {
	slog.Handler
	w *lockWatch
}

func (h watchedHandler) Enabled(context.Context, slog.Level) bool {
	h.w.look("log enabled")
	return true
}

func (h watchedHandler) Handle(ctx context.Context, r slog.Record) error {
	h.w.look("log")
	return h.Handler.Handle(ctx, r)
}

// TestNoLockIsHeld while a socket, Redis or a user's function runs (P11).
func TestNoLockIsHeld(t *testing.T) {
	w := &lockWatch{}
	east, west := redistest.Start(t), redistest.Start(t)
	watched := func(server *redistest.Redis) *redis.Options {
		opt := server.Options()
		opt.Dialer = func(ctx context.Context, _, _ string) (net.Conn, error) {
			w.look("dialer")
			nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", server.Addr())
			if err != nil {
				return nil, err
			}
			return watchedConn{nc, w}, nil
		}
		opt.CredentialsProviderContext = func(context.Context) (string, string, error) {
			w.look("credentials")
			return "", "", nil
		}
		return opt
	}
	hook := newHook(t, Options{
		Databases: []Database{{Name: "east", Options: watched(east)}, {Name: "west", Weight: 0.5, Options: watched(west)}},
		Strategy:  watchedStrategy{w},
		Logger:    slog.New(watchedHandler{testkit.Log(t).Handler(), w}),
		Detectors: []window.Factory{func() window.Detector { return watchedDetector{w} }},
		Breaker:   Breaker{Delay: 50 * time.Millisecond},
		Failback:  Failback{GracePeriod: 500 * time.Millisecond},
		Health: Health{
			Interval: 200 * time.Millisecond,
			Checks: []probes.Check{{Probes: 1, Probe: probes.Func("watched", func(context.Context, probes.Target) error {
				w.look("probe")
				return nil
			})}},
		},
		Events: Events{
			OnSwitch:    func(Switch) { w.look("OnSwitch") },
			OnHealth:    func(HealthChange) { w.look("OnHealth") },
			OnAllDown:   func(error) { w.look("OnAllDown") },
			OnRecovered: func(string) { w.look("OnRecovered") },
		},
	})
	w.hook.Store(hook)
	rdb := redis.NewClient(&redis.Options{Addr: east.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	rdb.AddHook(hook)
	// Who calls it waits no longer than 200 ms, and would let go of its locks then.
	defer hook.OnPrepare(func(context.Context, string) { w.lookFor("OnPrepare", 100*time.Millisecond) })()
	var stop atomic.Bool
	var ops atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				if rdb.Set(context.Background(), "k", 1, 0).Err() == nil {
					ops.Add(1)
				}
			}
		})
	}
	redistest.Eventually(t, 20*time.Second, "load to run", func() bool { return ops.Load() > 50 })
	require.NoError(t, hook.SetActive(t.Context(), "west"))
	hook.Release()
	require.NoError(t, hook.SetWeight("east", 3))
	redistest.Eventually(t, 20*time.Second, "failback", func() bool { return hook.Active() == "east" })
	east.Kill()
	redistest.Eventually(t, 20*time.Second, "failover", func() bool { return hook.Active() == "west" })
	west.Kill()
	redistest.Eventually(t, 20*time.Second, "all down", func() bool { return hook.Stats().Down })
	west.Restart()
	redistest.Eventually(t, 20*time.Second, "recovery", func() bool { return !hook.Stats().Down })
	east.Restart()
	require.NoError(t, hook.Remove(t.Context(), "east"))
	stop.Store(true)
	wg.Wait()
	for _, place := range []string{"dialer", "read", "write", "close", "strategy", "probe", "credentials", "detector record",
		"detector verdict", "detector reset", "OnSwitch", "OnHealth", "OnAllDown", "OnRecovered", "OnPrepare", "log", "log enabled"} {
		redistest.Eventually(t, 10*time.Second, place+" to have been looked at", func() bool { _, ok := w.calls.Load(place); return ok })
	}
	w.held.Range(func(what, _ any) bool {
		t.Errorf("a lock is held: %v", what)
		return true
	})
}
