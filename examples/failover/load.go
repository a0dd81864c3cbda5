package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb"
)

// load is goroutines that share one client, as an application's do, each in a loop of SET, GET and INCR. It knows
// nothing of databases: what is special about the client is that a hook was added to it.
type load struct {
	rdb     redis.UniversalClient
	prefix  string // of all keys
	spread  bool   // each worker has a counter of its own, so that they are on several nodes
	pause   time.Duration
	workers []*worker
	wg      sync.WaitGroup
}

// tally is what happened, to everybody and since the last look, or in all.
type tally struct {
	ops      int // operations that succeeded
	errors   int // operations whose caller got an error
	unknown  int // of those: sent and not answered, so nobody knows whether they were executed
	refused  int // of those: there was no database to send them to
	incr     int // increments that were confirmed
	incrLost int // increments whose fate is unknown
}

func (t *tally) add(o tally) {
	t.ops += o.ops
	t.errors += o.errors
	t.unknown += o.unknown
	t.refused += o.refused
	t.incr += o.incr
	t.incrLost += o.incrLost
}

// worker is one goroutine of the load, with numbers of its own so that it waits for no other.
type worker struct {
	mu    sync.Mutex
	tally tally           // Guarded by mu
	took  []time.Duration // Guarded by mu
	last  error           // Guarded by mu; the latest error
}

func startLoad(ctx context.Context, rdb redis.UniversalClient, prefix string, cfg *config) *load {
	l := &load{rdb: rdb, prefix: prefix, spread: cfg.cluster, pause: cfg.pause}
	for i := range cfg.workers {
		w := &worker{}
		l.workers = append(l.workers, w)
		l.wg.Go(func() { l.work(ctx, w, i) })
	}
	return l
}

// counter is the key that a worker increments.
func (l *load) counter(number int) string {
	if l.spread {
		return fmt.Sprintf("%scount:%d", l.prefix, number)
	}
	return l.prefix + "count"
}

func (l *load) work(ctx context.Context, w *worker, number int) {
	for n := 0; ctx.Err() == nil; n++ {
		key := fmt.Sprintf("%sw%d:%d", l.prefix, number, n%10)
		w.measure(ctx, false, func() error { return l.rdb.Set(ctx, key, n, time.Minute).Err() })
		rest(ctx, l.pause)
		w.measure(ctx, false, func() error { return ignoreNil(l.rdb.Get(ctx, key).Err()) })
		rest(ctx, l.pause)
		w.measure(ctx, true, func() error { return l.rdb.Incr(ctx, l.counter(number)).Err() })
		rest(ctx, l.pause)
	}
}

// measure runs one operation and notes how it ended. The end of the demo is no error of the operation it interrupts,
// but leaves an increment uncertain.
func (w *worker) measure(ctx context.Context, incr bool, op func() error) {
	if ctx.Err() != nil {
		return
	}
	began := time.Now()
	err := op()
	took := time.Since(began)
	w.mu.Lock()
	defer w.mu.Unlock()
	var failed *multidb.CommandError
	unknown := errors.As(err, &failed) && failed.Sent
	switch {
	case err == nil:
		w.tally.ops++
		w.took = append(w.took, took)
	case ctx.Err() != nil:
	default:
		w.tally.errors++
		w.last = err
		w.took = append(w.took, took)
		if unknown {
			w.tally.unknown++
		}
		if errors.Is(err, multidb.ErrNoDatabase) {
			w.tally.refused++
		}
	}
	if incr && err == nil {
		w.tally.incr++
	} else if incr && (unknown || ctx.Err() != nil) {
		w.tally.incrLost++
	}
}

// collect returns what happened since the last call.
func (l *load) collect() (sum tally, took []time.Duration, last error) {
	for _, w := range l.workers {
		w.mu.Lock()
		sum.add(w.tally)
		took = append(took, w.took...)
		if w.last != nil {
			last = w.last
		}
		w.tally, w.took, w.last = tally{}, w.took[:0], nil
		w.mu.Unlock()
	}
	return sum, took, last
}

// ignoreNil: the databases of the demo do not replicate, so after a switch a key may not be there.
func ignoreNil(err error) error {
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}

func rest(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
