// Package sentinel finds the master of a group that Redis Sentinel watches. All sentinels are asked at once and the first answer
// counts, so one that is silent delays nobody. All are listened to, so that a new master is known when they know it.
package sentinel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/callback"
	"github.com/redishook/multidb/internal/goredis"
)

// Config is what a group must know. The functions are called without a lock, from any goroutine.
type Config struct {
	Options *redis.FailoverOptions
	// Go starts a goroutine that somebody joins, unless all is ending: then it reports false.
	Go func(func()) bool
	// Ctx ends when all ends.
	Ctx context.Context
	// Moved is told that the group has another master: connections to the one of before are of no use.
	Moved func(from, to string)
}

// Group is one group. Make it with New. Safe for concurrent use.
type Group struct {
	cfg  Config
	ctx  context.Context
	end  context.CancelFunc
	dial goredis.Dialer

	dialSentinel goredis.Dialer
	strays       callback.Strays // dials that nobody waits for any more

	mu        sync.Mutex
	sentinels []*sentinel // Guarded by mu
	told      string      // Guarded by mu. The master that a sentinel has told of by itself
	toldAt    time.Time   // Guarded by mu
	dialed    string      // Guarded by mu. The master that was dialed last
	asking    *question   // Guarded by mu. The question that is under way
	listening bool        // Guarded by mu
}

// sentinel is one of them.
type sentinel struct {
	addr   string
	client *redis.SentinelClient
	silent time.Time // when it has failed to answer last; guarded by Group.mu
}

// question is one question to all sentinels, which everybody shares who wants to know meanwhile.
type question struct {
	done chan struct{}
	addr string
	err  error
}

const (
	// patience is how long a sentinel may take to answer.
	patience = 2 * time.Second
	// fresh is how long what a sentinel has told by itself is believed without asking: the others may learn it later.
	fresh = 10 * time.Second
	// pause is how long a sentinel is not asked that has not answered, if there are others.
	pause = 5 * time.Second
)

// New makes a group. It asks nobody before the first dial.
func New(cfg Config) *Group {
	g := &Group{cfg: cfg, dial: cfg.Options.Dialer}
	g.ctx, g.end = context.WithCancel(cfg.Ctx)
	if g.dial == nil {
		g.dial = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 5 * time.Second, Count: 3}}).DialContext
	}
	g.dialSentinel = g.untilEnd(g.dial)
	for _, addr := range cfg.Options.SentinelAddrs {
		g.add(addr)
	}
	context.AfterFunc(g.ctx, g.closeClients)
	return g
}

// Close ends all that asks and listens.
func (g *Group) Close() { g.end() }

func (g *Group) closeClients() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.sentinels {
		_ = s.client.Close()
	}
}

// add adds a sentinel, unless it is known. It returns nil if it is. Caller must hold mu, or be New.
func (g *Group) add(addr string) *sentinel {
	for _, s := range g.sentinels {
		if s.addr == addr {
			return nil
		}
	}
	user := g.cfg.Options
	s := &sentinel{addr: addr, client: redis.NewSentinelClient(&redis.Options{
		Addr: addr, Username: user.SentinelUsername, Password: user.SentinelPassword, Dialer: g.dialSentinel, TLSConfig: user.TLSConfig,
		MaxRetries: -1, DialerRetries: 1, DialTimeout: patience, ReadTimeout: patience, WriteTimeout: patience,
		ContextTimeoutEnabled: true, PoolSize: 4, MaxIdleConns: 1, DisableIdentity: true, ReadBufferSize: 4096, WriteBufferSize: 4096,
	})}
	g.sentinels = append(g.sentinels, s)
	return s
}

// Dial connects to the master. It is a redis.Options.Dialer, and pays no heed to the address.
func (g *Group) Dial(ctx context.Context, network, _ string) (net.Conn, error) {
	g.listen()
	for {
		addr, err := g.Master(ctx)
		if err != nil {
			return nil, err
		}
		nc, err := g.dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		if g.leadsTo(addr) {
			return nc, nil
		}
		_ = nc.Close() // another one has become the master while we dialed
	}
}

// leadsTo notes a master that was dialed, and reports whether it is still the master as far as is known.
func (g *Group) leadsTo(addr string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if told := g.lately(); told != "" && told != addr {
		return false
	}
	g.dialed = addr
	return true
}

// lately returns the master that a sentinel has told of by itself a short while ago, or "". Caller must hold mu.
func (g *Group) lately() string {
	if time.Since(g.toldAt) >= fresh {
		return ""
	}
	return g.told
}

// Master returns the address of the master.
func (g *Group) Master(ctx context.Context) (string, error) {
	g.mu.Lock()
	if told := g.lately(); told != "" {
		defer g.mu.Unlock()
		return told, nil
	}
	q := g.asking
	if q == nil {
		q = &question{done: make(chan struct{})}
		g.asking = q
		if !g.cfg.Go(func() { g.ask(q) }) {
			g.asking = nil
			g.mu.Unlock()
			return "", redis.ErrClosed
		}
	}
	g.mu.Unlock()
	select {
	case <-q.done:
		return q.addr, q.err
	case <-ctx.Done():
		return "", fmt.Errorf("no sentinel has answered: %w", ctx.Err())
	}
}

// ask asks all sentinels. The first answer counts.
func (g *Group) ask(q *question) {
	ctx, cancel := context.WithTimeout(g.ctx, patience)
	defer cancel()
	asked := g.awake()
	answers := g.askEach(ctx, asked)
	var errs []error
	for range asked {
		a := <-answers
		if a.err == nil {
			q.addr = a.addr
			break
		}
		errs = append(errs, a.err)
	}
	if q.addr == "" {
		q.err = fmt.Errorf("no sentinel knows the master %q: %w", g.cfg.Options.MasterName, errors.Join(errs...))
	}
	g.mu.Lock()
	g.asking = nil
	g.mu.Unlock()
	close(q.done)
}

// answer is who one sentinel says is the master.
type answer struct {
	addr string // empty if there is an error
	err  error
}

// askEach asks sentinels at once. There is an answer of each, and nobody has to take it.
func (g *Group) askEach(ctx context.Context, asked []*sentinel) <-chan answer {
	answers := make(chan answer, len(asked))
	for _, s := range asked {
		if !g.cfg.Go(func() {
			addr, err := g.askOne(ctx, s)
			answers <- answer{addr, err}
		}) {
			answers <- answer{err: redis.ErrClosed}
		}
	}
	return answers
}

// awake returns the sentinels to ask: those that have answered the last time, or all if there are none.
func (g *Group) awake() []*sentinel {
	g.mu.Lock()
	defer g.mu.Unlock()
	var asked []*sentinel
	for _, s := range g.sentinels {
		if s.silent.IsZero() || time.Since(s.silent) >= pause {
			asked = append(asked, s)
		}
	}
	if len(asked) == 0 {
		return append(asked, g.sentinels...)
	}
	return asked
}

func (g *Group) askOne(ctx context.Context, s *sentinel) (string, error) {
	began := time.Now()
	addr, err := s.client.GetMasterAddrByName(ctx, g.cfg.Options.MasterName).Result()
	g.mu.Lock()
	s.silent = time.Time{}
	if err != nil && (!goredis.IsReply(err) && ctx.Err() == nil || time.Since(began) > patience/2) {
		s.silent = time.Now()
	}
	g.mu.Unlock()
	switch {
	case err != nil:
		return "", fmt.Errorf("sentinel %s: %w", s.addr, err)
	case len(addr) != 2:
		return "", fmt.Errorf("sentinel %s: has said %q", s.addr, addr)
	}
	return net.JoinHostPort(addr[0], addr[1]), nil
}
