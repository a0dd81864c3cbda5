// Package callback calls functions of the user: in order, off every lock, and so that a panic does no harm.
package callback

import (
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Queue calls functions one after the other, in the order in which they were pushed, from one goroutine that holds no lock.
// Push never waits for a function. Safe for concurrent use.
type Queue struct {
	Log *slog.Logger // one that does not panic

	mu      sync.Mutex
	queue   []func()
	running bool
	closed  bool
	wake    chan struct{}
	done    chan struct{}        // closed when the last event has been delivered after close
	seldom  map[string]time.Time // when Seldom has pushed a subject last; guarded by mu
}

// New makes a queue that delivers nothing before Start. The log is the user's, and may panic.
func New(log *slog.Logger) *Queue {
	return &Queue{Log: SafeLogger(log), wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// Start begins the delivery. Whoever starts it joins it with Wait.
func (q *Queue) Start() {
	q.mu.Lock()
	q.running = true
	q.mu.Unlock()
	go q.run()
}

// Seldom pushes f unless it was pushed for the subject within the interval before. There must be few subjects.
func (q *Queue) Seldom(interval time.Duration, subject string, f func()) {
	now := time.Now()
	q.mu.Lock()
	last, ok := q.seldom[subject]
	due := !ok || now.Sub(last) >= interval
	if due {
		if q.seldom == nil {
			q.seldom = make(map[string]time.Time)
		}
		q.seldom[subject] = now
	}
	q.mu.Unlock()
	if due {
		q.Push(f)
	}
}

// run delivers until close, and what is in the queue then.
func (q *Queue) run() {
	left := true
	defer func() {
		if left {
			// A callback has called runtime.Goexit, as t.FailNow of a test does. Somebody else must deliver what follows.
			go q.run()
			q.Push(func() { q.Log.Error("multidb: an event callback ended its goroutine") })
		}
	}()
	for {
		deliver, closed := q.next()
		switch {
		case deliver != nil:
			q.Contain("an event callback", deliver)
		case closed:
			left = false
			close(q.done)
			return
		default:
			<-q.wake
		}
	}
}

// next takes the oldest event out of the queue.
func (q *Queue) next() (deliver func(), closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) == 0 {
		q.queue = nil
		return nil, q.closed
	}
	deliver = q.queue[0]
	q.queue[0] = nil
	q.queue = q.queue[1:]
	return deliver, q.closed
}

// Contain calls a function of the user's, and logs its panic.
func (q *Queue) Contain(what string, call func()) {
	if p := Guard(call); p != nil {
		q.Log.Error("multidb: "+what+" panicked", "panic", fmt.Sprint(p.Value))
	}
}

// Push puts a function at the end. After Close it does nothing.
func (q *Queue) Push(deliver func()) {
	q.mu.Lock()
	if !q.closed {
		q.queue = append(q.queue, deliver)
	}
	q.mu.Unlock()
	q.signal()
}

// Close ends the queue behind what is in it.
func (q *Queue) Close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
}

// Wait waits, after close, for what is left to be delivered. A callback that does not return is left to itself, and what
// was to come after it is dropped.
func (q *Queue) Wait(patience time.Duration) error {
	q.mu.Lock()
	running := q.running
	q.mu.Unlock()
	if !running {
		return nil
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-q.done:
		return nil
	case <-timer.C:
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queue = nil
	return fmt.Errorf("multidb: Close: a callback of Events, or the Logger, has not returned within %v", patience)
}

func (q *Queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Mutex returns the lock of the queue, for a test that looks whether it is held where it must not be.
func (q *Queue) Mutex() *sync.Mutex { return &q.mu }
