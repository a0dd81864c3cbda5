// Package prober asks one database: over connections of its own, one quick question at a time, or whatever checks the database
// has. It says what was answered, and not what follows from it: that is the verdict of internal/health.
package prober

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/callback"
	"github.com/redishook/multidb/internal/cluster"
	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/reply"
	"github.com/redishook/multidb/probes"
)

// Config is what a prober must know of its database. All functions are called without a lock, from any goroutine.
type Config struct {
	Name           string
	HealthCheckURL string
	// Timeout is how long a quick question may stay without an answer (Health.Timeout).
	Timeout time.Duration
	// Checks are what the database is asked: see Checks.
	Checks probes.Checks

	// Reached is told of each connection of the network that was made.
	Reached func(net.Conn)
	// Go starts a goroutine that somebody joins, unless all is ending: then it reports false.
	Go func(func()) bool
	// Late is told that a question has not been answered at once, or has failed.
	Late func()
	// Forgotten is told that a connection which had stood stays silent while a new one is answered.
	Forgotten func()
	// Closed is called at the end of Close; it may be nil.
	Closed func()
	// Reads is how often anything was read over the connections of users: a sign of life; nil: there is none.
	Reads func() uint64
	// Ctx ends when all ends. No question has failed from then on.
	Ctx context.Context

	// Cluster are the options of a database that is a cluster; nil for others. The rest is for a cluster alone.
	Cluster *redis.ClusterOptions
	// Takeover is how long the cluster may take to replace a master.
	Takeover time.Duration
	// Usable reports whether commands may go to the database: then the cluster may replace a master of its own meanwhile.
	Usable func() bool
	// Changed, Failed, Degraded and Healed are those of cluster.Config.
	Changed  func(*cluster.Topology)
	Failed   func(error) (enough bool)
	Degraded func(why error)
	Healed   func(after time.Duration)
}

// Prober asks one database. Make it with New, end it with Close. Safe for concurrent use.
type Prober struct {
	cfg     Config
	quick   *redis.Client // for quick questions only
	checker *redis.Client // for checks of the user's, which may keep a connection for as long as they like
	cluster *clusterProber
	target  probes.Target
	checks  atomic.Pointer[Checks]

	dialing  context.Context // of the dials of all; go-redis gives each up after DialTimeout, and not when it is closed
	endDials context.CancelFunc

	dials, strays callback.Strays // dials, and questions, that nobody waits for any more

	distance
	role
	refusal
	signs      signsOfLife
	clockStart time.Time
}

// New makes a prober. Its client for quick questions is the given one, made with [Options] or [FailoverOptions]; the prober
// closes it.
func New(client *redis.Client, cfg Config) *Prober {
	if cfg.Forgotten == nil {
		cfg.Forgotten = func() {}
	}
	if cfg.Reads == nil {
		cfg.Reads = func() uint64 { return 0 }
	}
	p := &Prober{cfg: cfg, quick: client, checker: redis.NewClient(checkerOptions(client.Options())), clockStart: time.Now()}
	p.strays.Patience = 2 * probeGrace
	p.dialing, p.endDials = context.WithCancel(context.Background())
	for _, client := range []*redis.Client{p.quick, p.checker} {
		client.AddHook(dialHook{p})
	}
	p.target = probes.Target{Name: cfg.Name, Client: p.checker, HealthCheckURL: cfg.HealthCheckURL, Addr: client.Options().Addr}
	if cfg.Cluster != nil {
		p.cluster = newClusterProber(p)
		p.target.Client = p.cluster.whole
	}
	p.checks.Store(p.NewChecks(cfg.Checks))
	return p
}

// Close closes the clients and ends their dials. The checker goes first, because it may dial by what the other one knows of
// Sentinel. The probes stay open: they belong to whoever made them.
func (p *Prober) Close() error {
	p.endDials()
	err := errors.Join(p.checker.Close(), p.quick.Close())
	if p.cluster != nil {
		err = errors.Join(err, p.cluster.close())
	}
	if p.cfg.Closed != nil {
		p.cfg.Closed()
	}
	return err
}

// Run runs checks against the database.
func (p *Prober) Run(ctx context.Context, checks probes.Checks) error {
	return checks.Run(ctx, p.target)
}

// Question is one quick question.
type Question func(context.Context) error

// Ping sends PING; a cluster is surveyed. One that has not returned long after its time, in spite of its deadline, is left to
// itself: it may be in a credentials provider of the user's.
func (p *Prober) Ping(ctx context.Context) error {
	return p.beside(ctx, func() error {
		if p.cluster != nil {
			return clusterCheck{p}.Check(ctx, p.target)
		}
		return quickPing{p}.Check(ctx, p.target)
	})
}

// Connect makes a new connection, logs in and asks by PING, as a command does that finds none in the pool.
func (p *Prober) Connect(ctx context.Context) error {
	if p.cluster != nil {
		return p.Ping(ctx) // no single node stands for a cluster
	}
	return p.beside(ctx, func() error {
		client := redis.NewClient(onceOptions(p.quick.Options()))
		client.AddHook(dialHook{p})
		defer client.Close()
		return unlessRefused(client.Ping(ctx).Err())
	})
}

// Return is Connect with an ear for what PING is told, of a database that was not usable.
func (p *Prober) Return(ctx context.Context) error {
	if p.cluster != nil {
		return p.Ping(ctx)
	}
	return p.beside(ctx, func() error {
		client := redis.NewClient(onceOptions(p.quick.Options()))
		client.AddHook(dialHook{p})
		defer client.Close()
		target := p.target
		target.Client = client
		return p.refusal.learn(probes.Ping().Check(ctx, target))
	})
}

// unlessRefused takes a reply that is no refusal of the login for an answer: what PING is told is not what is asked here.
func unlessRefused(err error) error {
	if err == nil || !goredis.IsReply(err) || CannotConnect(err) {
		return err
	}
	return nil
}

// nobodysChannel is a channel that nobody listens to.
const nobodysChannel = "multidb:nobody"

// Write is a write that changes nothing and needs no key: PUBLISH to a channel that nobody has. A server that holds back
// writes (CLIENT PAUSE WRITE, SIGTERM with lagging replicas, FAILOVER) holds it back, and answers PING. Any reply will do: where
// the user of the database has no right to it, nothing can be learnt this way.
func (p *Prober) Write(ctx context.Context) error {
	if p.cluster != nil {
		return p.Ping(ctx)
	}
	return p.beside(ctx, func() error {
		err := p.quick.Publish(ctx, nobodysChannel, "").Err()
		if err != nil && goredis.IsReply(err) {
			return nil
		}
		return err
	})
}

// Keys returns how many keys the database has; negative where that is not answered. A cluster is not asked.
func (p *Prober) Keys(ctx context.Context) int64 {
	if p.cluster != nil {
		return -1
	}
	keys := make(chan int64, 1)
	err := p.Ask(ctx, 1, func(ctx context.Context) error {
		return p.beside(ctx, func() error {
			n, err := p.quick.DBSize(ctx).Result()
			if err != nil {
				n = -1
			}
			keys <- n
			return nil
		})
	})
	if err != nil {
		return -1
	}
	select {
	case n := <-keys:
		return n
	default:
		return -1 // the hook was closed meanwhile
	}
}

// CannotConnect reports that a probe has failed before its question: the dial, the login, or what the login is made of.
func CannotConnect(err error) bool {
	if redis.IsAuthError(err) || redis.IsMaxClientsError(err) || errors.As(err, new(dialError)) {
		return true
	}
	row, ok := reply.Of(goredis.ReplyText(err))
	return ok && row.Code == "DENIED"
}

// beside runs a question that may be in a function of the user's and not heed its context. It is left to itself a little after
// the end of ctx.
func (p *Prober) beside(ctx context.Context, question func() error) error {
	_, err := callback.Beside(ctx, &p.strays, func() (struct{}, error) { return struct{}{}, question() }, func(struct{}) {})
	return err
}
