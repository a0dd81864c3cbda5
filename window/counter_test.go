package window

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestCounter(t *testing.T) {
	var c Counter
	assert.Zero(t, c.Take())
	c.Success()
	c.Success()
	assert.EqualValues(t, 2, c.Take())
	assert.Zero(t, c.Take())
}

// Writers on many goroutines, each taking the counter itself now and then as failures do, and a reader in
// a loop as the tick does: what all of them took together is exactly what was counted. There are more writers
// than shards, so that those that run at the same time meet in one now and then.
func TestCounterLosesAndDoublesNothing(t *testing.T) {
	const writers, each = 64, 20_000
	var (
		c               Counter
		successes       atomic.Uint64
		done            = make(chan struct{})
		reader, writing sync.WaitGroup
	)
	take := func() {
		n := c.Take()
		if n > writers*each {
			t.Errorf("took %d, more than was ever counted", n)
		}
		successes.Add(n)
	}
	reader.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				take()
				runtime.Gosched()
			}
		}
	})
	for range writers {
		writing.Go(func() {
			for i := range each {
				c.Success()
				if i%200 == 0 {
					take()
					runtime.Gosched()
				}
			}
		})
	}
	writing.Wait()
	close(done)
	reader.Wait()
	take()
	assert.Equal(t, uint64(writers*each), successes.Load())
}

func TestCounterDoesNotAllocate(t *testing.T) {
	var c Counter
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		c.Success()
		c.Take()
	}))
}

// Goroutines must not all meet in a few shards, whatever the size of their stacks is.
func TestCounterSpreadsGoroutines(t *testing.T) {
	const goroutines = 1000
	for _, size := range []int{1, 3 << 10, 10 << 10, 50 << 10} {
		var (
			c             Counter
			counted, done sync.WaitGroup
			held          = make(chan struct{})
		)
		counted.Add(goroutines)
		for range goroutines {
			done.Go(func() {
				grow(size)
				c.Success()
				counted.Done()
				<-held // until then all stacks exist at the same time
			})
		}
		counted.Wait()
		close(held)
		done.Wait()
		var used, most uint64
		for i := range c.shards {
			if n := c.shards[i].n.Load(); n > 0 {
				used++
				most = max(most, n)
			}
		}
		// A fair share is 31.
		assert.GreaterOrEqual(t, used, uint64(len(c.shards)/2), "shards used with stacks of %d", size)
		assert.Less(t, most, uint64(goroutines/4), "in one shard with stacks of %d", size)
	}
}

// grow makes the stack at least n bytes large.
//
//go:noinline
func grow(n int) byte {
	var frame [1 << 10]byte
	frame[n%len(frame)] = 1
	if n < len(frame) {
		return frame[0]
	}
	return grow(n-len(frame)) + frame[1]
}

// BenchmarkCounter compares the counter with what it was chosen over. "all cores" is the time per
// operation as everybody together sees it: it must not be above "one core".
func BenchmarkCounter(b *testing.B) {
	var c Counter
	var shared atomic.Uint64
	var pool sync.Pool
	for _, way := range []struct {
		name  string
		count func()
	}{
		{"Success", c.Success},
		{"one shared atomic", func() { shared.Add(1) }},
		{"random shard", func() { c.shards[rand.Uint32()%uint32(len(c.shards))].n.Add(1) }},
		{"shard kept in a sync.Pool", func() {
			s, _ := pool.Get().(*shard)
			if s == nil {
				s = &c.shards[rand.Uint32()%uint32(len(c.shards))]
			}
			s.n.Add(1)
			pool.Put(s)
		}},
	} {
		b.Run(way.name+"/one core", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				way.count()
			}
		})
		b.Run(way.name+"/all cores", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					way.count()
				}
			})
		})
		b.Run(way.name+"/1000 goroutines", func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(1000 / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					way.count()
					if i%64 == 0 {
						runtime.Gosched()
					}
				}
			})
		})
	}
	b.Run("Take", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.Take()
		}
	})
}
