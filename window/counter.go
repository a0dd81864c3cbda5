package window

import (
	"sync"
	"sync/atomic"
	"unsafe"
)

// shardBits makes 32 shards, so 4 KiB a counter: with more of them two busy goroutines share one less
// often, with fewer Take has less to read.
const shardBits = 5

// Counter counts successes where every nanosecond matters, until somebody takes them to a [Detector]. It
// never allocates.
//
// The zero value is ready. A Counter must not be copied after its first use. Safe for concurrent use.
type Counter struct {
	shards [1 << shardBits]shard

	mu    sync.Mutex
	taken shardSum // what all calls of Take have returned together; guarded by mu
}

// shard has two cache lines to itself: neighbouring lines are fetched in pairs by some processors.
//
// Fast and slow are apart, and neither ever decreases. That way a Take that meets a writer sees the
// command in one of the two or in none, never a slow one that is not a success; and Take only reads, so
// it does not pull the line away from the core that writes to it.
type shard struct {
	fast atomic.Uint64
	slow atomic.Uint64
	_    [112]byte
}

type shardSum struct{ fast, slow uint64 }

// Success counts one command that was answered.
func (c *Counter) Success() {
	c.shard().fast.Add(1)
}

// Slow counts one command that was answered, but slower than the bound of [Timed].
func (c *Counter) Slow() {
	c.shard().slow.Add(1)
}

// Add counts any number of answered commands, slow of which were slower than the bound of [Timed]: a
// pipeline. A slow that exceeds successes counts as successes.
func (c *Counter) Add(successes, slow uint64) {
	slow = min(slow, successes)
	s := c.shard()
	if fast := successes - slow; fast > 0 {
		s.fast.Add(fast)
	}
	if slow > 0 {
		s.slow.Add(slow)
	}
}

// Take returns what has been counted since the previous Take, in the terms of [Sample]: slow is a part of
// successes. Each command is returned by exactly one Take; one that is counted meanwhile, by this or by
// the next.
func (c *Counter) Take() (successes, slow uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// A shard read later never shows less, so neither does the sum, although the shards are not read
	// all at the same moment.
	var now shardSum
	for i := range c.shards {
		now.fast += c.shards[i].fast.Load()
		now.slow += c.shards[i].slow.Load()
	}
	fast, slow := now.fast-c.taken.fast, now.slow-c.taken.slow
	c.taken = now
	return fast + slow, slow
}

// shard picks by the address of the caller's stack: the cheapest thing that differs between goroutines
// and stays the same for one. It is a hint and nothing else: a stack that moves or two that meet cost a
// few nanoseconds and no count.
//
// A random shard, which is what other counters take, is no better than one shared by all: two cores then
// write to each line in turn, and every other write waits for the line to come over. BenchmarkCounter
// has the alternatives.
func (c *Counter) shard() *shard {
	var here byte
	// Stacks are 2 KiB or larger powers of two. The factor is 2^64 divided by the golden ratio: it
	// spreads them over the top bits whatever their size is.
	stack := uint64(uintptr(unsafe.Pointer(&here))) >> 11
	return &c.shards[stack*0x9e3779b97f4a7c15>>(64-shardBits)]
}
