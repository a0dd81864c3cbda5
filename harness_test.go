package multidb

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/internal/testkit/testmain"
)

func TestMain(m *testing.M) {
	logging.Disable() // go-redis logs every failed dial
	testmain.Run(m)
}

var persist = redistest.Persist()

var eventually = redistest.Eventually

// testLog sends a hook's log to the test's output, with -v only.
func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// pair is two real servers, east (heavier) and west, with a hook over them and one all-default client that was made
// with the address of east.
type pair struct {
	east, west *redistest.Redis
	hook       *Hook
	rdb        *redis.Client

	mu       sync.Mutex
	switches []Switch
	downs    atomic.Int64
}

// newPair starts the servers. change may alter the options of the hook and of the client before they are used.
func newPair(t testing.TB, change func(*Options, *redis.Options), servers ...redistest.Option) *pair {
	t.Helper()
	p := &pair{east: redistest.Start(t, servers...), west: redistest.Start(t, servers...)}
	p.attach(t, p.east.Options(), p.west.Options(), change)
	return p
}

// attach puts the hook over two addresses, which may be those of proxies before the servers.
func (p *pair) attach(t testing.TB, east, west *redis.Options, change func(*Options, *redis.Options)) {
	t.Helper()
	opt := Options{
		Databases: []Database{{Name: "east", Options: east}, {Name: "west", Weight: 0.5, Options: west}},
		Failback:  Failback{GracePeriod: -1}, // the tests move back themselves
		Logger:    testLog(t),
	}
	client := &redis.Options{Network: east.Network, Addr: east.Addr, TLSConfig: east.TLSConfig}
	if change != nil {
		change(&opt, client)
	}
	onSwitch, onDown := opt.Events.OnSwitch, opt.Events.OnAllDown
	opt.Events.OnSwitch = func(s Switch) {
		p.mu.Lock()
		p.switches = append(p.switches, s)
		p.mu.Unlock()
		if onSwitch != nil {
			onSwitch(s)
		}
	}
	opt.Events.OnAllDown = func(cause error) {
		p.downs.Add(1)
		if onDown != nil {
			onDown(cause)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var err error
	p.hook, err = New(ctx, opt)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.hook.Close()) })
	p.rdb = redis.NewClient(client)
	t.Cleanup(func() { _ = p.rdb.Close() })
	p.rdb.AddHook(p.hook)
}

// servers returns the active server and the other one.
func (p *pair) servers() (active, passive *redistest.Redis) {
	if p.hook.Active() == "east" {
		return p.east, p.west
	}
	return p.west, p.east
}

func (p *pair) switched() []Switch {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Switch(nil), p.switches...)
}

// sum adds up what a counter is on both servers, asked directly.
func (p *pair) sum(t testing.TB, key string) int64 {
	t.Helper()
	var total int64
	for _, server := range []*redistest.Redis{p.east, p.west} {
		total += counter(t, server, key)
	}
	return total
}

func counter(t testing.TB, server *redistest.Redis, key string) int64 {
	t.Helper()
	n, err := server.Client().Get(context.Background(), key).Int64()
	if !errors.Is(err, redis.Nil) {
		require.NoError(t, err)
	}
	return n
}

// load is a number of goroutines that run one operation over and over.
type load struct {
	stop    atomic.Bool
	wg      sync.WaitGroup
	ops     atomic.Int64
	unknown atomic.Int64 // failed with Sent
	other   atomic.Int64 // failed in any other way
	longest atomic.Int64 // the longest operation, ns

	mu    sync.Mutex
	errs  map[string]int
	fault time.Time
	after []time.Duration // by goroutine: from the fault to the end of its next success
}

// start begins n goroutines. op gets the number of its goroutine and of its run.
func start(n int, op func(ctx context.Context, g, i int) error) *load {
	l := &load{errs: make(map[string]int), after: make([]time.Duration, n)}
	for g := range n {
		l.wg.Go(func() {
			for i := 0; !l.stop.Load(); i++ {
				began := time.Now()
				l.note(g, began, op(context.Background(), g, i))
			}
		})
	}
	return l
}

func (l *load) note(g int, began time.Time, err error) {
	now := time.Now()
	for took := int64(now.Sub(began)); ; {
		longest := l.longest.Load()
		if took <= longest || l.longest.CompareAndSwap(longest, took) {
			break
		}
	}
	if err == nil {
		l.ops.Add(1)
		l.mu.Lock()
		if !l.fault.IsZero() && l.after[g] == 0 && began.After(l.fault) {
			l.after[g] = now.Sub(l.fault)
		}
		l.mu.Unlock()
		return
	}
	var failed *CommandError
	if errors.As(err, &failed) && failed.Sent {
		l.unknown.Add(1)
	} else {
		l.other.Add(1)
	}
	l.mu.Lock()
	l.errs[err.Error()]++
	l.mu.Unlock()
}

// strike runs the fault and notes when. Only operations begun after it count as a recovery.
func (l *load) strike(fault func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fault()
	l.fault = time.Now()
}

// recovered reports whether every goroutine has succeeded since the fault, and how long that took: the first of them
// and the last.
func (l *load) recovered() (first, last time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range l.after {
		if d == 0 {
			return 0, 0, false
		}
		if first == 0 || d < first {
			first = d
		}
		last = max(last, d)
	}
	return first, last, true
}

// end stops the load and waits for it.
func (l *load) end() {
	l.stop.Store(true)
	l.wg.Wait()
}

// setGet is an operation that may be run twice.
func setGet(rdb redis.Cmdable) func(context.Context, int, int) error {
	return func(ctx context.Context, g, i int) error {
		key := "key:" + strconv.Itoa(g)
		if i%2 == 0 {
			return rdb.Set(ctx, key, i, 0).Err()
		}
		if err := rdb.Get(ctx, key).Err(); !errors.Is(err, redis.Nil) {
			return err // after a switch the new database may not have the key
		}
		return nil
	}
}

// report logs a row of the README's table, and appends it to the file named by MULTIDB_TABLE.
func report(t testing.TB, fault, load, after, errs string) {
	t.Helper()
	row := "| " + fault + " | " + load + " | " + after + " | " + errs + " |\n"
	t.Log(row)
	if name := os.Getenv("MULTIDB_TABLE"); name != "" {
		f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		require.NoError(t, err)
		defer f.Close()
		_, err = f.WriteString(row)
		require.NoError(t, err)
	}
}
