package multidb

import (
	"context"
	"errors"
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
)

// mortal is an instant connection of a database that can be switched off.
type mortal struct {
	instant
	up *atomic.Bool
}

func (c *mortal) Read(p []byte) (int, error) {
	if !c.up.Load() {
		return 0, io.EOF
	}
	return c.instant.Read(p)
}

// TestHerd: 64 databases, 10,000 goroutines wait in a failover. All of them are released at once, and the new database
// does not meet them as one burst of dials.
func TestHerd(t *testing.T) {
	goroutines := 10_000
	if testing.Short() {
		goroutines = 2_000
	}
	limited, most, released := herd(t, goroutines, 0)
	unlimited, all, _ := herd(t, goroutines, -1)
	t.Logf("%d goroutines: released within %v of the switch; most dials within 10 ms: %d, without the limit %d",
		goroutines, released, limited, unlimited)
	report(t, "failover with 64 databases", fmt.Sprint(goroutines, " goroutines waiting"),
		fmt.Sprintf("all released after %v", released.Round(time.Millisecond)),
		fmt.Sprintf("at most %d dials in 10 ms, %d without DialLimit", limited, unlimited))
	require.Less(t, released, 5*time.Second)
	require.LessOrEqual(t, most, int64(defaultDialLimit), "dials at the same time")
	require.Greater(t, all, int64(defaultDialLimit), "the test must be able to see more")
}

func herd(t *testing.T, goroutines, limit int) (mostDials int, atOnce int64, released time.Duration) {
	const n = 64
	var mu sync.Mutex
	var dials, asked []time.Time
	var now int64 // dials under way
	up := new(atomic.Bool)
	up.Store(true)
	always := new(atomic.Bool)
	always.Store(true)
	opt := Options{Logger: slog.New(slog.DiscardHandler), DialLimit: limit}
	for i := range n {
		alive := always
		if i == 0 {
			alive = up
		}
		o := instantOptions(fmt.Sprintf("db%d:6379", i))
		o.Dialer = func(context.Context, string, string) (net.Conn, error) {
			if !alive.Load() {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
			}
			if i == 1 {
				mu.Lock()
				dials = append(dials, time.Now())
				now++
				atOnce = max(atOnce, now)
				mu.Unlock()
				time.Sleep(time.Millisecond) // a round trip
				mu.Lock()
				now--
				mu.Unlock()
			}
			return &mortal{up: alive}, nil
		}
		if i == 1 {
			o.CredentialsProviderContext = func(context.Context) (string, string, error) {
				mu.Lock()
				asked = append(asked, time.Now())
				mu.Unlock()
				return "", "", nil
			}
		}
		opt.Databases = append(opt.Databases, Database{Name: fmt.Sprint("db", i), Weight: float64(n - i), Options: o})
	}
	switched := make(chan time.Time, 1)
	opt.Events.OnSwitch = func(Switch) { switched <- time.Now() }
	hook, err := New(t.Context(), opt)
	require.NoError(t, err)
	defer hook.Close()
	client := instantOptions("db0:6379")
	client.PoolSize = goroutines
	rdb := redis.NewClient(client)
	defer rdb.Close()
	rdb.AddHook(hook)
	// Each goroutine needs a connection of its own, and they wait for it until the last one is there.
	var wg sync.WaitGroup
	var failed atomic.Int64
	up.Store(false)
	mu.Lock()
	dials, asked = nil, nil
	mu.Unlock()
	for range goroutines {
		wg.Go(func() {
			if rdb.Set(context.Background(), "k", 1, 0).Err() != nil {
				failed.Add(1)
			}
		})
	}
	wg.Wait()
	require.Zero(t, failed.Load())
	at := <-switched
	mu.Lock()
	defer mu.Unlock()
	slices.SortFunc(dials, time.Time.Compare)
	var since []time.Duration
	for _, d := range dials {
		since = append(since, d.Sub(dials[0]))
	}
	waiting := 0
	for _, a := range asked {
		// Those that were there when the switch was made; the others came later.
		if a.Sub(at) < 500*time.Millisecond {
			waiting++
			released = max(released, a.Sub(at))
		}
	}
	t.Logf("limit %d: %d of %d dialed, %d were released", limit, len(dials), goroutines, waiting)
	return burst(since, 10*time.Millisecond), atOnce, released
}
