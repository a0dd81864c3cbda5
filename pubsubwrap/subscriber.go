package pubsubwrap

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb"
)

// Subscriber is a set of subscriptions that follows the active database, and the stream of what they bring. Make it with
// [New] or [Subscribe], end it with Close. Its stream is read in one of three ways: Channel, Receive or Run; they share
// it. Safe for concurrent use.
type Subscriber struct {
	hook  *multidb.Hook
	opt   Options
	buf   *buffer
	order deliveryOrder

	mu      sync.Mutex            // held while changes of subscriptions are put into outboxes: their order is that of the calls
	topics  map[topic]Handler     // what is wanted; a nil handler leaves it to the stream. Guarded by mu
	conns   map[*subConn]struct{} // those that live, or are being opened; guarded by mu
	home    *subConn              // where calls wait for their answers; guarded by mu
	change  chan struct{}         // closed and replaced when something a call waits for has changed; guarded by mu
	waiting atomic.Int64

	follow *follower   // nil with FanIn
	fan    *fanIn      // nil without
	inbox  chan func() // for the follower, from readers

	lost   chan struct{} // closed when the stream is about to end with an error: calls end then
	giving sync.Once

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // of every goroutine but run
	ended  chan struct{}  // closed when run, and so everything, has ended
}

// topic is what one can subscribe to.
type topic struct {
	kind Kind
	name string
}

var kinds = [...]Kind{Channel, Pattern, ShardChannel}

// New makes a subscriber for the databases of the hook that the client has, without a subscription yet. It opens
// connections of its own, with the options of the databases, not of the client. It is an error if the client has no hook.
func New(rdb redis.UniversalClient, opt Options) (*Subscriber, error) {
	if _, cluster := rdb.(*redis.ClusterClient); cluster {
		return nil, errors.New("pubsubwrap: a *redis.ClusterClient is not supported; its own Subscribe, PSubscribe and SSubscribe " +
			"follow the hook, without a word about gaps")
	}
	hook := multidb.HookOf(rdb)
	if hook == nil {
		return nil, errors.New("pubsubwrap: the client has no hook of multidb: call hook.Attach(rdb) first")
	}
	s := &Subscriber{
		hook: hook, opt: opt.withDefaults(),
		topics: make(map[topic]Handler), conns: make(map[*subConn]struct{}),
		change: make(chan struct{}), inbox: make(chan func(), 16), lost: make(chan struct{}), ended: make(chan struct{}),
	}
	s.order.room.L = &s.order.mu
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.buf = newBuffer(&s.opt, s.ctx.Done(), s.wg.Go)
	if s.opt.FanIn {
		s.fan = newFanIn(s)
		go s.run(s.fan.run)
		return s, nil
	}
	s.follow = newFollower(s)
	go s.run(s.follow.run)
	return s, nil
}

// run is the goroutine that all others of a subscriber belong to. When its work ends, because of Close or because the
// hook is closed and the connection lost, it ends and joins them and closes the stream.
func (s *Subscriber) run(work func()) {
	defer close(s.ended)
	work()
	s.cancel()
	s.mu.Lock()
	for l := range s.conns {
		s.wg.Go(l.kill)
	}
	s.mu.Unlock()
	s.order.mu.Lock()
	s.order.room.Broadcast()
	s.order.mu.Unlock()
	s.wg.Wait()
	close(s.buf.events)
}

// giveUp lets the stream end with an error: the connection is lost, and a closed hook knows no way to another. The end
// waits until the application has made room for the error, so calls must not wait: it may be the application that calls.
func (s *Subscriber) giveUp() {
	s.giving.Do(func() {
		close(s.lost)
		s.wg.Go(func() {
			err := fmt.Errorf("pubsubwrap: the connection was lost, and the hook is closed: %w", multidb.ErrClosed)
			s.buf.push(Event{Err: err}, new(atomic.Bool))
			s.buf.flush()
			s.cancel()
		})
	})
}

// Subscribe is New with the default options, and a subscription to channels.
func Subscribe(ctx context.Context, rdb redis.UniversalClient, channels ...string) (*Subscriber, error) {
	return begin(ctx, rdb, (*Subscriber).Subscribe, channels)
}

// PSubscribe is New with the default options, and a subscription to patterns.
func PSubscribe(ctx context.Context, rdb redis.UniversalClient, patterns ...string) (*Subscriber, error) {
	return begin(ctx, rdb, (*Subscriber).PSubscribe, patterns)
}

// SSubscribe is New with the default options, and a subscription to shard channels.
func SSubscribe(ctx context.Context, rdb redis.UniversalClient, channels ...string) (*Subscriber, error) {
	return begin(ctx, rdb, (*Subscriber).SSubscribe, channels)
}

func begin(
	ctx context.Context, rdb redis.UniversalClient,
	subscribe func(*Subscriber, context.Context, ...string) error, names []string,
) (*Subscriber, error) {
	s, err := New(rdb, Options{})
	if err != nil {
		return nil, err
	}
	if err := subscribe(s, ctx, names...); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close ends the subscriptions and joins every goroutine. The channel of the stream is closed; what is in it, at most
// Options.Buffer events, can still be read. Further calls do nothing. It does not wait for Run, so a handler may call it;
// the function Options.MessageID must not.
func (s *Subscriber) Close() error {
	s.cancel()
	<-s.ended
	return nil
}

func (s *Subscriber) isClosed() bool { return s.ctx.Err() != nil }

// Stats are counters of a subscriber.
type Stats struct {
	// Dropped is how many messages were dropped because the buffer was full.
	Dropped uint64
	// Buffered is how many events wait now.
	Buffered int
	// Database is the name of the database that calls are answered by; empty if none is subscribed now.
	Database string
}

// Stats returns a snapshot. Safe for concurrent use.
func (s *Subscriber) Stats() Stats {
	stats := Stats{Dropped: s.buf.dropped.Load(), Buffered: s.buf.waiting()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.home != nil && s.home.alive() {
		stats.Database = s.home.db
	}
	return stats
}

// enlist makes a connection known to those who change subscriptions, and puts what is wanted now into its outbox.
func (s *Subscriber) enlist(l *subConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[l] = struct{}{}
	if s.isClosed() {
		l.killed.Store(true)
	}
	wanted := make(map[Kind][]string)
	for t := range s.topics {
		wanted[t.kind] = append(wanted[t.kind], t.name)
	}
	for _, kind := range kinds {
		l.subscribe(kind, true, wanted[kind]...)
	}
}

func (s *Subscriber) delist(l *subConn) {
	s.mu.Lock()
	delete(s.conns, l)
	s.mu.Unlock()
	s.changed()
}

// setHome says where calls wait for their answers.
func (s *Subscriber) setHome(l *subConn) {
	s.mu.Lock()
	s.home = l
	s.mu.Unlock()
	s.changed()
}

// changed wakes the calls that wait.
func (s *Subscriber) changed() {
	if s.waiting.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.change)
	s.change = make(chan struct{})
}

// tell lets the follower do something.
func (s *Subscriber) tell(f func()) {
	if s.follow == nil {
		return
	}
	select {
	case s.inbox <- f:
	case <-s.ctx.Done():
	}
}
