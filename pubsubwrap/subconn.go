package pubsubwrap

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/callback"
)

// subConn is one subscribed connection to one database, for life: it never reconnects, because a connection that comes back
// without a word hides a gap. One goroutine reads and one writes; any may end it.
type subConn struct {
	link   *link
	db     string
	addr   string // of its node, if the database is a cluster
	client *redis.Client
	ps     *redis.PubSub

	dialed atomic.Bool
	nc     atomic.Pointer[net.Conn]

	outbox

	ready    chan struct{} // everything that was wanted at first has been answered
	done     chan struct{} // the connection has ended
	gone     chan struct{} // and everything that it brought is delivered
	settled  sync.Map      // topic -> *SubscribeError (nil: subscribed)
	lastRead atomic.Int64  // ns since epoch
	idle     atomic.Bool   // the reader waits for the connection
	blocked  atomic.Bool   // the reader waits for the application
	lostAt   atomic.Int64  // ns since epoch: when the other side ended it; 0: it did not, or who knows when
	behind   atomic.Int64  // ns since epoch: up to when everything has been read for sure; 0: the reader keeps up
	caughtUp int64         // ns since epoch: when the answer was asked for that says so; 0: none was. Owned by the reader
	again    bool          // it has fallen behind once more since then. Owned by the reader
	killed   atomic.Bool
	stalled  atomic.Int64 // ns since epoch: when an answer was asked for that has not come; 0: none
	distance atomic.Int64 // ns: the shortest time in which a PING was answered; 0: not known

	opened atomic.Bool // it was ready
	joined atomic.Bool // with FanIn: and it is delivering

	// Owned by the follower.
	promoted, closing bool
	usedAt            int64         // when it was promoted
	failures          int           // before it could be made, if it stands in for one that was lost
	planned           bool          // it is leaving a healthy database, on which nothing may be missed
	until             int64         // when its closing is due, while it is leaving
	patience          time.Duration // while it is leaving

	place // in the order of delivery
}

// epoch makes times cheap: they are monotonic, and one call each.
var epoch = time.Now()

func now() int64 { return int64(time.Since(epoch)) }

// stamp is a time as now gives it.
func stamp(t time.Time) int64 { return int64(t.Sub(epoch)) }

var errOnce = errors.New("pubsubwrap: a connection is dialed once")

// newSubConn makes a connection that has not been dialed.
func (k *link) newSubConn(db string) (*subConn, error) {
	opt, err := k.options(db)
	if err != nil {
		return nil, err
	}
	l := &subConn{link: k, db: db, addr: opt.Addr, ready: make(chan struct{}), done: make(chan struct{}), gone: make(chan struct{})}
	// One more than there are, so that it is not ready before everything is in the outbox and it has been dialed.
	l.initial, l.wake = 1, make(chan struct{}, 1)
	l.asked = []*request{{token: tokenHealth}} // by open, which dials with it
	dial, dialTimeout := opt.Dialer, opt.DialTimeout
	opt.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if !l.dialed.CompareAndSwap(false, true) {
			return nil, errOnce
		}
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		nc, err := callback.Beside(ctx, &k.sub.dials, func() (net.Conn, error) { return dial(ctx, network, addr) },
			func(late net.Conn) { _ = late.Close() })
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
	opt.PoolSize, opt.DialerRetries = 1, 1 // one attempt is all a connection has; go-redis would sleep before the next
	l.client = redis.NewClient(opt)
	l.ps = l.client.Subscribe(context.Background())
	return l, nil
}

// requestTimeout bounds a handshake and a write.
const requestTimeout = 2 * time.Second

// open dials, subscribes to everything that is wanted, and waits until all of it has been answered.
func (l *subConn) open(ctx context.Context) error {
	stop := context.AfterFunc(ctx, l.kill)
	defer stop()
	l.link.enlist(l)
	if err := l.ps.Ping(ctx, tokenHealth); err != nil { // dials
		var reply redis.Error
		if ctx.Err() == nil && !l.killed.Load() && !errors.As(err, &reply) {
			l.link.hook.Report(l.db, err)
		}
		l.kill()
		l.ended()
		return err
	}
	l.outbox.mu.Lock()
	l.asked[0].at = now() // the dial and the login do not count
	l.outbox.mu.Unlock()
	l.lastRead.Store(now())
	l.link.wg.Go(l.read)
	l.link.wg.Go(l.write)
	l.initialAnswered()
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

// kill ends the connection at once; the reader wakes up and does the rest.
func (l *subConn) kill() {
	l.killed.Store(true)
	if nc := l.nc.Load(); nc != nil {
		_ = (*nc).Close()
	}
	l.wakeHeld()
}

func (l *subConn) alive() bool {
	select {
	case <-l.done:
		return false
	default:
		return !l.killed.Load()
	}
}

// read delivers what comes, until the connection ends.
func (l *subConn) read() {
	defer l.ended()
	ctx := context.Background()
	for {
		l.idle.Store(true)
		msg, err := l.ps.Receive(ctx)
		l.idle.Store(false)
		if err != nil && !l.survives(err) {
			return
		}
		switch msg := msg.(type) {
		case *redis.Message:
			l.deliver(Event{Message: msg})
		case *redis.Subscription:
			if !l.answered(msg) {
				return
			}
		case *redis.Pong:
			l.answers(true, func(r *request) bool { return isPing(r) && r.token == msg.Payload })
			if !l.pong(msg.Payload) {
				return
			}
		}
		l.lastRead.Store(now())
	}
}

// survives reports whether the connection goes on after the error: a refusal is an answer.
func (l *subConn) survives(err error) bool {
	var reply redis.Error
	if !errors.As(err, &reply) {
		if !l.killed.Load() {
			if !l.link.onCluster && l.stalled.Load() == 0 && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
				l.lostAt.Store(now()) // if it had been reading all the time; goneSince knows better
			}
			// A process that only subscribes would hear of a dead database by the next health check otherwise.
			l.link.hook.Report(l.db, err)
		}
		return false
	}
	return l.refused(err)
}

// pong does what the PING was sent for. It reports whether the connection goes on.
func (l *subConn) pong(token string) bool {
	switch token {
	case tokenBarrier:
		l.release()
	case tokenDrain:
		l.drain()
	case tokenBehind:
		if l.stepBehind() {
			l.link.tell(func() { l.link.follow.behind(l) })
		}
	case tokenAbreast:
		l.abreast()
	default:
		return !l.mayLeave(token)
	}
	return true
}

// fellBehind notes that the reader has waited for the application. Messages lay unread meanwhile, and if the connection
// turns out to be lost, that may have happened then: so it asks for an answer behind which nothing old can be. Called by
// the reader.
func (l *subConn) fellBehind() {
	if l.caughtUp != 0 {
		l.again = true
		return
	}
	l.behind.CompareAndSwap(0, l.lastRead.Load())
	l.caughtUp = now()
	l.ping(tokenAbreast)
}

// abreast takes that answer. Called by the reader.
func (l *subConn) abreast() {
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

// endMargin is the time before the end of a connection in which the database, dying, may have answered PUBLISH and passed
// on nothing: it writes to the publisher first, and what it has passed on before may have been read later.
const endMargin = 20 * time.Millisecond

// goneSince is the time after which a lost connection may have missed something: a moment before the end that the other
// side has made, and any time since the last that came if there was none. A reset only says that there is nobody, for
// instance because the machine was started again: that may have been long before the PING to which it is the answer.
//
// What comes was published earlier: so was what was still on its way. It takes no longer than a round trip.
func (l *subConn) goneSince() int64 {
	since := l.lastRead.Load()
	if lostAt := l.lostAt.Load(); lostAt != 0 {
		since = lostAt
	}
	since -= int64(endMargin)
	if behind := l.behind.Load(); behind != 0 {
		since = min(since, behind)
	}
	return since - l.distance.Load()
}

// answered notes the answer to one name of a request. It reports whether the connection goes on: not if the database has ended by
// itself what is still wanted, as a node of a cluster does when it has to give the slot of a shard channel away. A new connection
// hears of its reasons.
func (l *subConn) answered(s *redis.Subscription) bool {
	byItself := s.Kind == "sunsubscribe"
	r, last := l.answers(false, func(r *request) bool {
		return !isPing(r) && (!byItself || r.kind == ShardChannel && r.unsubscribe && slices.Contains(r.names, s.Channel))
	})
	if r == nil {
		if !byItself || !l.link.wants(topic{ShardChannel, s.Channel}) {
			return true
		}
		l.cutOff()
		return false
	}
	if r.unsubscribe {
		l.settled.Delete(topic{r.kind, s.Channel})
	} else {
		l.settled.Store(topic{r.kind, s.Channel}, (*SubscribeError)(nil))
	}
	if last && r.initial {
		l.initialAnswered()
	}
	l.link.changed()
	return true
}

// refused handles an error in place of the answers to a request. Redis refuses all names of a request for the sake of
// one, so they are asked for one by one: those of them that are still wanted. In place of the answer to a PING (a database
// that loads its data answers so) it is as good as that: what was sent before has come. It reports whether the connection goes on.
func (l *subConn) refused(err error) bool {
	r, _ := l.answers(true, func(*request) bool { return true })
	switch {
	case r == nil:
		return true
	case isPing(r):
		return l.pong(r.token)
	case l.link.onCluster && servedElsewhere(err):
		l.link.mislead(l.db)
		return false
	case r.unsubscribe && nothingToEnd(err):
		for _, name := range r.names {
			l.settled.Delete(topic{r.kind, name})
		}
		l.link.changed()
	case len(r.names) > 1:
		l.link.again(l, r)
	default:
		refusal := &SubscribeError{Database: l.db, Kind: r.kind, Name: r.names[0], Err: err, unsubscribe: r.unsubscribe}
		l.settled.Store(topic{r.kind, r.names[0]}, refusal)
		l.deliver(Event{Err: refusal})
		l.link.changed()
	}
	if r.initial {
		l.initialAnswered()
	}
	return true
}

// nothingToEnd reports the answer of Valkey 8.0 to UNSUBSCRIBE on a connection that has no subscription, which other servers
// confirm.
func nothingToEnd(err error) bool { return redis.HasErrorPrefix(err, "NOSUB ") }

// ended is the last that the reader does.
func (l *subConn) ended() {
	defer close(l.gone)
	l.killed.Store(true)
	_ = l.ps.Close()
	_ = l.client.Close()
	l.link.delist(l)
	close(l.done)
	l.link.tell(func() {})
	l.finish()
}
