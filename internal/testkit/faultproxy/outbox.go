package faultproxy

import (
	"sync"
	"time"
)

// maxQueued is how much may wait for a client before the proxy stops reading from the server, which has a buffer of its own.
const maxQueued = 8 << 20

// outbox holds what is to be sent to a client, each piece until its time has come. Pieces wait side by side: a delay does
// not make a pipeline any longer than one delay.
type outbox struct {
	delay func() time.Duration

	mu      sync.Mutex
	changed sync.Cond
	queue   []piece // Guarded by mu
	size    int     // Guarded by mu; bytes in queue
	ended   bool    // Guarded by mu; the last piece ends the connection
	stopped bool    // Guarded by mu
}

type piece struct {
	due  time.Time
	data []byte
	end  ending
}

func newOutbox(delay func() time.Duration) *outbox {
	b := &outbox{delay: delay}
	b.changed.L = &b.mu
	return b
}

// push never blocks: a client that writes a long pipeline before it reads must not wait for itself.
func (b *outbox) push(data []byte, end ending) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended || b.stopped {
		return
	}
	b.ended = end.isLast()
	b.queue = append(b.queue, piece{time.Now().Add(b.delay()), data, end})
	b.size += len(data)
	b.changed.Broadcast()
}

// room waits until more may be pushed.
func (b *outbox) room() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.size > maxQueued && !b.stopped {
		b.changed.Wait()
	}
}

// head waits for a piece and returns when it is due. False is that the outbox was stopped.
func (b *outbox) head() (time.Time, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.queue) == 0 && !b.stopped {
		b.changed.Wait()
	}
	if b.stopped {
		return time.Time{}, false
	}
	return b.queue[0].due, true
}

// take returns what is due by now.
func (b *outbox) take(now time.Time) (data []byte, end ending) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for n < len(b.queue) && !b.queue[n].due.After(now) {
		if end = b.queue[n].end; n == 0 {
			data = b.queue[n].data // one reply alone needs no copy
		} else {
			data = append(data, b.queue[n].data...)
		}
		n++
	}
	clear(b.queue[:n]) // lets go of the data
	if b.queue = b.queue[n:]; len(b.queue) == 0 {
		b.queue = nil
	}
	b.size -= len(data)
	b.changed.Broadcast()
	return data, end
}

func (b *outbox) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = true
	b.queue, b.size = nil, 0
	b.changed.Broadcast()
}
