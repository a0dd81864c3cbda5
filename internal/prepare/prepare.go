// Package prepare calls functions before a planned switch, so that who registered them can be on the new database first.
package prepare

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// patience bounds how long a planned switch waits for those who want to be ready on the new database.
const patience = 200 * time.Millisecond

// Config is what Functions are made of. It must not be changed.
type Config struct {
	// Contain calls a function of the user's and survives its panic.
	Contain func(what string, f func())
	// Ctx ends when the hook is closed. Go starts a goroutine that the hook joins; false: it is closed.
	Ctx context.Context
	Go  func(func()) bool
}

// Functions are the functions that want to be called. Safe for concurrent use.
type Functions struct {
	cfg   Config
	mu    sync.Mutex
	calls map[*function]struct{}
}

type function struct {
	call func(context.Context, string)
	last atomic.Pointer[preparation]
}

// preparation is one call of such a function.
type preparation struct {
	ctx  context.Context
	done chan struct{}
}

// New makes an empty set of functions.
func New(cfg Config) *Functions {
	return &Functions{cfg: cfg, calls: make(map[*function]struct{})}
}

// Mutex returns the lock, for a test that looks whether it is held where it must not be.
func (p *Functions) Mutex() *sync.Mutex { return &p.mu }

// overdue reports whether the last call goes on although its time is over.
func (f *function) overdue() bool {
	last := f.last.Load()
	if last == nil || last.ctx.Err() == nil {
		return false
	}
	select {
	case <-last.done:
		return false
	default:
		return true
	}
}

// Add registers a function until cancel is called.
func (p *Functions) Add(f func(ctx context.Context, database string)) (cancel func()) {
	this := &function{call: f}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls[this] = struct{}{}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.calls, this)
	}
}

// Call calls all functions with the name of the new database, and waits for them as long as patience says. A function that goes
// on all the same is not called again until it has returned.
func (p *Functions) Call(database string) {
	p.mu.Lock()
	calls := slices.Collect(maps.Keys(p.calls))
	p.mu.Unlock()
	if len(calls) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(p.cfg.Ctx, patience)
	defer cancel()
	var waiting []<-chan struct{}
	for _, f := range calls {
		if f.overdue() {
			continue
		}
		this := &preparation{ctx: ctx, done: make(chan struct{})}
		f.last.Store(this)
		if p.cfg.Go(func() {
			defer close(this.done)
			p.cfg.Contain("a function of OnPrepare", func() { f.call(ctx, database) })
		}) {
			waiting = append(waiting, this.done)
		}
	}
	for _, done := range waiting {
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
	}
}
