// Package load has callers: goroutines that run one operation over and over and note what they were told.
package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// Load is a number of goroutines that run one operation over and over. Make it with Start. Safe for concurrent use, but
// read Errs only after End.
type Load struct {
	Ops     atomic.Int64   // succeeded
	Unknown atomic.Int64   // failed with Sent
	Other   atomic.Int64   // failed in any other way
	Longest atomic.Int64   // the longest operation, ns
	Errs    map[string]int // how often each error came

	stop atomic.Bool
	wg   sync.WaitGroup

	mu    sync.Mutex
	fault time.Time
	after []time.Duration // by goroutine: from the fault to the end of its next success
}

// Start begins n goroutines. op gets the number of its goroutine and of its run.
func Start(n int, op func(ctx context.Context, g, i int) error) *Load {
	return start(n, math.MaxInt, op)
}

// Repeat lets each of n goroutines run op so many times, and waits for them.
func Repeat(n, times int, op func(ctx context.Context, g, i int) error) *Load {
	l := start(n, times, op)
	l.wg.Wait()
	return l
}

func start(n, times int, op func(ctx context.Context, g, i int) error) *Load {
	l := &Load{Errs: make(map[string]int), after: make([]time.Duration, n)}
	for g := range n {
		l.wg.Go(func() {
			for i := 0; i < times && !l.stop.Load(); i++ {
				began := time.Now()
				l.note(g, began, op(context.Background(), g, i))
			}
		})
	}
	return l
}

func (l *Load) note(g int, began time.Time, err error) {
	now := time.Now()
	for took := int64(now.Sub(began)); ; {
		longest := l.Longest.Load()
		if took <= longest || l.Longest.CompareAndSwap(longest, took) {
			break
		}
	}
	if err == nil {
		l.Ops.Add(1)
		l.mu.Lock()
		if !l.fault.IsZero() && l.after[g] == 0 && began.After(l.fault) {
			l.after[g] = now.Sub(l.fault)
		}
		l.mu.Unlock()
		return
	}
	var failed *multidb.CommandError
	if errors.As(err, &failed) && failed.Sent {
		l.Unknown.Add(1)
	} else {
		l.Other.Add(1)
	}
	l.mu.Lock()
	l.Errs[err.Error()]++
	l.mu.Unlock()
}

// Strike runs the fault and notes when. Only operations begun after it count as a recovery.
func (l *Load) Strike(fault func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fault()
	l.fault = time.Now()
}

// Recovered reports whether every goroutine has succeeded since the fault, and how long that took: the first of them
// and the last.
func (l *Load) Recovered() (first, last time.Duration, ok bool) {
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

// AwaitRecovery waits until every goroutine has succeeded since the fault, and fails the test if that takes too long.
func (l *Load) AwaitRecovery(t testing.TB, within time.Duration) (first, last time.Duration) {
	t.Helper()
	redistest.Eventually(t, within, "every goroutine to succeed after the fault", func() bool {
		var ok bool
		first, last, ok = l.Recovered()
		return ok
	})
	return first, last
}

// End stops the load and waits for it. It may be called more than once.
func (l *Load) End() {
	l.stop.Store(true)
	l.wg.Wait()
}

// SetGet is an operation that may be run twice: a SET and a GET in turn, each goroutine with a key of its own.
func SetGet(rdb redis.Cmdable) func(context.Context, int, int) error {
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

// Report logs a row of the table of docs/measured.md, and appends it to the file named by MULTIDB_TABLE.
func Report(t testing.TB, fault, load, after, errs string) {
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

// Between words two durations, rounded to milliseconds, for Report.
func Between(first, last time.Duration) string {
	f, l := first.Round(time.Millisecond), last.Round(time.Millisecond)
	if f == l {
		return f.String()
	}
	return fmt.Sprintf("%v … %v", f, l)
}
