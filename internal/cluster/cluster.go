package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// watchInterval is the pace at which a degraded cluster is asked: clients shall follow a promotion at once.
const watchInterval = 50 * time.Millisecond

// unknownInterval is the least time between two refreshes because of an address that nobody knows.
const unknownInterval = 200 * time.Millisecond

// Config says which cluster, and who wants to know about it.
type Config struct {
	Seeds []string
	Asker Asker
	// Takeover is how long the cluster may be degraded. Default: that of its own node timeout. Negative: not at all.
	Takeover time.Duration
	// NodeTimeout asks for the node timeout; an error says that it may not be known. Nil is one.
	NodeTimeout func(ctx context.Context) (time.Duration, error)
	// Timeout bounds one survey of the watch. Default: 1 s.
	Timeout time.Duration
	// Changed is called when the owner of a slot has changed since the topology before, Failed when the watch has found that
	// the cluster, which was degraded, cannot be used any more, again and again until it returns true. Degraded is called when a
	// cluster that was whole is not, and may see to that by itself; Healed when it is whole again, with how long it was degraded,
	// or 0 if Degraded was not called. They are called without a lock, from goroutines of the cluster or of its callers, and
	// must not call Close.
	Changed  func(*Topology)
	Failed   func(error) (enough bool)
	Degraded func(why error)
	Healed   func(after time.Duration)
}

// Cluster is what is known about one cluster. It asks the cluster itself when it is told to (Check, Refresh), and by itself
// as long as the cluster is degraded. Safe for concurrent use.
type Cluster struct {
	cfg      Config
	ctx      context.Context
	cancel   context.CancelFunc
	topology atomic.Pointer[Topology] // written with mu
	checks   atomic.Int64             // numbers them, so that each check has another node tell its slots

	mu       sync.Mutex
	closed   bool                 // Guarded by mu
	patience patience             // Guarded by mu
	last     Finding              // Guarded by mu; of the last survey
	learned  time.Time            // Guarded by mu; when the survey began that has made the topology
	watching bool                 // Guarded by mu
	told     bool                 // Guarded by mu; Degraded was called, and Healed not yet
	news     chan struct{}        // Guarded by mu; see News
	changing int                  // Guarded by mu; calls of Changed under way
	unknown  map[string]time.Time // Guarded by mu; when the cluster was asked because of an address

	wg sync.WaitGroup // Add needs mu and an open cluster
}

// New makes a cluster that nothing is known about.
func New(cfg Config) *Cluster {
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Second
	}
	c := &Cluster{cfg: cfg, news: make(chan struct{}), unknown: make(map[string]time.Time)}
	c.patience.takeover = cfg.Takeover
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Close ends the watch and waits for all goroutines. What asks for the cluster must have been closed before.
func (c *Cluster) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.wg.Wait()
}

// spawn starts a goroutine that Close waits for; false if the cluster is closed.
func (c *Cluster) spawn(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.wg.Go(f)
	return true
}

// Topology returns what is known; nil if nothing is.
func (c *Cluster) Topology() *Topology { return c.topology.Load() }

// Known returns the topology, and asks the cluster if it is not known.
func (c *Cluster) Known(ctx context.Context) (*Topology, error) {
	if t := c.topology.Load(); t != nil {
		return t, nil
	}
	return c.Refresh(ctx)
}

// Degraded is since when the cluster has been degraded or down; zero if it is whole.
func (c *Cluster) Degraded() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.patience.since
}

// Learned is when the survey began that the topology is from; zero if nothing is known.
func (c *Cluster) Learned() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.learned
}

// Last is the finding of the last survey.
func (c *Cluster) Last() Finding {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// IsSilent reports whether a node has not answered the last survey.
func (c *Cluster) IsSilent(addr string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last.Silent[addr]
}

// News is closed when the topology has changed and Changed has returned, when all nodes that answer say that the cluster is up
// again, and when the cluster is whole again.
func (c *Cluster) News() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.news
}

// announce makes news. While clients are being led to new owners of slots, that is put off: who waits for news would run into
// the old owner again.
func (c *Cluster) announce() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changing > 0 {
		return
	}
	close(c.news)
	c.news = make(chan struct{})
}

// Refresh asks every node that is known for the slots, and returns the topology. If none answers, it is what was known
// before, with an error.
func (c *Cluster) Refresh(ctx context.Context) (*Topology, error) {
	began := time.Now()
	addrs := slices.Clone(c.cfg.Seeds)
	if t := c.topology.Load(); t != nil {
		addrs = append(addrs, t.Members()...)
	}
	slices.Sort(addrs)
	views := Survey(ctx, c.cfg.Asker, slices.Compact(addrs), all, c.spawn, 0, nil)
	return c.learn(views, began)
}

func all(string) bool { return true }

// learn makes what the nodes say the topology, if nothing better is known. began is when they were asked.
func (c *Cluster) learn(views map[string]View, began time.Time) (*Topology, error) {
	t, err := Merge(views)
	if err != nil {
		return c.topology.Load(), err
	}
	c.mu.Lock()
	old := c.topology.Load()
	if old != nil && (t.epoch < old.epoch || began.Before(c.learned)) { // who knows better has not been asked, or not answered
		c.mu.Unlock()
		return old, nil
	}
	c.learned = began
	if old != nil && t.Equal(old) {
		if t.epoch > old.epoch {
			c.topology.Store(t)
			old = t
		}
		c.mu.Unlock()
		return old, nil
	}
	c.topology.Store(t)
	c.changing++
	c.mu.Unlock()
	if c.cfg.Changed != nil && old != nil && !t.SameOwners(old) {
		c.cfg.Changed(t)
	}
	c.mu.Lock()
	c.changing--
	c.mu.Unlock()
	c.announce()
	return t, nil
}

// Belongs reports whether an address is a node of the cluster now. If the topology does not have it and nobody else claims
// it, the cluster is asked, because a redirect may name a node before anything else does.
func (c *Cluster) Belongs(ctx context.Context, addr string, claimed func(addr string) bool) bool {
	if t := c.topology.Load(); t != nil && t.Has(addr) {
		return true
	}
	if claimed != nil && claimed(addr) || !c.mayAsk(addr) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	t, err := c.Refresh(ctx)
	return err == nil && t.Has(addr)
}

// mayAsk limits how often the cluster is asked because of one address.
func (c *Cluster) mayAsk(addr string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if at, ok := c.unknown[addr]; ok && now.Sub(at) < unknownInterval {
		return false
	}
	for other, at := range c.unknown {
		if now.Sub(at) >= unknownInterval {
			delete(c.unknown, other)
		}
	}
	c.unknown[addr] = now
	return true
}

// Suspect refreshes the topology beside, because something has been seen that does not fit it.
func (c *Cluster) Suspect() {
	if !c.mayAsk("") {
		return
	}
	c.spawn(func() {
		ctx, cancel := context.WithTimeout(c.ctx, c.cfg.Timeout)
		defer cancel()
		_, _ = c.Refresh(ctx) // the next check tells what is wrong
	})
}

// String says how the cluster is, for logs.
func (c *Cluster) String() string {
	t := c.topology.Load()
	if t == nil {
		return "cluster: unknown"
	}
	return fmt.Sprintf("cluster: %d masters, %d slots", len(t.masters), t.covered)
}
