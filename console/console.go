// Package console is a page about a hook, for a person at 3 a.m. It shows which database is active, what is wrong
// with the others, and what a return waits for. It has the last 15 minutes as a picture and the last 100 events.
// For whoever may, it has buttons to switch, pin, release and weigh.
//
//	http.Handle("/debug/multidb/", console.Handler(hook, console.Options{}))
//
// It is one page that asks nobody else for anything, and works without JavaScript. The same as JSON is at ?format=json.
//
// Nobody may press buttons unless [Options].Authorize says so. The server that the handler is added to decides who
// may read. The page shows names, addresses and errors of the databases, never passwords.
package console

import (
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb"
)

// Options configures a [Console]. The zero value is a page that can be read only.
type Options struct {
	// Authorize says who sends a request, or why they may not act. It is asked about each action, and about each page, so
	// that buttons are shown to those only who may press them. user stands in the log and among the events. It must be safe
	// for concurrent use. Default: nobody may act.
	Authorize func(r *http.Request) (user string, err error)

	// Logger receives one INFO line for each action, refused ones included. Default: slog.Default().
	Logger *slog.Logger
}

// Console is the page, and the memory behind it. It is an http.Handler for any path: what belongs to the page is asked for
// by query. Safe for concurrent use.
type Console struct {
	hook    *multidb.Hook
	opt     Options
	history history
	events  eventLog
	timer   timer
	started time.Time

	crossOrigin http.CrossOriginProtection

	unsubscribe func()
	once        sync.Once
	stop, done  chan struct{}
}

// Handler is New for those who leave the end to the hook: a second after hook.Close, nothing of the console runs.
func Handler(hook *multidb.Hook, opt Options) http.Handler { return New(hook, opt) }

// New makes the page of a hook and begins to remember: one goroutine looks at hook.Stats once a second. It ends with Close,
// or by itself a second after hook.Close. New panics if hook is nil.
func New(hook *multidb.Hook, opt Options) *Console {
	if hook == nil {
		panic("multidb/console: New: hook is nil")
	}
	if opt.Logger == nil {
		opt.Logger = slog.Default()
	}
	c := &Console{hook: hook, opt: opt, started: time.Now(), stop: make(chan struct{}), done: make(chan struct{})}
	c.unsubscribe = hook.Subscribe(c.events.of())
	c.history.look(time.Now(), hook.Stats(), 0)
	go c.remember()
	return c
}

// Timer returns a hook for the client that measures how long commands and pipelines take, as their callers see it.
// The page then shows the 99th percentile. Add it before the hook of multidb, so that attempts that are run again
// count as one:
//
//	rdb.AddHook(c.Timer())
//	rdb.AddHook(hook)
//
// It costs a command two looks at the clock and no allocation.
func (c *Console) Timer() redis.Hook { return &c.timer }

// Close ends the memory and waits for its goroutine. The page can still be read. Further calls do nothing.
func (c *Console) Close() {
	c.once.Do(func() { close(c.stop) })
	<-c.done
}

// remember looks at the hook once a second.
func (c *Console) remember() {
	defer close(c.done)
	defer c.unsubscribe()
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	for {
		select {
		case <-c.stop:
			return
		case now := <-ticker.C:
			c.history.look(now, c.hook.Stats(), c.timer.percentile(0.99))
			if c.closed() {
				return
			}
		}
	}
}

// closed reports whether the hook is. A closed hook tells nobody about its databases.
func (c *Console) closed() bool {
	_, err := c.hook.DatabaseOptions(c.hook.Active())
	return errors.Is(err, multidb.ErrClosed)
}
