package e2e_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/fakeserver"
	"github.com/redishook/multidb/internal/testkit/load"
	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/internal/testkit/virtual"
)

// mortal is an instant connection of a database that can be switched off.
type mortal struct {
	fakeserver.Instant
	up *atomic.Bool
}

func (c *mortal) Read(p []byte) (int, error) {
	if !c.up.Load() {
		return 0, io.EOF
	}
	return c.Instant.Read(p)
}

// defaultDialLimit is the default of Options.DialLimit.
const defaultDialLimit = 32

// TestHerd: 64 databases, 10,000 goroutines wait in a failover. All of them are released at once, and the new database
// does not meet them as one burst of dials.
func TestHerd(t *testing.T) {
	goroutines := 10_000
	if testing.Short() {
		goroutines = 2_000
	}
	with, without := herd(t, goroutines, 0), herd(t, goroutines, -1)
	t.Logf("DialLimit %d: %v", defaultDialLimit, with)
	t.Logf("no DialLimit: %v", without)
	for i, h := range []herded{with, without} {
		load.Report(t, "failover with 64 databases, "+[]string{"DialLimit 32", "no DialLimit"}[i], fmt.Sprint(goroutines, " goroutines waiting"),
			fmt.Sprintf("all released after %v, answered after %v", h.released.Round(time.Millisecond), h.answered.Round(time.Millisecond)),
			fmt.Sprintf("0; at most %d dials at once, %d in 10 ms", h.atOnce, h.burst))
	}
	// The quick probes of one confirmation wait in no queue; a busy machine sees more than one of them dial.
	const limit = defaultDialLimit + 3 // the quick probes of a suspicion
	require.LessOrEqual(t, with.atOnce, int64(limit), "dials at the same time")
	require.Greater(t, without.atOnce, int64(2*defaultDialLimit), "the test must be able to see more")
	// A dial takes a millisecond here, so no more than that many rounds of them fit into the span.
	require.LessOrEqual(t, with.burst, 11*limit)
	if !testkit.RaceEnabled && !testing.Short() {
		require.Greater(t, without.burst, 11*defaultDialLimit, "the test must be able to see a burst")
	}
	// 50 ms is the aim on a machine with nothing else to do; the bound is what a busy one takes under the race detector.
	require.Less(t, with.released, 5*time.Second)
	require.Less(t, with.answered, 30*time.Second)
}

// herded is what became of a herd.
type herded struct {
	released, answered time.Duration // from the switch to the last one
	atOnce             int64         // the most dials under way at the new database
	burst              int           // the most dials within 10 ms
}

func (h herded) String() string {
	return fmt.Sprintf("released within %v of the switch, answered within %v; at most %d dials at once, %d in 10 ms",
		h.released, h.answered, h.atOnce, h.burst)
}

// stamps notes when something has happened, without a lock that would line up those who note it.
type stamps struct {
	n  atomic.Int64
	at []time.Time
}

func (s *stamps) note() {
	if i := s.n.Add(1); int(i) <= len(s.at) {
		s.at[i-1] = time.Now()
	}
}

func (s *stamps) since(t time.Time) (sorted []time.Duration) {
	for _, at := range s.at[:min(int(s.n.Load()), len(s.at))] {
		if !at.Before(t) {
			sorted = append(sorted, at.Sub(t))
		}
	}
	slices.Sort(sorted)
	return sorted
}

// timedStrategy notes when it is asked the last time about what to do without db0, which is the earliest that can be called
// the switch: its answer is carried out at once.
type timedStrategy struct{ at *atomic.Pointer[time.Time] }

func (s timedStrategy) Choose(usable []multidb.Candidate) string {
	if without := !slices.ContainsFunc(usable, func(c multidb.Candidate) bool { return c.Name == "db0" }); without && s.at.Load() == nil {
		now := time.Now()
		s.at.Store(&now)
	}
	return multidb.HighestWeight{}.Choose(usable)
}

// herd lets all goroutines wait for a connection of the active database, which accepts none; when the last one waits, its
// established connections die too, and that is the failover.
func herd(t *testing.T, goroutines, limit int) (result herded) {
	const n = 64
	var hang, up, always atomic.Bool
	end := make(chan struct{})
	defer close(end)
	up.Store(true)
	always.Store(true)
	var waiting, now, most atomic.Int64
	released, dials := &stamps{at: make([]time.Time, 2*goroutines)}, &stamps{at: make([]time.Time, 2*goroutines)}
	var at atomic.Pointer[time.Time]
	opt := multidb.Options{Logger: slog.New(slog.DiscardHandler), DialLimit: limit, Strategy: timedStrategy{&at}}
	opt.Health.Timeout = 10 * time.Second // the end of db0 is told by a refusal, and not by how busy the machine is
	for i := range n {
		alive := &always
		o := fakeserver.InstantOptions(fmt.Sprintf("db%d:6379", i))
		switch i {
		case 0:
			alive = &up
			o.CredentialsProvider = func() (string, string) { waiting.Add(1); return "", "" }
		case 1:
			// The first thing that is asked of the new database: whoever is here waits no longer.
			o.CredentialsProvider = func() (string, string) { released.note(); return "", "" }
		}
		o.Dialer = func(ctx context.Context, _, _ string) (net.Conn, error) {
			switch {
			case !alive.Load():
				return nil, virtual.ErrUnreachable
			case i == 0 && hang.Load():
				select {
				case <-ctx.Done():
				case <-end: // go-redis does not end the dial of a probe
				}
				return nil, virtual.ErrUnreachable
			case i == 1:
				dials.note()
				for under := now.Add(1); ; {
					if before := most.Load(); under <= before || most.CompareAndSwap(before, under) {
						break
					}
				}
				time.Sleep(time.Millisecond) // a round trip
				now.Add(-1)
			}
			return &mortal{up: alive}, nil
		}
		opt.Databases = append(opt.Databases, multidb.Database{Name: fmt.Sprint("db", i), Weight: float64(n - i), Options: o})
	}
	hook, err := multidb.New(t.Context(), opt)
	require.NoError(t, err)
	defer hook.Close()
	client := fakeserver.InstantOptions("db0:6379")
	client.PoolSize, client.PoolTimeout, client.DialTimeout = goroutines, time.Minute, time.Minute // each waits for a connection of its own
	client.ReadBufferSize, client.WriteBufferSize = 1024, 1024                                     // or go-redis clears a gigabyte for its buffers meanwhile
	rdb := redis.NewClient(client)
	defer rdb.Close()
	rdb.AddHook(hook)

	hang.Store(true)
	waiting.Store(0)
	at.Store(nil)
	var wg sync.WaitGroup
	var failed atomic.Int64
	ends := &stamps{at: make([]time.Time, goroutines)}
	for range goroutines {
		wg.Go(func() {
			if rdb.Set(context.Background(), "k", 1, 0).Err() != nil {
				failed.Add(1)
			}
			ends.note()
		})
	}
	redistest.Eventually(t, time.Minute, "everybody to wait", func() bool { return waiting.Load() >= int64(goroutines) })
	require.Equal(t, "db0", hook.Active(), "the switch comes later")
	require.Zero(t, ends.n.Load(), "somebody has not waited")
	before := dials.n.Load()
	up.Store(false)
	wg.Wait()
	require.Zero(t, failed.Load())
	require.Equal(t, "db1", hook.Active())
	rel, done, dialed := released.since(*at.Load()), ends.since(*at.Load()), dials.since(*at.Load())
	require.GreaterOrEqual(t, len(rel), goroutines, "all of them were released by the switch")
	require.GreaterOrEqual(t, int(dials.n.Load()-before), len(dialed))
	// The goroutines come first: nobody dials for himself before he is released.
	return herded{rel[goroutines-1], done[len(done)-1], most.Load(), burst(dialed, 10*time.Millisecond)}
}
