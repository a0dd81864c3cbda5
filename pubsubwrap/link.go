package pubsubwrap

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// link is one subscribed connection to one database, for life: it never reconnects, because a connection that comes back
// without a word hides a gap. One goroutine reads; others write and may end it.
type link struct {
	sub    *Subscriber
	db     string
	client *redis.Client
	ps     *redis.PubSub

	dialed atomic.Bool
	nc     atomic.Pointer[net.Conn]

	writeMu sync.Mutex // keeps requests in the order of asked
	askedMu sync.Mutex
	asked   []*request // written and not answered; guarded by askedMu

	ready    chan struct{} // everything that was wanted at first has been answered
	initial  int           // requests that are still to be answered before that; guarded by askedMu
	done     chan struct{} // the reader has ended
	settled  sync.Map      // topic -> error (nil: subscribed)
	lastRead atomic.Int64  // ns since epoch
	idle     atomic.Bool   // the reader waits for the connection, not for the application
	lostAt   atomic.Int64  // ns since epoch: when the reader met an error; 0: it was ended from here
	behind   atomic.Int64  // ns since epoch: up to when everything has been read for sure; 0: the reader keeps up
	caughtUp int64         // ns since epoch: when the answer was asked for that says so; 0: none was. Owned by the reader
	again    bool          // it has fallen behind once more since then. Owned by the reader
	killed   atomic.Bool
	stalled  atomic.Int64 // ns since epoch: when an answer was asked for that has not come; 0: none

	opened atomic.Bool // it was ready

	// Owned by the follower.
	promoted, farewell bool
	patience           time.Duration // while it is leaving

	place // in the order of delivery
}

// request is a SUBSCRIBE or UNSUBSCRIBE of any kind that waits for its answers.
type request struct {
	kind        Kind
	unsubscribe bool
	names       []string
	left        int
	initial     bool
}

// epoch makes times cheap: they are monotonic, and one call each.
var epoch = time.Now()

func now() int64 { return int64(time.Since(epoch)) }

var errOnce = errors.New("pubsubwrap: a connection is dialed once")

// newLink makes a link that has not been dialed.
func (s *Subscriber) newLink(db string) (*link, error) {
	opt, err := s.hook.DatabaseOptions(db)
	if err != nil {
		return nil, err
	}
	l := &link{sub: s, db: db, initial: 1, ready: make(chan struct{}), done: make(chan struct{})}
	dial, dialTimeout := opt.Dialer, opt.DialTimeout
	opt.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if !l.dialed.CompareAndSwap(false, true) {
			return nil, errOnce
		}
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		nc, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		l.nc.Store(&nc)
		if l.killed.Load() {
			_ = nc.Close()
		}
		return nc, nil
	}
	opt.ReadTimeout, opt.WriteTimeout = requestTimeout, requestTimeout
	opt.PoolSize = 1
	l.client = redis.NewClient(opt)
	l.ps = l.client.Subscribe(context.Background())
	return l, nil
}

// requestTimeout bounds a handshake and a write.
const requestTimeout = 2 * time.Second

// open dials, subscribes to everything that is wanted, and waits until all of it has been answered.
func (l *link) open(ctx context.Context) error {
	stop := context.AfterFunc(ctx, l.kill)
	defer stop()
	l.writeMu.Lock()
	wanted := l.sub.enlist(l)
	err := l.ps.Ping(ctx, tokenHealth) // dials
	for _, kind := range kinds {
		if names := wanted[kind]; err == nil && len(names) > 0 {
			err = l.write(ctx, &request{kind: kind, names: names, initial: true})
		}
	}
	l.writeMu.Unlock()
	if err != nil {
		var reply redis.Error
		if ctx.Err() == nil && !l.killed.Load() && !errors.As(err, &reply) {
			l.sub.hook.Report(l.db, err)
		}
		l.kill()
		l.ended()
		return err
	}
	l.lastRead.Store(now())
	l.sub.wg.Go(l.read)
	l.askedMu.Lock()
	l.initial-- // the 1 that newLink has put there, so that it is not ready before everything is written
	l.readyIf()
	l.askedMu.Unlock()
	select {
	case <-l.ready:
		l.opened.Store(true)
		return nil
	case <-l.done:
		return errors.New("pubsubwrap: the connection was lost while subscribing")
	case <-ctx.Done():
		l.kill()
		return ctx.Err()
	}
}

// send writes a request. The error is left to the reader, whose connection is broken then.
func (l *link) send(ctx context.Context, r *request) {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	if l.write(ctx, r) != nil {
		l.kill()
	}
}

// write is send for a caller that holds writeMu.
func (l *link) write(ctx context.Context, r *request) error {
	r.left = len(r.names)
	l.askedMu.Lock()
	l.asked = append(l.asked, r)
	if r.initial {
		l.initial++
	}
	l.askedMu.Unlock()
	do := l.ps.Subscribe
	switch {
	case r.kind == Channel && r.unsubscribe:
		do = l.ps.Unsubscribe
	case r.kind == Pattern && r.unsubscribe:
		do = l.ps.PUnsubscribe
	case r.kind == ShardChannel && r.unsubscribe:
		do = l.ps.SUnsubscribe
	case r.kind == Pattern:
		do = l.ps.PSubscribe
	case r.kind == ShardChannel:
		do = l.ps.SSubscribe
	}
	return do(ctx, r.names...)
}

// Tokens are payloads of PING that say what its answer is for.
const (
	tokenHealth  = "health"
	tokenBarrier = "barrier" // everything that was sent before has been delivered
	tokenDrain   = "drain"   // wakes the reader, to deliver what is held
	tokenBehind  = "behind"  // the link takes its place behind the others
	tokenLeave   = "leave"   // the link ends
	tokenAbreast = "abreast" // everything that was sent before has been read
)

// ping asks for an answer, for which it does not wait.
func (l *link) ping(token string) {
	l.stalled.CompareAndSwap(0, now())
	if l.ps.Ping(context.Background(), token) != nil {
		l.kill()
	}
}

// kill ends the connection at once; the reader wakes up and does the rest.
func (l *link) kill() {
	l.killed.Store(true)
	if nc := l.nc.Load(); nc != nil {
		_ = (*nc).Close()
	}
	l.wakeHeld()
}

func (l *link) alive() bool {
	select {
	case <-l.done:
		return false
	default:
		return !l.killed.Load()
	}
}

// read delivers what comes, until the connection ends.
func (l *link) read() {
	defer l.ended()
	ctx := context.Background()
	for {
		l.idle.Store(true)
		msg, err := l.ps.Receive(ctx)
		l.idle.Store(false)
		if err != nil && !l.survives(ctx, err) {
			return
		}
		switch msg := msg.(type) {
		case *redis.Message:
			l.deliver(Event{Message: msg})
		case *redis.Subscription:
			l.answered(msg)
		case *redis.Pong:
			if !l.pong(msg.Payload) {
				return
			}
		}
		l.lastRead.Store(now())
	}
}

// survives reports whether the connection goes on after the error: a refusal is an answer.
func (l *link) survives(ctx context.Context, err error) bool {
	var reply redis.Error
	if !errors.As(err, &reply) {
		if !l.killed.Load() {
			l.lostAt.Store(now()) // if it had been reading all the time; goneSince knows better
			// A process that only subscribes would hear of a dead database by the next health check otherwise.
			l.sub.hook.Report(l.db, err)
		}
		return false
	}
	l.refused(ctx, err)
	return true
}

// pong does what the PING was sent for. It reports whether the link goes on.
func (l *link) pong(token string) bool {
	l.stalled.Store(0)
	switch token {
	case tokenBarrier:
		l.release()
	case tokenDrain:
		l.drain()
	case tokenBehind:
		l.stepBehind()
		l.sub.tell(func() { l.sub.follow.behind(l) })
	case tokenAbreast:
		l.abreast()
	case tokenLeave:
		return false
	}
	return true
}

// fellBehind notes that the reader has waited for the application. Messages lay unread meanwhile, and if the connection
// turns out to be lost, that may have happened then: so it asks for an answer behind which nothing old can be. Called by
// the reader.
func (l *link) fellBehind() {
	if l.caughtUp != 0 {
		l.again = true
		return
	}
	l.behind.CompareAndSwap(0, l.lastRead.Load())
	l.caughtUp = now()
	l.ping(tokenAbreast)
}

// abreast takes that answer. Called by the reader.
func (l *link) abreast() {
	asked, again := l.caughtUp, l.again
	l.caughtUp, l.again = 0, false
	if !again {
		l.behind.Store(0)
		return
	}
	l.behind.Store(asked)
	l.caughtUp = now()
	l.ping(tokenAbreast)
}

// goneSince is the time after which a lost connection may have missed something.
func (l *link) goneSince() int64 {
	since := l.lostAt.Load()
	if since == 0 {
		since = l.lastRead.Load()
	}
	if behind := l.behind.Load(); behind != 0 {
		since = min(since, behind)
	}
	return since
}

// answered notes the answer to one name of a request.
func (l *link) answered(s *redis.Subscription) {
	l.askedMu.Lock()
	if len(l.asked) == 0 {
		l.askedMu.Unlock()
		return
	}
	r := l.asked[0]
	if r.left--; r.left <= 0 {
		l.pop()
	}
	l.askedMu.Unlock()
	if r.unsubscribe {
		l.settled.Delete(topic{r.kind, s.Channel})
	} else {
		l.settled.Store(topic{r.kind, s.Channel}, (*SubscribeError)(nil))
	}
	l.sub.changed()
}

// refused handles an error in place of the answers to a request. Redis refuses all names of a request for the sake of
// one, so they are asked for one by one.
func (l *link) refused(ctx context.Context, err error) {
	l.askedMu.Lock()
	if len(l.asked) == 0 {
		l.askedMu.Unlock()
		return
	}
	r := l.asked[0]
	if len(r.names) > 1 && r.initial {
		l.initial += len(r.names) // before pop, so that the link does not look ready in between
	}
	l.pop()
	l.askedMu.Unlock()
	if len(r.names) == 1 {
		if !r.unsubscribe {
			refusal := &SubscribeError{Database: l.db, Kind: r.kind, Name: r.names[0], Err: err}
			l.settled.Store(topic{r.kind, r.names[0]}, refusal)
			l.deliver(Event{Err: refusal})
			l.sub.changed()
		}
		return
	}
	// Not from here: the reader must read while this is written.
	l.sub.wg.Go(func() {
		for _, name := range r.names {
			l.send(ctx, &request{kind: r.kind, unsubscribe: r.unsubscribe, names: []string{name}, initial: r.initial})
		}
		if r.initial {
			l.askedMu.Lock()
			l.initial -= len(r.names)
			l.readyIf()
			l.askedMu.Unlock()
		}
	})
}

// pop takes the first request off. Caller must hold askedMu.
func (l *link) pop() {
	r := l.asked[0]
	l.asked = l.asked[1:]
	if r.initial {
		l.initial--
		l.readyIf()
	}
}

// readyIf says that the link is ready if it is. Caller must hold askedMu.
func (l *link) readyIf() {
	if l.initial == 0 {
		close(l.ready)
	}
}

// ended is the last that the reader does.
func (l *link) ended() {
	l.killed.Store(true)
	_ = l.ps.Close()
	_ = l.client.Close()
	l.sub.delist(l)
	close(l.done)
	l.sub.tell(func() {})
	l.finish()
}
