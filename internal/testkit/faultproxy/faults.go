package faultproxy

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// When is the moment at which a connection is reset, see [Proxy.ResetOneIn].
type When int

const (
	// BeforeExecution resets instead of forwarding the request.
	BeforeExecution When = iota
	// AfterExecution resets instead of passing the reply on.
	AfterExecution
)

// faults says what is to become of each request. The zero value forwards them all.
type faults struct {
	delay atomic.Int64
	chunk atomic.Int64

	mu      sync.Mutex
	rand    *rand.Rand                                       // Guarded by mu
	answer  func(args []string) (reply string, handled bool) // Guarded by mu
	resets  resetting                                        // Guarded by mu
	drop    func(args []string) bool                         // Guarded by mu
	die     func(args []string) bool                         // Guarded by mu
	partial func(args []string) bool                         // Guarded by mu
	keep    int                                              // Guarded by mu
}

// resetting takes one request of every n, at a random place among them: the number is exact, and no pattern of requests is
// always or never hit.
type resetting struct {
	n      int
	when   When
	exempt func(args []string) bool
	seen   int // of the present n
	chosen int // of the present n
}

// Delay makes everything that goes to a client arrive d later than it otherwise would. It is a longer way and not a
// narrower one: the replies of a pipeline come together, after one delay. 0 ends it for what follows.
func (p *Proxy) Delay(d time.Duration) { p.faults.delay.Store(int64(d)) }

func (f *faults) delayNow() time.Duration { return time.Duration(f.delay.Load()) }

// Chunk splits what goes either way into writes of at most n bytes, with a short pause after each of the first twenty of
// what is there to be written, so that the receiver sees them one by one. 0 ends it.
func (p *Proxy) Chunk(n int) { p.faults.chunk.Store(int64(n)) }

// ResetOneIn resets the connection of one in n requests, of all connections together. It comes in order: the replies to
// earlier requests of a pipeline are passed on, and later requests are not forwarded. Requests that exempt says yes to do not
// count; nil is none. n = 1 hits every request, and 0 ends it.
func (p *Proxy) ResetOneIn(n int, when When, exempt func(args []string) bool) {
	p.faults.mu.Lock()
	defer p.faults.mu.Unlock()
	p.faults.resets = resetting{n: n, when: when, exempt: exempt}
}

// DropReplies lets the server execute the requests that pred says yes to and closes the connection instead of answering.
// Later requests of a pipeline are not forwarded. nil ends it.
func (p *Proxy) DropReplies(pred func(args []string) bool) {
	p.faults.mu.Lock()
	defer p.faults.mu.Unlock()
	p.faults.drop = pred
}

// DieAfter lets the server execute a request that pred says yes to and goes into mode [Refuse] instead of answering: what a
// server looks like that crashes between the two. nil ends it.
func (p *Proxy) DieAfter(pred func(args []string) bool) {
	p.faults.mu.Lock()
	defer p.faults.mu.Unlock()
	p.faults.die = pred
}

// PartialReply cuts the replies to the requests that pred says yes to after n bytes and closes the connection. A shorter
// reply is passed on whole. nil ends it.
func (p *Proxy) PartialReply(n int, pred func(args []string) bool) {
	p.faults.mu.Lock()
	defer p.faults.mu.Unlock()
	p.faults.partial, p.faults.keep = pred, n
}

// Answer makes the proxy answer a request in the server's place, without forwarding it, if f says that it is handled. The
// reply is RESP, complete with its line ends, for instance "-LOADING Redis is loading the dataset in memory\r\n". With an
// empty one neither this request nor any later one on its connection is ever answered. nil ends it.
//
// f is called once for each request, in order on each connection, and from several goroutines at a time.
func (p *Proxy) Answer(f func(args []string) (reply string, handled bool)) {
	p.faults.mu.Lock()
	defer p.faults.mu.Unlock()
	p.faults.answer = f
}

type fate int

const (
	forwarded fate = iota
	answered
	lost
)

type decision struct {
	fate  fate
	reply string // if answered
	end   ending
	keep  int // as in slot
}

// decide calls the functions that tests provide without holding the lock: they may change the faults.
func (f *faults) decide(args []string) decision {
	f.mu.Lock()
	answer, drop, die, partial, keep, exempt := f.answer, f.drop, f.die, f.partial, f.keep, f.resets.exempt
	f.mu.Unlock()

	if answer != nil {
		if reply, handled := answer(args); handled && reply == "" {
			return decision{fate: answered, end: fallsSilent}
		} else if handled {
			return decision{fate: answered, reply: reply}
		}
	}
	if exempt == nil || !exempt(args) {
		if hit, when := f.isReset(); hit && when == BeforeExecution {
			return decision{fate: lost, end: resets}
		} else if hit {
			return decision{end: resets}
		}
	}
	if die != nil && die(args) {
		return decision{end: refuses}
	}
	if drop != nil && drop(args) {
		return decision{end: closes}
	}
	if partial != nil && partial(args) {
		return decision{end: closes, keep: keep}
	}
	return decision{}
}

func (f *faults) isReset() (bool, When) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &f.resets
	if r.n <= 0 {
		return false, 0
	}
	if r.seen == 0 {
		r.chosen = f.rand.IntN(r.n)
	}
	hit := r.seen == r.chosen
	r.seen = (r.seen + 1) % r.n
	return hit, r.when
}
