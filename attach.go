package multidb

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"
	"weak"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/conn"
	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/resp"
	"github.com/redishook/multidb/internal/wait"
)

// errPurge is what the argument of a purging command fails to encode with.
var errPurge = errors.New("multidb: this connection is older than the hook and is replaced")

// unencodable makes a command fail before a byte of it is written, which makes go-redis drop the connection.
type unencodable struct{}

func (unencodable) MarshalBinary() ([]byte, error) { return nil, errPurge }

// attachment is the hook as one client has it: it knows which connections are that client's.
type attachment struct {
	*Hook
	client *conn.Client
}

// DialHook is [Hook.DialHook] for this client.
func (a attachment) DialHook(redis.DialHook) redis.DialHook { return a.dialFor(a.client) }

// Attach adds the hook to a client and replaces the connections that the client had before, which do not follow the
// active database. Idle connections are replaced at once. Attach waits up to 1 s for connections in use; a goroutine replaces
// the rest as they return to the pool. Subscriptions made before stay as they are. For a client just made, rdb.AddHook(hook) is
// enough unless it has MinIdleConns.
//
// A *redis.ClusterClient follows if the databases are clusters, also one in use, with ReadOnly, RouteByLatency or
// RouteRandomly as it has them; all its options stay as they are. AddHook alone does nothing for it.
//
// A client is routed by one hook. Attach reports any other kind, and options that would defeat the
// hook. Attaching a client again does no harm. Safe for concurrent use.
func (h *Hook) Attach(rdb redis.UniversalClient) error {
	if cc, ok := rdb.(*redis.ClusterClient); ok {
		return h.attachCluster(cc)
	}
	client, ok := rdb.(*redis.Client)
	if ring, isRing := rdb.(*redis.Ring); isRing && ring != nil {
		return errors.New("multidb: Attach: a *redis.Ring has no topology that could be changed: it shards by its own hash; " +
			"add a hook to each shard (RingOptions.NewClient), or use a *redis.Client or a *redis.ClusterClient")
	}
	if !ok {
		return fmt.Errorf("multidb: Attach: %T is not supported; use a *redis.Client (redis.NewClient or redis.NewFailoverClient) "+
			"or a *redis.ClusterClient (redis.NewClusterClient)", rdb)
	}
	if !made(client) {
		return errors.New("multidb: Attach: the client is nil or was not made by redis.NewClient or redis.NewFailoverClient")
	}
	if h.isCluster() {
		return errors.New("multidb: Attach: the client is a *redis.Client and the databases are clusters; use a *redis.ClusterClient")
	}
	if client.Options().StreamingCredentialsProvider != nil {
		return errors.New("multidb: Attach: the client has a StreamingCredentialsProvider, which would send its credentials " +
			"to every database; give each Database a CredentialsProviderContext instead")
	}
	if err := h.sameIndex(client.Options().DB); err != nil {
		return err
	}
	if h.isClosed() {
		return ErrClosed
	}
	var traits *conn.Client // nil: connections made before are not told apart by number
	switch HookOf(client) {
	case nil:
		traits = conn.NewClient()
		client.AddHook(attachment{h, traits})
		rememberHook(client, h)
	case h:
	default:
		return errors.New("multidb: Attach: the client follows another hook already")
	}
	for until := time.Now().Add(time.Second); time.Now().Before(until) && !h.isClosed(); wait.For(h.ctx, 5*time.Millisecond) {
		warm := prewarmed(client) // before the purge, or a connection may arrive in between
		if h.purge(client) == 0 && warm && older(client, traits) <= 0 {
			break
		}
	}
	pointer, dialTimeout := weak.Make(client), client.Options().DialTimeout
	h.workers.Go(func() { h.purgeLater(pointer, traits, dialTimeout) })
	return nil
}

// sameIndex reports the databases whose index contradicts that of a client. An index of 0 contradicts none: a client of
// index 0 uses the index of each database, and a database of index 0 is used at the index of each client.
func (h *Hook) sameIndex(index int) error {
	var errs []error
	for _, db := range h.selector.All() {
		if own := db.Options.DB; index != 0 && own != 0 && own != index {
			errs = append(errs, fmt.Errorf("multidb: Attach: the client has DB = %d and database %q has index %d: must be the same, "+
				"or one of them 0", index, db.Name, own))
		}
	}
	return errors.Join(errs...)
}

// made reports whether a client is one that go-redis has made: the zero value panics at whatever is asked of it.
func made(client *redis.Client) bool {
	return client != nil && !reflect.ValueOf(client).Elem().IsZero()
}

// purgeLater replaces the connections that were in use when the client was attached, as they come back to the pool, and
// those that were being dialed. It ends with the last of them, or with the client.
func (h *Hook) purgeLater(pointer weak.Pointer[redis.Client], traits *conn.Client, dialTimeout time.Duration) {
	until := time.Now().Add(max(dialTimeout, time.Second))
	for delay := 50 * time.Millisecond; ; {
		wait.For(h.ctx, delay)
		client := pointer.Value()
		if client == nil || h.isClosed() {
			return
		}
		late, left := time.Now().After(until), older(client, traits)
		if left > 0 || traits == nil {
			h.purge(client)
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
func older(client *redis.Client, traits *conn.Client) int {
	if traits == nil {
		return 0
	}
	stats := client.PoolStats()
	have := int(stats.TotalConns)
	if stats.PipelineStats != nil {
		have += int(stats.PipelineStats.TotalConns)
	}
	return have - traits.Pooled()
}

// prewarmed reports whether the connections that the client began to dial when it was made (MinIdleConns) have arrived.
func prewarmed(client *redis.Client) bool {
	opt := client.Options()
	return int(client.PoolStats().TotalConns) >= min(opt.MinIdleConns, opt.PoolSize)
}

// purge replaces the idle connections of a client that are older than the hook, and returns how many of those it found in
// the main pool. All idle connections are claimed before one is given back, so that each is asked. They are asked one after
// the other, because the first handshakes of a client of go-redis have a data race among themselves.
func (h *Hook) purge(client *redis.Client) (found int) {
	client = withoutHooks(client)
	ctx, cancel := context.WithTimeout(h.ctx, time.Second)
	defer cancel()
	for range client.PoolStats().IdleConns {
		conn := client.Conn()
		defer conn.Close()
		if unrouted(ctx, conn) {
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

// routedQuestion is a request that no server knows. A connection of ours answers it by itself, see conn.writeRequest.
var (
	routedQuestion = []any{"client", "multidb-routed"}
	routedRequest  = resp.Encode("client", "multidb-routed")
)

// routedReply is the answer, with the hook that the connection belongs to. It looks like a reply, so that go-redis keeps the
// connection.
type routedReply struct{ hook *Hook }

func (routedReply) Error() string { return "this connection follows the active database" }

// RedisError makes it a [redis.Error].
func (routedReply) RedisError() {}

// unrouted reports whether a connection is certainly not ours: a server has answered the question.
func unrouted(ctx context.Context, conn *redis.Conn) bool {
	err := conn.Process(ctx, redis.NewCmd(ctx, routedQuestion...))
	return !errors.As(err, new(routedReply)) && (err == nil || goredis.IsReply(err))
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

// warnIfUnrouted reports, once, that commands run through the hook but none of their connections was dialed by it.
func (h *Hook) warnIfUnrouted(db *database.Database) {
	if h.dials.Load() > 0 || db.Traffic.Successes.Load() == 0 || !h.unrouted.CompareAndSwap(false, true) {
		return
	}
	h.events.unrouted()
}
