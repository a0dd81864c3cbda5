package multidb

import (
	"context"
	"errors"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"weak"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/oldconns"
	"github.com/redishook/multidb/internal/resp"
	"github.com/redishook/multidb/internal/runner"
)

// Which hook a client or a transaction follows.

// hooksOf are the hooks of clients that are known to have one, by weak pointer. A client keeps its hook for life.
var hooksOf sync.Map // of weak.Pointer[redis.Client], to *Hook

func rememberHook(client *redis.Client, h *Hook) {
	pointer := weak.Make(client)
	if _, known := hooksOf.Swap(pointer, h); !known {
		runtime.AddCleanup(client, func(p weak.Pointer[redis.Client]) { hooksOf.Delete(p) }, pointer)
	}
}

// HookOf returns the hook of a client, or nil if it has none. It sends nothing. If the client was not attached and
// has not been asked about, a command named CLIENT passes its hooks and stops before the network. Other hooks may
// count that command. Safe for concurrent use.
func HookOf(rdb redis.UniversalClient) *Hook {
	if cc, ok := rdb.(*redis.ClusterClient); ok {
		return hookFor(func(h *Hook) bool { return h.clusters.Has(cc) })
	}
	client, ok := rdb.(*redis.Client)
	if !ok || !made(client) {
		return nil
	}
	if h, ok := hooksOf.Load(weak.Make(client)); ok {
		return h.(*Hook)
	}
	conn := client.Conn()
	defer conn.Close()
	conn.AddHook(goredis.Wall{})
	ctx := context.Background()
	hook, _ := runner.OwnerOf(ctx, func(query *runner.Query) { _ = conn.Process(ctx, query) }).(*Hook)
	if hook != nil {
		rememberHook(client, hook)
	}
	return hook
}

// openHooks are the hooks of this process that have been made and not closed.
var openHooks sync.Map // of *Hook

// hookFor finds the open hook that f holds for.
func hookFor(f func(*Hook) bool) (found *Hook) {
	openHooks.Range(func(h, _ any) bool {
		if f(h.(*Hook)) {
			found = h.(*Hook)
		}
		return found == nil
	})
	return found
}

// AnyHook reports whether there is a hook in this process that has not been closed. Safe for concurrent use.
func AnyHook() bool { return hookFor(func(*Hook) bool { return true }) != nil }

// HookOfTx returns the hook that a transaction's connection follows, or nil if it follows none. It finds what
// [HookOf] does not: the hook of a client that is wrapped in another type, and that of a WithTimeout clone. A
// clone has the connections of its client and none of its hooks. The hook or the connection answers by itself.
// Only where neither belongs to a hook, a server gets the question, a CLIENT that it does not know: ask [AnyHook]
// first. Before the first request of the transaction; not safe for concurrent use, as a Tx is not.
func HookOfTx(ctx context.Context, tx *redis.Tx) *Hook {
	query := runner.NewQuery(ctx, routedQuestion...)
	err := tx.Process(ctx, query)
	if hook, ok := query.Owner.(*Hook); ok {
		return hook
	}
	var routed routedReply
	if errors.As(err, &routed) {
		return routed.hook
	}
	var failed *CommandError
	if errors.As(err, &failed) && failed.id != 0 { // it could not be dialed
		db := failed.database()
		return hookFor(func(h *Hook) bool { return db != nil && slices.Contains(h.selector.All(), db) })
	}
	return nil
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

// oldConns replaces connections that are older than the hook.
func oldConns(ctx context.Context) oldconns.Replacer {
	return oldconns.Replacer{
		Ctx: ctx, Question: routedQuestion, Routed: func(err error) bool { return errors.As(err, new(routedReply)) },
	}
}

// made reports whether a client is one that go-redis has made: the zero value panics at whatever is asked of it.
func made(client *redis.Client) bool {
	return client != nil && !reflect.ValueOf(client).Elem().IsZero()
}
