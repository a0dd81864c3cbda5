// Package cluster_test is about databases that are whole clusters: what a user's *redis.ClusterClient meets.
package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	multidb "github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/clustertest"
	tally "github.com/redishook/multidb/internal/testkit/load"
	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/internal/testkit/testmain"
)

func TestMain(m *testing.M) {
	testmain.Parallel(3) // half of the time a test waits for a cluster to replace a master or to form
	testmain.Run(m, clustertest.Keep())
}

// pair is two clusters, the hook over them and the client of an application.
type pair struct {
	a, b *clustertest.Cluster
	hook *multidb.Hook
	rdb  *redis.ClusterClient

	mu       sync.Mutex
	switches []multidb.Switch
	degraded []multidb.Degraded
}

// setup says what a pair is like.
type setup struct {
	a, b   []clustertest.Option
	hook   func(*multidb.Options)
	client func(*redis.ClusterOptions)
	prompt bool        // the health checks have their default timeouts, see patience
	before func(*pair) // called with the clusters, before there is a hook
}

// patience is for a busy machine, on which a server that is well may be silent for half a second. Who wants to see a hang needs
// prompt instead.
var patience = multidb.Health{Timeout: 8 * time.Second, StallTimeout: 4 * time.Second}

// newPair starts A with three masters and a replica each, and B with four masters, unless setup says otherwise. Nothing is
// returned to by itself.
func newPair(t *testing.T, s setup) *pair {
	t.Helper()
	a := append([]clustertest.Option{clustertest.Masters(3, 1)}, s.a...)
	b := append([]clustertest.Option{clustertest.Masters(4, 0)}, s.b...)
	all := clustertest.StartAll(t, a, b)
	p := &pair{a: all[0], b: all[1]}
	if s.before != nil {
		s.before(p)
	}
	opt := multidb.Options{
		Databases: []multidb.Database{
			{Name: "A", Cluster: p.a.Options()}, {Name: "B", Weight: 0.5, Cluster: p.b.Options()},
		},
		Failback: multidb.Failback{GracePeriod: -1},
		Logger:   slog.New(slog.DiscardHandler),
	}
	if s.prompt {
		opt.Health = multidb.Health{Timeout: 1500 * time.Millisecond, StallTimeout: 750 * time.Millisecond}
	}
	opt.Events.OnSwitch = func(s multidb.Switch) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.switches = append(p.switches, s)
	}
	opt.Events.OnDegraded = func(d multidb.Degraded) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.degraded = append(p.degraded, d)
	}
	if s.hook != nil {
		s.hook(&opt)
	}
	p.hook = newHook(t, opt)
	client := p.a.Options()
	if s.client != nil {
		s.client(client)
	}
	p.rdb = newClient(t, client)
	require.NoError(t, p.hook.Attach(p.rdb))
	return p
}

func newHook(t *testing.T, opt multidb.Options) *multidb.Hook {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	switch {
	case os.Getenv("MULTIDB_TABLE") != "": // the table is that of the defaults
		opt.Health.Timeout, opt.Health.StallTimeout = 0, 0
	case opt.Health.Timeout == 0:
		opt.Health.Timeout, opt.Health.StallTimeout = patience.Timeout, patience.StallTimeout
	}
	hook, err := multidb.New(ctx, opt)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, hook.Close()) })
	return hook
}

func newClient(t *testing.T, opt *redis.ClusterOptions) *redis.ClusterClient {
	rdb := redis.NewClusterClient(opt)
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// sum is what all counters of both clusters come to.
func (p *pair) sum(prefix string) int64 { return p.a.Sum(prefix) + p.b.Sum(prefix) }

// moves are the switches so far.
func (p *pair) moves() []multidb.Switch {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]multidb.Switch(nil), p.switches...)
}

// storm switches back and forth.
func (p *pair) storm(t *testing.T, n int, pause time.Duration) {
	t.Helper()
	for i := range n {
		time.Sleep(pause)
		require.NoError(t, p.hook.SetActive(t.Context(), []string{"B", "A"}[i%2]))
	}
	time.Sleep(100 * time.Millisecond)
}

// key is one of 1,000, spread over the goroutines.
func key(prefix string, g, i int) string { return prefix + strconv.Itoa((g*7919+i*31)%1000) }

// load runs work from several goroutines and keeps what it came to.
type load struct {
	confirmed, unknown, failed atomic.Int64 // by the work itself; sent and not answered; everything else
	longest                    atomic.Int64
	first, last                time.Duration  // see recovered
	lastOK                     []atomic.Int64 // per goroutine

	stop atomic.Bool
	wg   sync.WaitGroup
	mu   sync.Mutex
	errs map[string]int // Guarded by mu
}

// start runs work until end. Work counts what it has confirmed, and returns the first error.
func start(workers int, work func(ctx context.Context, l *load, g, i int) error) *load {
	l := &load{errs: make(map[string]int), lastOK: make([]atomic.Int64, workers)}
	for g := range workers {
		l.wg.Go(func() {
			for i := 0; !l.stop.Load(); i++ {
				began := time.Now()
				err := work(context.Background(), l, g, i)
				l.longest.Store(max(l.longest.Load(), int64(time.Since(began))))
				if err == nil {
					l.lastOK[g].Store(time.Now().UnixNano())
					continue
				}
				l.note(err)
			}
		})
	}
	return l
}

func (l *load) note(err error) {
	var failed *multidb.CommandError
	if errors.As(err, &failed) && failed.Sent {
		l.unknown.Add(1)
	} else {
		l.failed.Add(1)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs[err.Error()]++
}

// end stops the load and logs what it came to.
func (l *load) end(t *testing.T) {
	t.Helper()
	l.stop.Store(true)
	l.wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	shown := 0
	for err, n := range l.errs {
		if shown++; shown <= 6 {
			t.Logf("%d x %s", n, err)
		}
	}
	t.Logf("%d confirmed, %d unknown, %d failed, longest %v", l.confirmed.Load(), l.unknown.Load(), l.failed.Load(),
		time.Duration(l.longest.Load()).Round(time.Millisecond))
}

// recovered waits until every goroutine has succeeded after the moment, and returns how long the last took.
func (l *load) recovered(t *testing.T, since time.Time, within time.Duration) time.Duration {
	t.Helper()
	redistest.Eventually(t, within, "every goroutine goes on", func() bool {
		for i := range l.lastOK {
			at := time.Unix(0, l.lastOK[i].Load())
			if !at.After(since) {
				return false
			}
			if took := at.Sub(since); i == 0 {
				l.first, l.last = took, took
			} else {
				l.first, l.last = min(l.first, took), max(l.last, took)
			}
		}
		return true
	})
	return l.last
}

// report makes a row of the table of docs/measured.md: what reads has recovered after, and what became of the INCRs beside it.
func report(t *testing.T, fault string, reads, counts *load) {
	t.Helper()
	errs := strconv.FormatInt(reads.unknown.Load()+reads.failed.Load(), 10)
	if counts != nil {
		unknown := counts.unknown.Load()
		errs += fmt.Sprintf("; INCR beside it: %d of %d", unknown+counts.failed.Load(), counts.confirmed.Load()+unknown)
		if unknown > 0 {
			errs += `, each "sent, not answered"`
		}
	}
	tally.Report(t, "cluster: "+fault, fmt.Sprintf("%d × SET/GET", len(reads.lastOK)), tally.Between(reads.first, reads.last), errs)
}

// incr counts up one key.
func incr(rdb redis.Cmdable) func(context.Context, *load, int, int) error {
	return func(ctx context.Context, l *load, g, i int) error {
		err := rdb.Incr(ctx, key("n:", g, i)).Err()
		if err == nil {
			l.confirmed.Add(1)
		}
		return err
	}
}

// setGet writes a key and reads it.
func setGet(rdb redis.Cmdable) func(context.Context, *load, int, int) error {
	return func(ctx context.Context, l *load, g, i int) error {
		k := key("x:", g, i/2)
		if i%2 == 0 {
			return rdb.Set(ctx, k, i, 0).Err()
		}
		if err := rdb.Get(ctx, k).Err(); !errors.Is(err, redis.Nil) {
			return err
		}
		return nil
	}
}

// exact requires that what was counted is what was confirmed, with nothing failed.
func (p *pair) exact(t *testing.T, l *load) {
	t.Helper()
	require.Zero(t, l.unknown.Load()+l.failed.Load())
	require.Equal(t, l.confirmed.Load(), p.sum("n:"))
}
