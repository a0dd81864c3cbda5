package pubsubwrap

import (
	"slices"
	"sync"
	"sync/atomic"
)

// buffer is where events wait for the application. It bounds their number by its policy.
//
// Nearly always an event goes straight into the Go channel that the application reads. What has been put there cannot be
// looked at, moved, or put back, so three things need a list behind it, which a goroutine empties into the channel while
// there is something in it:
//   - a notice that finds the channel full, because it must not be dropped;
//   - with DropOldest, whatever comes while a notice is in the channel: to take the oldest out might take out the notice,
//     and what is behind that would overtake it;
//   - with Block, whatever comes while a call waits for an answer of Redis, which is behind all that on the connection: the
//     one who calls may be the one who reads, and would wait for himself. With the others, every notice for the same reason.
type buffer struct {
	events  chan Event
	policy  Policy
	closed  <-chan struct{}
	spawn   func(func())
	ids     *idSet // nil: nothing is compared
	dropped atomic.Uint64

	overflows atomic.Bool // pumping, for those who do not want to lock

	mu      sync.Mutex
	more    []Event       // behind what is in events; guarded by mu, as all that follows
	pumping bool          // a goroutine moves more to events
	emptied chan struct{} // closed when it ends; nil: there is none
	calls   int           // how many calls wait
	calling chan struct{} // closed while one does
	sent    uint64        // how many events were put into the channel (not counted with Block)
	notice  uint64        // which of them was the latest notice
}

func newBuffer(opt *Options, closed <-chan struct{}, spawn func(func())) *buffer {
	b := &buffer{
		events: make(chan Event, opt.Buffer), policy: opt.Policy,
		closed: closed, spawn: spawn, calling: make(chan struct{}),
	}
	if opt.MessageID != nil {
		b.ids = newIDSet(opt)
	}
	return b
}

// push puts an event into the buffer, waits for room, or drops a message. waits is true meanwhile if it has to wait, and
// the result says whether it had to.
func (b *buffer) push(e Event, waits *atomic.Bool) (waited bool) {
	if b.ids != nil && e.Message != nil {
		seen, panicked := b.ids.has(e.Message)
		if panicked != nil {
			waited = b.put(Event{Err: panicked}, waits)
		}
		if seen {
			return waited
		}
	}
	return b.put(e, waits) || waited
}

func (b *buffer) put(e Event, waits *atomic.Bool) (waited bool) {
	if b.policy != Block {
		return b.putOrDrop(e, waits)
	}
	if !b.overflows.Load() {
		select {
		case b.events <- e:
			return false
		default:
		}
	}
	return b.putAndWait(e, waits)
}

// putAndWait waits for room, unless a call does.
func (b *buffer) putAndWait(e Event, waits *atomic.Bool) (waited bool) {
	defer waits.Store(false)
	for {
		b.mu.Lock()
		if b.calls > 0 {
			b.spill(e)
			b.mu.Unlock()
			return waited
		}
		events, emptied, calling := b.events, b.emptied, b.calling
		if b.pumping {
			events = nil // those that are in the list come first
		}
		b.mu.Unlock()
		waits.Store(true)
		waited = true
		select {
		case events <- e:
			return true
		case <-emptied:
		case <-calling:
		case <-b.closed:
			return true
		}
	}
}

// putOrDrop drops a message if the buffer is full: the one that comes, or the oldest that can be taken out.
func (b *buffer) putOrDrop(e Event, waits *atomic.Bool) (waited bool) {
	b.mu.Lock()
	for e.Message == nil && len(b.more) >= cap(b.events)+heldMore && b.calls == 0 {
		// An application that has stopped reading altogether: so many notices are kept, and no more.
		emptied, calling := b.emptied, b.calling
		b.mu.Unlock()
		waits.Store(true)
		select {
		case <-emptied:
		case <-calling:
		case <-b.closed:
			return true
		}
		waits.Store(false)
		waited = true
		b.mu.Lock()
	}
	defer b.mu.Unlock()
	for !b.pumping {
		select {
		case b.events <- e:
			b.count(e)
			return waited
		default:
		}
		if b.policy == DropNewest || b.noticeWaits() {
			break
		}
		select {
		case <-b.events: // a message: nobody else puts anything in
			b.dropped.Add(1)
		default:
		}
	}
	switch {
	case e.Message == nil:
	case b.policy == DropNewest:
		b.dropped.Add(1)
		return waited
	case len(b.more) >= cap(b.events):
		b.dropped.Add(1)
		if !b.dropFirst() {
			return waited
		}
	}
	b.spill(e)
	return waited
}

// count notes what was put into the channel. Caller must hold mu.
func (b *buffer) count(e Event) {
	b.sent++
	if e.Message == nil {
		b.notice = b.sent
	}
}

// noticeWaits reports whether there may be a notice in the channel. Caller must hold mu.
func (b *buffer) noticeWaits() bool { return b.notice+uint64(len(b.events)) > b.sent }

// dropFirst takes the first message off the list. Caller must hold mu.
func (b *buffer) dropFirst() bool {
	i := slices.IndexFunc(b.more, func(e Event) bool { return e.Message != nil })
	switch {
	case i < 0:
		return false
	case i == 0:
		b.more = b.more[1:]
	default:
		b.more = slices.Delete(b.more, i, i+1)
	}
	return true
}

// spill puts an event at the end of the list. Caller must hold mu.
func (b *buffer) spill(e Event) {
	b.more = append(b.more, e)
	if b.pumping {
		return
	}
	b.pumping, b.emptied = true, make(chan struct{})
	b.overflows.Store(true)
	b.spawn(b.pump)
}

// pump moves the list into the channel, until it is empty.
func (b *buffer) pump() {
	for {
		b.mu.Lock()
		if len(b.more) == 0 {
			close(b.emptied)
			b.more, b.pumping, b.emptied = nil, false, nil
			b.overflows.Store(false)
			b.mu.Unlock()
			return
		}
		e := b.more[0]
		b.more = b.more[1:]
		b.mu.Unlock()
		select {
		case b.events <- e:
		case <-b.closed:
			return
		}
		b.mu.Lock()
		b.count(e)
		b.mu.Unlock()
	}
}

// flush waits until everything is in the channel.
func (b *buffer) flush() {
	b.mu.Lock()
	emptied := b.emptied
	b.mu.Unlock()
	if emptied == nil {
		return
	}
	select {
	case <-emptied:
	case <-b.closed:
	}
}

// call says that somebody waits for an answer, until the result is called: readers must not wait for the application then.
func (b *buffer) call() (end func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.calls++; b.calls == 1 {
		close(b.calling)
	}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.calls--; b.calls == 0 {
			b.calling = make(chan struct{})
		}
	}
}

// waiting is how many events wait for the application.
func (b *buffer) waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.events) + len(b.more)
}
