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
	take := func() [2]uint64 {
		successes, slow := c.Take()
		return [2]uint64{successes, slow}
	}
	assert.Equal(t, [2]uint64{0, 0}, take())
	c.Success()
	c.Success()
	c.Slow()
	assert.Equal(t, [2]uint64{3, 1}, take())
	assert.Equal(t, [2]uint64{0, 0}, take())
	c.Add(10, 4)
	assert.Equal(t, [2]uint64{10, 4}, take())
	c.Add(0, 0)
	c.Add(2, 7)
	assert.Equal(t, [2]uint64{2, 2}, take(), "no more slow ones than successes")
}

// Writers on many goroutines, each taking the counter itself now and then as failures do, and a reader in
// a loop as the tick does: what all of them took together is exactly what was counted. There are more writers
// than shards, so that those that run at the same time meet in one now and then.
func TestCounterLosesAndDoublesNothing(t *testing.T) {
	const writers, each = 64, 20_000
	var (
		c               Counter
		successes, slow atomic.Uint64
		done            = make(chan struct{})
		reader, writing sync.WaitGroup
	)
	take := func() {
		n, s := c.Take()
		if s > n {
			t.Errorf("%d slow of %d successes", s, n)
		}
		if n > writers*each*3 {
			t.Errorf("took %d, more than was ever counted", n)
		}
		successes.Add(n)
		slow.Add(s)
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
				switch {
				case i%10 == 0:
					c.Slow()
				case i%10 == 1:
					c.Add(3, 2)
				default:
					c.Success()
				}
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
	assert.Equal(t, uint64(writers*each/10*(1+3+8)), successes.Load())
	assert.Equal(t, uint64(writers*each/10*(1+2)), slow.Load())
}

func TestCounterDoesNotAllocate(t *testing.T) {
	var c Counter
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		c.Success()
		c.Slow()
		c.Add(10, 2)
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
			if n := c.shards[i].fast.Load(); n > 0 {
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
		{"random shard", func() { c.shards[rand.Uint32()%uint32(len(c.shards))].fast.Add(1) }},
		{"shard kept in a sync.Pool", func() {
			s, _ := pool.Get().(*shard)
			if s == nil {
				s = &c.shards[rand.Uint32()%uint32(len(c.shards))]
			}
			s.fast.Add(1)
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
