package conn

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"github.com/redishook/multidb/internal/callback"
	"github.com/redishook/multidb/internal/goredis"
)

// Dial returns a connection to the database, or to a place within it if that is a cluster, registered and to be logged in by go-redis. Both results are nil if the term
// was over meanwhile. The error is that of the credentials or of the dial, and holds no reply of a server.
func (s *Set) Dial(ctx context.Context, t *Term, client *Client, at Place) (net.Conn, error) {
	var sub *subscriber
	if at == (Place{}) && goredis.InPubSub() {
		sub = &subscriber{wanted: map[topic]struct{}{}}
	}
	_, nc, err := s.dial(ctx, t, client, at, sub)
	return nc, err
}

func (s *Set) dial(ctx context.Context, t *Term, client *Client, at Place, sub *subscriber) (*Conn, net.Conn, error) {
	as, err := s.login(ctx, t)
	if err != nil {
		return nil, nil, err
	}
	leave, err := s.queue(ctx, t)
	if err != nil {
		return nil, nil, err
	}
	defer leave()
	ctx, cancel := untilOver(ctx, t)
	defer cancel()
	nc, err := s.connect(ctx, at)
	if err != nil {
		return nil, nil, err
	}
	c, wrapped := newConn(s, nc, client)
	c.hello.login.as, c.hello.term, c.hello.resolved, c.place, c.sub = as, t, time.Now(), at, sub
	if sub != nil {
		sub.conn = c
	}
	if !s.admit(c, t) {
		_ = nc.Close()
		return nil, nil, nil
	}
	s.owner.WatchConnect("a handshake was", func() bool { return !c.ungreeted() })
	return c, wrapped, nil
}

// ungreeted reports that a handshake was begun and nothing of it is answered.
func (c *Conn) ungreeted() bool {
	return c.greeting.Load() && !c.ready.Load() && !c.local.Load() && c.ledger.Written() > 0
}

// queue waits for a place among the dials under way, so that a database that has just become active does not meet
// everybody at once. A switch ends the wait.
func (s *Set) queue(ctx context.Context, t *Term) (leave func(), err error) {
	if s.dialing == nil {
		return func() {}, nil
	}
	leave = func() { <-s.dialing }
	select {
	case s.dialing <- struct{}{}:
		return leave, nil // a free place is taken even by who is late: the dialer has the word about an ended context
	default:
	}
	select {
	case s.dialing <- struct{}{}:
		return leave, nil
	case <-t.Ctx.Done():
		return nil, context.Canceled
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// login resolves what the connection logs in with. Only what can wait gets a context that a switch ends, and who has no
// place in the queue yet hears of a switch by itself: of a herd that waits, each would pay for that at the same moment.
func (s *Set) login(ctx context.Context, t *Term) (credentials, error) {
	if s.cfg.Options.CredentialsProviderContext == nil && s.cfg.Options.CredentialsProvider == nil {
		return resolveCredentials(ctx, s.cfg.Options)
	}
	ctx, cancel := untilOver(ctx, t)
	defer cancel()
	return s.resolve(ctx)
}

// resolve asks the provider of the user's, who may not heed the context.
func (s *Set) resolve(ctx context.Context) (credentials, error) {
	return callback.Beside(ctx, &s.strays, func() (credentials, error) { return resolveCredentials(ctx, s.cfg.Options) }, func(credentials) {})
}

// untilOver returns a context that a switch ends: the database that is left may answer to nothing for as long as DialTimeout.
func untilOver(ctx context.Context, t *Term) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(t.Ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// connect dials. The dialer may be the user's, and not heed the context.
func (s *Set) connect(ctx context.Context, at Place) (net.Conn, error) {
	s.underWay.Add(1)
	s.owner.Outstanding()
	defer s.underWay.Add(-1)
	addr := s.cfg.Options.Addr
	if at.Addr != "" {
		addr = at.Addr
	}
	var over atomic.Bool
	defer s.owner.WatchConnect("a dial was", over.Load)()
	defer over.Store(true)
	nc, err := callback.Beside(ctx, &s.strays, func() (net.Conn, error) {
		return s.cfg.Options.Dialer(ctx, s.cfg.Options.Network, addr)
	}, func(late net.Conn) { _ = late.Close() })
	if err == nil {
		s.Reached(nc)
	}
	return nc, goredis.WithoutReply(err)
}

// Reached notes where a dial has led. A group watched by Sentinel may have another master since the last one; the connections
// to the old one, which would write to what is a replica by now or cut off, are closed. go-redis does so for connections of
// its own pool only, and the client's are not in that.
func (s *Set) Reached(nc net.Conn) {
	if s.cfg.Options.Addr != goredis.SentinelAddr {
		return
	}
	master := nc.RemoteAddr().String()
	if before := s.master.Swap(&master); before != nil && *before != master {
		cutAll(s.matching(func(c *Conn) bool { return c.Conn.RemoteAddr().String() != master }))
	}
}
