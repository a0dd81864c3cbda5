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
	taken uint64 // what all calls of Take have returned together; guarded by mu
}

// shard has two cache lines to itself: neighbouring lines are fetched in pairs by some processors. The count never decreases:
// Take only reads, so it does not pull the line away from the core that writes to it.
type shard struct {
	n atomic.Uint64
	_ [120]byte
}

// Success counts one command that was answered.
func (c *Counter) Success() {
	c.shard().n.Add(1)
}

// Take returns how many have been counted since the previous Take. Each command is returned by exactly one Take; one
// that is counted meanwhile, by this or by the next.
func (c *Counter) Take() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	// A shard read later never shows less, so neither does the sum, although the shards are not read
	// all at the same moment.
	var now uint64
	for i := range c.shards {
		now += c.shards[i].n.Load()
	}
	since := now - c.taken
	c.taken = now
	return since
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
