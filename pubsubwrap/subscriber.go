package pubsubwrap

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/callback"
)

// Subscriber is a set of subscriptions that follows the active database, and the stream of what they bring. Make it with
// [New] or [Subscribe], end it with Close. Its stream is read in one of three ways: Channel, Receive or Run; they share
// it. Safe for concurrent use.
type Subscriber struct {
	hook      *multidb.Hook
	opt       Options
	buf       *buffer
	onCluster bool // the databases are clusters

	mu     sync.Mutex        // held while a call puts its changes into outboxes
	topics map[topic]Handler // what is wanted; a nil handler leaves it to the stream. Guarded by mu
	links  map[int]*link     // by slot. Guarded by mu

	dials callback.Strays // that nobody waits for any more

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
	hook := multidb.HookOf(rdb)
	if hook == nil {
		return nil, errors.New("pubsubwrap: the client has no hook of multidb: call hook.Attach(rdb) first")
	}
	s := &Subscriber{
		hook: hook, opt: opt.withDefaults(), onCluster: hook.IsCluster(),
		topics: make(map[topic]Handler), links: make(map[int]*link),
		lost: make(chan struct{}), ended: make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.buf = newBuffer(&s.opt, s.ctx.Done(), s.wg.Go)
	if !s.onCluster {
		s.start(noSlot)
	}
	go s.run()
	return s, nil
}

// run joins all other goroutines of a subscriber after its end, which is that of ctx, and closes the stream.
func (s *Subscriber) run() {
	defer close(s.ended)
	<-s.ctx.Done()
	s.mu.Lock()
	s.links = nil // who starts a link has done so before, or sees the end
	s.mu.Unlock()
	s.wg.Wait()
	close(s.buf.events)
}

// giveUp lets the stream end with an error: a connection is lost, and a closed hook knows no way to another. The end
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
	for slot := range s.links {
		if k := s.links[slot]; stats.Database == "" || slot == noSlot {
			stats.Database = k.database()
		}
	}
	return stats
}

// database is where calls are answered; empty if nowhere.
func (k *link) database() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.home == nil || !k.home.alive() {
		return ""
	}
	return k.home.db
}
