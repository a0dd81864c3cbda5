package multidb

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/internal/traffic"
	"github.com/redishook/multidb/probes"
	"github.com/redishook/multidb/window"
)

// cuttingConn runs a function after a request with the given name has been written.
type cuttingConn struct {
	net.Conn
	name  string
	after func()
}

func (c *cuttingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if strings.Contains(strings.ToLower(string(p)), c.name) {
		c.after()
	}
	return n, err
}

// Events: INCR is written and executed; before go-redis arms the read deadline, an unplanned switch cuts the connection
// (here: by the same function, at exactly that moment). SetReadDeadline of the closed socket fails with a raw net error
// ("set tcp ...: use of closed network connection") that the wrapper does not turn into a lost reply, so go-redis' own
// loop sends the INCR again.
func TestRegressionCutBeforeReadDeadlineDoublesIncr(t *testing.T) {
	east := redistest.Start(t)
	var h *Hook
	var incrs atomic.Int64
	opt := east.Options()
	opt.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &cuttingConn{nc, "incr", func() {
			if incrs.Add(1) == 1 {
				time.Sleep(20 * time.Millisecond)
				h.selector.find("east").conns.CutAll() // what sweep does
			}
		}}, nil
	}
	h = regressionHook(t, Options{Databases: []Database{{Name: "east", Options: opt}}})
	rdb := redis.NewClient(&redis.Options{Addr: "elsewhere:6379"})
	defer rdb.Close()
	rdb.AddHook(h)
	err := rdb.Incr(t.Context(), "n").Err()
	n, _ := east.Client().Get(t.Context(), "n").Int()
	require.Equalf(t, 1, n, "one INCR was executed twice; its caller got %v", err)
}

// Events: everything is down; Close; a database comes back. A closed hook is promised to let commands through to the
// database that was active last, but the gate of every connection still sees the choice "down": refused for ever.
func TestRegressionCloseWhileDownIsForEver(t *testing.T) {
	east := redistest.Start(t)
	h := regressionHook(t, Options{Databases: []Database{{Name: "east", URL: "redis://" + east.Addr()}}})
	rdb := redis.NewClient(&redis.Options{Addr: east.Addr()})
	defer rdb.Close()
	rdb.AddHook(h)
	require.NoError(t, rdb.Ping(t.Context()).Err())
	east.Kill()
	require.True(t, regressionEventually(t, "down", 20*time.Second, func() bool { return h.Stats().Down }))
	require.NoError(t, h.Close())
	east.Restart()
	var err error
	require.Truef(t, regressionEventually(t, "a command passes", 20*time.Second, func() bool {
		err = rdb.Ping(t.Context()).Err()
		return err == nil
	}), "the server is back, the hook is closed, and the client answers %v", err)
}

// Events: east -> west -> east -> west, all planned, the third at 0.7 of the first's DrainTimeout. The drain of the first
// switch ends while that of the third has only begun: it finds east inactive again, ends draining and refuses what the
// sessions of the third switch still want to send: a Watch whose session began just before fails.
func TestRegressionOverlappingDrainsBreakSessions(t *testing.T) {
	east, west := regressionPair(t)
	const drain = 3 * time.Second // half of which a busy machine does not lose
	h := regressionHook(t, Options{Health: patient, DrainTimeout: drain, Databases: regressionURLs(east.Addr(), west.Addr())})
	rdb := redis.NewClient(&redis.Options{Addr: east.Addr()})
	defer rdb.Close()
	rdb.AddHook(h)
	began := time.Now()
	require.NoError(t, h.SetActive(t.Context(), "west"))
	require.NoError(t, h.SetActive(t.Context(), "east"))
	err := rdb.Watch(t.Context(), func(tx *redis.Tx) error {
		time.Sleep(time.Until(began.Add(drain * 7 / 10)))
		if err := h.SetActive(t.Context(), "west"); err != nil {
			return err
		}
		time.Sleep(time.Until(began.Add(drain * 12 / 10))) // half a DrainTimeout after the switch
		_, err := tx.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
			p.Incr(t.Context(), "n")
			return nil
		})
		return err
	}, "k")
	require.NoError(t, err, "half a DrainTimeout after a planned switch")
}

type panicDetector struct{}

func (panicDetector) Record(time.Time, window.Sample)      { panic("boom") }
func (panicDetector) Verdict(time.Time) (v window.Verdict) { return v }
func (panicDetector) Reset()                               {}

type slowProbe struct{ block, waits *atomic.Bool }

func (p slowProbe) Name() string { return "slow" }
func (p slowProbe) Check(ctx context.Context, _ probes.Target) error {
	if p.block.Load() {
		p.waits.Store(true)
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

// Events: the active database has a check of its own with a long timeout (a management API). The site goes down: the
// API stops answering, a regular check is waiting for it, then Redis dies. Evidence wakes nobody, because the same
// goroutine that would confirm the suspicion is waiting for the check: the outage lasts as long as the user's timeout.
func TestRegressionSlowCheckDelaysFailover(t *testing.T) {
	east, west := regressionPair(t)
	var block, waits atomic.Bool
	dbs := regressionURLs(east.Addr(), west.Addr())
	dbs[0].Checks = []probes.Check{{Probe: slowProbe{&block, &waits}, Probes: 1, Timeout: time.Minute}}
	h := regressionHook(t, Options{Databases: dbs, Health: Health{Interval: 200 * time.Millisecond, ActiveInterval: 100 * time.Millisecond}})
	rdb := redis.NewClient(&redis.Options{Addr: east.Addr()})
	defer rdb.Close()
	rdb.AddHook(h)
	require.NoError(t, rdb.Ping(t.Context()).Err())
	block.Store(true)
	eventually(t, 20*time.Second, "a regular check to wait", waits.Load)
	east.Kill()
	began := time.Now()
	var worst time.Duration
	for h.Active() == "east" && time.Since(began) < 20*time.Second {
		at := time.Now()
		rdb.Ping(t.Context())
		worst = max(worst, time.Since(at))
	}
	require.Less(t, time.Since(began), 10*time.Second, "crash of the active database; worst command %v", worst)
}

// Events: ForceActive("west", d); its timer fires while the selector is busy; ForceActive("east", 0) comes in between.
// The old timer's Release then ends the NEW manual choice.
func TestRegressionStaleReleaseEndsNewChoice(t *testing.T) {
	east, west := regressionPair(t)
	h := regressionHook(t, Options{Health: patient, Databases: regressionURLs(east.Addr(), west.Addr())})
	lost := 0
	for range 200 {
		require.NoError(t, h.ForceActive("west", time.Millisecond))
		h.selector.mu.Lock() // anything: Stats, a review
		time.Sleep(1200 * time.Microsecond)
		go func() { time.Sleep(200 * time.Microsecond); h.selector.mu.Unlock() }()
		require.NoError(t, h.ForceActive("east", 0))
		time.Sleep(2 * time.Millisecond)
		if h.Stats().Held != "east" {
			lost++
		}
		h.Release()
	}
	require.Zero(t, lost, "manual choices without a time limit that were dropped by the timer of an earlier one")
}

// Events: a user's failure detector (window.Factory is an option) panics in Record. Strategies, probes and callbacks are
// contained; a detector's panic comes out of the hook's own monitor goroutine and ends the process.
func TestRegressionPanickingDetectorEndsProcess(t *testing.T) {
	all := traffic.New([]window.Factory{func() window.Detector { return panicDetector{} }})
	require.NotPanics(t, func() { all.Sample(1) }) // what monitor calls every 100 ms
}
