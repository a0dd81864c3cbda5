package e2e_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/fakeserver"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// Events: a full-duplex autopipeliner has SETs in flight (sent, not answered); the active database closes the
// connection. go-redis' full-duplex host runs ProcessHook with a next that only reports the command's outcome. The hook
// clears the error (cmd.SetErr(nil)) and calls next "again", which returns cmd.rawErr() == nil: the SET is reported as
// done although no database has it.
func TestFullDuplexLostSetIsReported(t *testing.T) {
	var stored atomic.Int64
	server := fakeserver.Listen(t, func(_ net.Conn, args []string) (string, bool) {
		if strings.EqualFold(args[0], "set") {
			return "", false // dies without having done it
		}
		return fakeserver.Default(args), true
	})
	h := pair.Hook(t, multidb.Options{Databases: []multidb.Database{{Name: "only", URL: "redis://" + server.Addr()}}})
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()
	rdb.AddHook(h)
	ap, err := rdb.AutoPipelineWithOptions(&redis.AutoPipelineOptions{FullDuplex: true, FullDuplexMaxHold: 100 * time.Millisecond})
	require.NoError(t, err)
	defer ap.Close()
	err = ap.Set(t.Context(), "payment", "1", 0).Err()
	require.Zero(t, stored.Load())
	require.Error(t, err, "the SET was never executed anywhere, and its caller was told that it was")
}

// The same with real servers: east is SIGSTOPped under a load of SETs of distinct keys; every SET that is reported done
// after the switch must be on west, the only database that can have answered.
func TestFullDuplexHangLosesNoAcknowledgedSet(t *testing.T) {
	east, west := pair.Servers(t)
	h := pair.Hook(t, multidb.Options{Databases: pair.Databases(east.Addr(), west.Addr())})
	rdb := redis.NewClient(&redis.Options{Addr: east.Addr()})
	defer rdb.Close()
	rdb.AddHook(h)
	ap, err := rdb.AutoPipelineWithOptions(&redis.AutoPipelineOptions{FullDuplex: true, FullDuplexMaxHold: 100 * time.Millisecond})
	require.NoError(t, err)
	defer ap.Close()
	var ops atomic.Int64
	var mu sync.Mutex
	var done []string
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for g := range 20 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				key := fmt.Sprintf("k:%d:%d", g, i)
				err := ap.Set(context.Background(), key, "v", 0).Err()
				// Not some time after the hang: an answer from before it may be read late, and the switch is later still.
				if ops.Add(1); err == nil && h.Active() == "west" {
					mu.Lock()
					done = append(done, key)
					mu.Unlock()
				}
			}
		})
	}
	redistest.Eventually(t, 20*time.Second, "load to run", func() bool { return ops.Load() > 1000 })
	require.Equal(t, "east", h.Active())
	east.Stop()
	redistest.Eventually(t, 20*time.Second, "SETs after the switch", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(done) > 200
	})
	close(stop)
	wg.Wait()
	lost := 0
	check := west.Client()
	for _, key := range done {
		if check.Exists(t.Context(), key).Val() == 0 {
			lost++
		}
	}
	require.NotEmpty(t, done)
	require.Zerof(t, lost, "%d of %d SETs reported done after east hung are not on west", lost, len(done))
}

// fdDrain is so much longer than FullDuplexMaxHold that a busy machine does not make it the shorter one.
const fdDrain = 1500 * time.Millisecond

func fullDuplexPlannedSwitch(t *testing.T, tls bool, drain time.Duration) {
	var opts []redistest.Option
	if tls {
		opts = append(opts, redistest.TLS())
	}
	east, west := redistest.Start(t, opts...), redistest.Start(t, opts...)
	h := pair.Hook(t, multidb.Options{Health: pair.Patient, DrainTimeout: drain, Databases: []multidb.Database{
		{Name: "east", Options: east.Options()}, {Name: "west", Weight: 0.5, Options: west.Options()},
	}})
	rdb := redis.NewClient(east.Options())
	defer rdb.Close()
	rdb.AddHook(h)
	ap, err := rdb.AutoPipelineWithOptions(&redis.AutoPipelineOptions{FullDuplex: true, FullDuplexMaxHold: 100 * time.Millisecond})
	require.NoError(t, err)
	defer ap.Close()
	var ok, failed, lateOld atomic.Int64
	var sample atomic.Pointer[error]
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 20 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := ap.Incr(context.Background(), "n").Err(); err != nil {
					failed.Add(1)
					sample.Store(&err)
				} else {
					ok.Add(1)
				}
			}
		})
	}
	e, w := east.Client(), west.Client()
	for i := range 4 {
		time.Sleep(150 * time.Millisecond)
		name, old := "west", e
		if i%2 == 1 {
			name, old = "east", w
		}
		require.NoError(t, h.SetActive(t.Context(), name))
		// The limit: the held connection goes on writing to the old database until FullDuplexMaxHold returns it.
		time.Sleep(drain)
		before, _ := old.Get(t.Context(), "n").Int64()
		time.Sleep(150 * time.Millisecond)
		after, _ := old.Get(t.Context(), "n").Int64()
		lateOld.Add(after - before)
	}
	close(stop)
	wg.Wait()
	a, _ := e.Get(t.Context(), "n").Int64()
	b, _ := w.Get(t.Context(), "n").Int64()
	t.Logf("done %d, errors %d, counters %d, written to the old database after the drain: %d", ok.Load(), failed.Load(), a+b, lateOld.Load())
	if p := sample.Load(); p != nil {
		t.Logf("sample error: %v", *p)
	}
	if a+b != ok.Load() {
		t.Errorf("reported done %d, executed %d", ok.Load(), a+b)
	}
	if a+b > ok.Load()+failed.Load() {
		t.Errorf("DOUBLED: executed %d, callers made only %d calls (errors included)", a+b, ok.Load()+failed.Load())
	}
	if failed.Load() > 0 {
		t.Errorf("%d errors in planned switches", failed.Load())
	}
	if lateOld.Load() > 0 {
		t.Errorf("%d new requests went to the old database after the drain", lateOld.Load())
	}
}

// Events: a full-duplex autopipeliner is busy; SetActive. Its held connection goes on writing to the old database, which
// nobody can stop without losing the replies it owes; if FullDuplexMaxHold is shorter than DrainTimeout (as both are by
// default), go-redis returns it before it would be cut, and nothing is lost or doubled.
func TestFullDuplexPlannedSwitch(t *testing.T) {
	fullDuplexPlannedSwitch(t, false, fdDrain)
}

func TestFullDuplexPlannedSwitchTLS(t *testing.T) {
	fullDuplexPlannedSwitch(t, true, fdDrain)
}

// Events: ReadTimeout: -1. Three INCRs are in flight on the full-duplex connection; two are answered, and go-redis
// arms "no deadline" before it reads the next reply. The wrapper takes that for a push probe on an idle connection, so
// when the server dies now (having executed all) it calls the third "not sent", and go-redis sends it again.
func TestFullDuplexNoReadTimeoutRunsOnce(t *testing.T) {
	var incr atomic.Int64
	server := fakeserver.Listen(t, func(c net.Conn, args []string) (string, bool) {
		if !strings.EqualFold(args[0], "incr") {
			return fakeserver.Default(args), true
		}
		switch incr.Add(1) {
		case 1, 2:
			return "", true // executed; answered below
		case 3:
			fmt.Fprint(c, ":1\r\n")
			time.Sleep(50 * time.Millisecond)
			fmt.Fprint(c, ":2\r\n")
			time.Sleep(50 * time.Millisecond)
			return "", false // executed, died
		}
		return ":9\r\n", true
	})
	h := pair.Hook(t, multidb.Options{Databases: []multidb.Database{{Name: "only", URL: "redis://" + server.Addr()}}})
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), ReadTimeout: -1})
	defer rdb.Close()
	rdb.AddHook(h)
	ap, err := rdb.AutoPipelineWithOptions(&redis.AutoPipelineOptions{FullDuplex: true, FullDuplexMaxHold: 100 * time.Millisecond})
	require.NoError(t, err)
	defer ap.Close()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { t.Log(ap.Incr(context.Background(), "n").Result()) })
		time.Sleep(20 * time.Millisecond)
	}
	wg.Wait()
	require.LessOrEqual(t, incr.Load(), int64(3), "three INCRs were executed more than three times")
}
