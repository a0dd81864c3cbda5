// Package oldconns replaces the connections that a client had before it was given a hook: they lead where the client was made for.
package oldconns

import (
	"context"
	"errors"
	"time"
	"weak"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/conn"
	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/wait"
)

// Replacer replaces them.
type Replacer struct {
	Ctx      context.Context  // nothing is replaced after its end
	Question []any            // a request that connections of the hook answer by themselves, and that no server knows
	Routed   func(error) bool // reports that an error is their answer
}

// ReplaceIdle replaces the idle connections, and for up to 1 s those that are in use, as they return to the pool. own knows which
// connections are of the hook; nil: they are asked.
//
// It looks again and again, ever more rarely, because there is no event. The pool of go-redis has hooks that hear
// of each connection that returns (pool.PoolHook). But the type is internal to go-redis, and no method of a client
// takes one. Nor do commands tell: those that hold the old connections began before the hook was added, and pass
// none of its functions.
func (r Replacer) ReplaceIdle(client *redis.Client, own *conn.Client) {
	ctx, cancel := context.WithTimeout(r.Ctx, time.Second)
	defer cancel()
	for looks := 0; ctx.Err() == nil; looks++ {
		warm := prewarmed(client) // before the purge, or a connection may arrive in between
		if r.Purge(client) == 0 && warm && older(client, own) <= 0 {
			return
		}
		wait.For(ctx, wait.Backoff(looks, firstPause, longestPause))
	}
}

// Between two looks of ReplaceIdle. The first may be soon: most of what is in use at that moment returns within a round trip.
const firstPause, longestPause = time.Millisecond, 50 * time.Millisecond

// Later returns what replaces the connections that were in use when the client was attached, as they come back to the pool, and
// those that were being dialed. It ends with the last of them, or with the client.
func (r Replacer) Later(client *redis.Client, own *conn.Client) func() {
	pointer, dialTimeout := weak.Make(client), client.Options().DialTimeout
	return func() { r.later(pointer, own, dialTimeout) }
}

func (r Replacer) later(pointer weak.Pointer[redis.Client], own *conn.Client, dialTimeout time.Duration) {
	until := time.Now().Add(max(dialTimeout, time.Second))
	for delay := longestPause; ; {
		wait.For(r.Ctx, delay)
		client := pointer.Value()
		if client == nil || r.Ctx.Err() != nil {
			return
		}
		late, left := time.Now().After(until), older(client, own)
		if left > 0 || own == nil {
			r.Purge(client)
		}
		if late && left <= 0 {
			return
		}
		if late {
			delay = min(2*delay, time.Second)
		}
	}
}

// older returns how many connections of the client's pools are older than the hook. One that is being dialed by the hook
// may hide one of them for that time.
func older(client *redis.Client, own *conn.Client) int {
	if own == nil {
		return 0
	}
	stats := client.PoolStats()
	have := int(stats.TotalConns)
	if stats.PipelineStats != nil {
		have += int(stats.PipelineStats.TotalConns)
	}
	return have - own.Pooled()
}

// prewarmed reports whether the connections that the client began to dial when it was made (MinIdleConns) have arrived.
func prewarmed(client *redis.Client) bool {
	opt := client.Options()
	return int(client.PoolStats().TotalConns) >= min(opt.MinIdleConns, opt.PoolSize)
}

// errPurge is what the argument of a purging command fails to encode with.
var errPurge = errors.New("multidb: this connection is older than the hook and is replaced")

// unencodable makes a command fail before a byte of it is written, which makes go-redis drop the connection.
type unencodable struct{}

func (unencodable) MarshalBinary() ([]byte, error) { return nil, errPurge }

// Purge replaces the idle connections of a client that are older than the hook, and returns how many of those it found in
// the main pool. All idle connections are claimed before one is given back, so that each is asked. They are asked one after
// the other, because the first handshakes of a client of go-redis have a data race among themselves.
func (r Replacer) Purge(client *redis.Client) (found int) {
	client = withoutHooks(client)
	ctx, cancel := context.WithTimeout(r.Ctx, time.Second)
	defer cancel()
	for range client.PoolStats().IdleConns {
		conn := client.Conn()
		defer conn.Close()
		if r.unrouted(ctx, conn) {
			found++
			_ = conn.Process(ctx, redis.NewCmd(ctx, "ping", unencodable{}))
		}
	}
	purgePipelines(ctx, client)
	return found
}

// withoutHooks returns a client with the connections of this one, and without its hooks and its limiter: what the hook asks for
// its own sake is nothing that a circuit breaker, a tracer or a metric of the user's should hear of. Some of it fails on
// purpose.
func withoutHooks(client *redis.Client) *redis.Client {
	bare := client.WithTimeout(time.Second)
	bare.Options().Limiter = nil // the options of a clone are its own
	return bare
}

// unrouted reports whether a connection is certainly not ours: a server has answered the question.
func (r Replacer) unrouted(ctx context.Context, conn *redis.Conn) bool {
	err := conn.Process(ctx, redis.NewCmd(ctx, r.Question...))
	return !r.Routed(err) && (err == nil || goredis.IsReply(err))
}

// purgePipelines replaces the idle connections of the pool that go-redis keeps for pipelines.
func purgePipelines(ctx context.Context, client *redis.Client) {
	for ctx.Err() == nil {
		stats := client.PoolStats().PipelineStats
		if stats == nil || stats.IdleConns == 0 {
			return
		}
		pipe := client.Pipeline()
		pipe.Do(ctx, "ping", unencodable{})
		if _, err := pipe.Exec(ctx); !errors.Is(err, errPurge) {
			return
		}
	}
}
