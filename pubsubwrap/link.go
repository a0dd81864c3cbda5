package pubsubwrap

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redishook/multidb"
)

// link is a part of a subscriber's subscriptions that shares one connection per database, and the order of what comes over
// those. Where a database is one server, a subscriber has one link. On clusters it has one for channels and patterns, which every
// node serves, and one for each slot that has shard channels: see shards.go.
type link struct {
	sub       *Subscriber
	hook      *multidb.Hook
	opt       Options
	buf       *buffer
	slot      int // of its shard channels; noSlot: it has everything else, or everything
	onCluster bool
	order     deliveryOrder

	mu      sync.Mutex            // held while changes of subscriptions are put into outboxes: their order is that of the calls
	topics  map[topic]struct{}    // what is wanted. Guarded by mu
	conns   map[*subConn]struct{} // those that live, or are being opened; guarded by mu
	home    *subConn              // where calls wait for their answers; guarded by mu
	change  chan struct{}         // closed and replaced when something a call waits for has changed; guarded by mu
	waiting atomic.Int64
	misled  map[string]time.Time // by database, see misledAt; guarded by mu
	changes int                  // how often subscriptions were changed; guarded by the subscriber's mu

	follow *follower   // nil with FanIn
	fan    *fanIn      // nil without
	inbox  chan func() // for the follower, from readers

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // of every goroutine but run
}

// noSlot is the slot of a link that is not for one.
const noSlot = -1

// newLink makes a link that does nothing yet.
func (s *Subscriber) newLink(slot int) *link {
	k := &link{
		sub: s, hook: s.hook, opt: s.opt, buf: s.buf, slot: slot, onCluster: s.onCluster,
		topics: make(map[topic]struct{}), conns: make(map[*subConn]struct{}),
		change: make(chan struct{}), inbox: make(chan func(), 16),
	}
	k.order.room.L = &k.order.mu
	k.ctx, k.cancel = context.WithCancel(s.ctx)
	return k
}

// start makes a link and starts it. Caller must hold mu, and the subscriber must not be closed.
func (s *Subscriber) start(slot int) *link {
	k := s.newLink(slot)
	s.links[slot] = k
	if s.opt.FanIn {
		k.fan = newFanIn(k)
		s.wg.Go(func() { k.run(k.fan.run) })
		return k
	}
	k.follow = newFollower(k)
	s.wg.Go(func() { k.run(k.follow.run) })
	return k
}

// run is the goroutine that all others of a link belong to. When its work ends, because of Close or because nothing is wanted
// of the link any more, it ends and joins them.
func (k *link) run(work func()) {
	work()
	k.cancel()
	k.mu.Lock()
	for l := range k.conns {
		k.wg.Go(l.kill)
	}
	k.mu.Unlock()
	k.order.mu.Lock()
	k.order.room.Broadcast()
	k.order.mu.Unlock()
	k.wg.Wait()
}

func (k *link) isClosed() bool { return k.ctx.Err() != nil }

// enlist makes a connection known to those who change subscriptions, and puts what is wanted now into its outbox.
func (k *link) enlist(l *subConn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.conns[l] = struct{}{}
	if k.isClosed() {
		l.killed.Store(true)
	}
	wanted := make(map[Kind][]string)
	for t := range k.topics {
		wanted[t.kind] = append(wanted[t.kind], t.name)
	}
	for _, kind := range kinds {
		l.subscribe(kind, true, wanted[kind]...)
	}
}

func (k *link) delist(l *subConn) {
	k.mu.Lock()
	delete(k.conns, l)
	k.mu.Unlock()
	k.changed()
}

// setHome says where calls wait for their answers.
func (k *link) setHome(l *subConn) {
	k.mu.Lock()
	k.home = l
	k.mu.Unlock()
	k.changed()
}

// changed wakes the calls that wait.
func (k *link) changed() {
	if k.waiting.Load() == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	close(k.change)
	k.change = make(chan struct{})
}

// tell lets the follower do something.
func (k *link) tell(f func()) {
	if k.follow == nil {
		return
	}
	select {
	case k.inbox <- f:
	case <-k.ctx.Done():
	}
}

// giveUp ends the stream of the subscriber: what comes over this link cannot be received any more.
func (k *link) giveUp() { k.sub.giveUp() }

// add has names subscribed. Caller must hold the subscriber's mu, and wait for the answer by subscribed, without it.
func (k *link) add(kind Kind, names []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	fresh := make(map[string]bool)
	for _, name := range names {
		if _, ok := k.topics[topic{kind, name}]; !ok {
			fresh[name] = true
		}
		k.topics[topic{kind, name}] = struct{}{}
	}
	k.changes++
	for l := range k.conns {
		var ask []string
		for _, name := range names {
			if fresh[name] || l.refusal(topic{kind, name}) != nil {
				ask = append(ask, name)
			}
		}
		l.subscribe(kind, false, ask...)
	}
}

// subscribed reports whether the connection at home has answered what add has asked for.
func (k *link) subscribed(l *subConn, kind Kind, names []string) (bool, error) {
	for _, name := range names {
		if _, answered := l.settled.Load(topic{kind, name}); !answered && k.wants(topic{kind, name}) {
			return false, nil
		}
		if refusal := l.refusal(topic{kind, name}); refusal != nil {
			return true, refusal
		}
	}
	return true, nil
}

// drop has subscriptions ended, and returns those that there were. Caller must hold the subscriber's mu, and wait for the
// answer by unsubscribed, without it.
func (k *link) drop(kind Kind, names []string) (known []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, name := range names {
		if _, ok := k.topics[topic{kind, name}]; ok {
			known = append(known, name)
			delete(k.topics, topic{kind, name})
		}
	}
	k.changes++
	for l := range k.conns {
		l.unsubscribe(kind, known...)
	}
	return known
}

// unsubscribed reports whether the connection at home has answered what drop has asked for.
func (k *link) unsubscribed(l *subConn, kind Kind, names []string) (bool, error) {
	for _, name := range names {
		_, settled := l.settled.Load(topic{kind, name})
		refusal := l.refusal(topic{kind, name})
		switch {
		case k.wants(topic{kind, name}):
		case settled && refusal == nil:
			return false, nil
		case refusal != nil && refusal.unsubscribe:
			return true, refusal
		}
	}
	return true, nil
}

// again asks for the names of a refused request one by one, except for those about which the application has changed its
// mind: its later request is in the outbox already, and would be undone.
func (k *link) again(l *subConn, r *request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, name := range r.names {
		_, wanted := k.topics[topic{r.kind, name}]
		switch {
		case r.unsubscribe && !wanted:
			l.unsubscribe(r.kind, name)
		case !r.unsubscribe && wanted:
			l.subscribe(r.kind, r.initial, name)
		}
	}
}

// wants reports whether something is to be subscribed.
func (k *link) wants(t topic) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.topics[t]
	return ok
}

// await waits until the connection at home has answered.
func (k *link) await(ctx context.Context, answered func(*subConn) (bool, error)) error {
	k.waiting.Add(1)
	defer k.waiting.Add(-1)
	for {
		k.mu.Lock()
		l, change := k.home, k.change
		k.mu.Unlock()
		if l != nil && l.alive() {
			if done, err := answered(l); done {
				return err
			}
		}
		select {
		case <-change:
		case <-k.sub.lost:
			return ErrClosed
		case <-k.ctx.Done():
			if k.sub.isClosed() {
				return ErrClosed
			}
			return nil // nothing is wanted of this link any more
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
