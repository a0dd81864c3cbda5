package clusterclient

import (
	"context"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/goredis"
)

// A Watch of a ClusterClient passes no hook of the client, so nobody runs it again but go-redis, which follows redirects. It must
// not follow the last one:
//
//  1. a Watch may make MaxRedirects + 1 attempts, and the WATCH of the last one is answered with a redirect;
//  2. go-redis looks up the node that it names, and keeps no other error than that of the look-up: none;
//  3. the loop is over, and Watch returns nil. The function of the caller was never called.
//
// So the attempts of a Watch are counted here. Nothing but its goroutine and its context tells what belongs to one Watch.

// watches counts the attempts of each Watch that has failed. Safe for concurrent use.
type watches struct {
	open atomic.Int64 // how many are counted

	mu    sync.Mutex
	chain map[string]*attempts // Guarded by mu; by goroutine
}

// attempts are those of one Watch that were answered with something else than OK.
type attempts struct {
	ctx    context.Context //nolint:containedctx // it is compared, and never used
	failed int
	last   time.Time
}

// forgottenAfter is longer than go-redis waits between two attempts. What is older belongs to a Watch whose caller gave up.
const forgottenAfter = time.Minute

// succeeded ends the count of this goroutine's Watch: its WATCH was answered.
func (w *watches) succeeded(cmd redis.Cmder) {
	if w.open.Load() > 0 && cmd.Name() == "watch" {
		w.end(goredis.Goroutine())
	}
}

func (w *watches) end(goroutine string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.chain, goroutine)
	w.open.Store(int64(len(w.chain)))
}

// failed counts one more attempt of this goroutine's Watch, and returns how many there were. Too many may be counted: a Watch that
// has ended with an error is not seen to end.
func (w *watches) failed(ctx context.Context, goroutine string) int {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for of, a := range w.chain {
		if now.Sub(a.last) > forgottenAfter {
			delete(w.chain, of)
		}
	}
	a := w.chain[goroutine]
	if a == nil || !sameContext(a.ctx, ctx) {
		if w.chain == nil {
			w.chain = make(map[string]*attempts)
		}
		a = &attempts{ctx: ctx}
		w.chain[goroutine] = a
	}
	a.failed++
	a.last = now
	w.open.Store(int64(len(w.chain)))
	return a.failed
}

// sameContext compares without a panic: a context of a user's may be of any type.
func sameContext(a, b context.Context) bool {
	return reflect.TypeOf(a) == reflect.TypeOf(b) && reflect.TypeOf(a).Comparable() && a == b
}
