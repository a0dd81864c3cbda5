package console

import (
	"context"
	"math/bits"
	"net"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// timer is a hook that measures how long commands take. Its buckets are a quarter of a power of two wide, so a percentile
// is at most an eighth off.
type timer struct {
	buckets [64 * 4]atomic.Uint32
	seen    [64 * 4]uint32 // by the last call of percentile, which one goroutine makes
}

func (t *timer) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (t *timer) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		began := time.Now()
		err := next(ctx, cmd)
		t.took(time.Since(began))
		return err
	}
}

func (t *timer) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		began := time.Now()
		err := next(ctx, cmds)
		t.took(time.Since(began))
		return err
	}
}

func (t *timer) took(d time.Duration) { t.buckets[bucket(uint64(max(d, 1)))].Add(1) }

// bucket is by the highest bit and the two below it.
func bucket(ns uint64) int {
	exponent := bits.Len64(ns) - 1
	if exponent < 2 {
		return exponent * 4
	}
	return exponent*4 + int(ns>>(exponent-2)&3)
}

// middle is a duration in a bucket.
func middle(bucket int) time.Duration {
	exponent, quarter := bucket/4, bucket%4
	return time.Duration(float64(uint64(1)<<exponent) * (1.125 + 0.25*float64(quarter)))
}

// percentile is that of what came since the last call; 0 if nothing did.
func (t *timer) percentile(p float64) time.Duration {
	var counts [len(t.buckets)]uint32
	total := uint64(0)
	for i := range t.buckets {
		now := t.buckets[i].Load()
		counts[i] = now - t.seen[i] // right even if it has run over
		t.seen[i] = now
		total += uint64(counts[i])
	}
	if total == 0 {
		return 0
	}
	left := min(uint64(p*float64(total)), total-1)
	for i, n := range counts {
		if uint64(n) > left {
			return middle(i)
		}
		left -= uint64(n)
	}
	return 0
}
