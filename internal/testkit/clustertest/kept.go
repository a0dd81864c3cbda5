package clustertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redishook/multidb/internal/testkit/faultproxy"
)

// Clusters that outlive their test. A cluster takes more than two seconds to form, most tests leave it as they found it, and
// the next test that asks for the same may have it.

// resetTimeout is how long a cluster may take to look as in the beginning, before it is ended and not kept. One that was
// restarted needs two seconds.
const resetTimeout = 4 * time.Second

// keeper has the clusters that no test uses at present.
type keeper struct {
	wg sync.WaitGroup // resets and starts under way

	mu      sync.Mutex
	shelves map[string]*shelf // Guarded by mu; by configuration; nil while nothing is kept
}

// shelf is the clusters of one configuration.
type shelf struct {
	coming []chan *Group // being reset, or started in place of one that a test has broken
	asked  int           // how many tests wanted one
}

var kept keeper

// Keep makes [Start] hand clusters from test to test, for TestMain; the returned function ends those that are left. A test gets
// none that another has broken, and no data, counters or log of another.
func Keep() (end func()) {
	kept.mu.Lock()
	defer kept.mu.Unlock()
	kept.shelves = make(map[string]*shelf)
	return kept.end
}

// run takes a cluster off its shelf or starts one.
func (k *keeper) run(ctx context.Context, cfg Config) (*Group, error) {
	if g := k.take(cfg); g != nil {
		return g, nil
	}
	return Run(ctx, cfg)
}

func (k *keeper) take(cfg Config) *Group {
	k.mu.Lock()
	s := k.shelf(cfg)
	if s == nil {
		k.mu.Unlock()
		return nil
	}
	s.asked++
	if len(s.coming) == 0 {
		k.mu.Unlock()
		return nil
	}
	// One that is ready, or else the one that has been waited for the longest.
	i := max(0, slices.IndexFunc(s.coming, func(c chan *Group) bool { return len(c) > 0 }))
	coming := s.coming[i]
	s.coming = slices.Delete(s.coming, i, i+1)
	k.mu.Unlock()
	return <-coming
}

// shelf returns nil while nothing is kept. Requires k.mu.
func (k *keeper) shelf(cfg Config) *shelf {
	if k.shelves == nil {
		return nil
	}
	key := fmt.Sprintf("%+v", cfg)
	if k.shelves[key] == nil {
		k.shelves[key] = &shelf{}
	}
	return k.shelves[key]
}

// giveBack sees beside the tests to what a test leaves. A cluster that is as it was is kept, any other is ended; where several
// tests want that kind, another one is started.
func (k *keeper) giveBack(g *Group, cfg Config, failed bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.shelf(cfg)
	if s == nil || failed {
		return g.Close()
	}
	coming := make(chan *Group, 1)
	s.coming = append(s.coming, coming)
	again := s.asked > 1
	k.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), resetTimeout)
		defer cancel()
		if g.reset(ctx) != nil {
			_ = g.Close() // the test that it served has passed
			if g = nil; again {
				g, _ = Run(context.Background(), cfg) // who takes nil starts one itself, and is told why that fails
			}
		}
		coming <- g
	})
	return nil
}

func (k *keeper) end() {
	k.mu.Lock()
	shelves := k.shelves
	k.shelves = nil
	k.mu.Unlock()
	k.wg.Wait()
	for _, s := range shelves {
		for _, coming := range s.coming {
			if g := <-coming; g != nil {
				_ = g.Close() // the tests are over
			}
		}
	}
}

// reset returns a cluster to its beginning: no data, proxies, counters and log. It fails where nodes or slots are not as they
// were.
func (g *Group) reset(ctx context.Context) error {
	g.proxies.reset()
	err := g.each(func(n *Node) error { return n.Client().WithTimeout(time.Second).Ping(ctx).Err() })
	if err == nil {
		err = g.owned(ctx)
	}
	if err == nil {
		err = g.allFormed(ctx)
	}
	if err != nil {
		return err
	}
	return g.each(func(n *Node) error {
		do := func(args ...any) error { return n.Client().Do(ctx, args...).Err() }
		err := errors.Join(do("acl", "log", "reset"), do("config", "resetstat"))
		if n.IsMaster() {
			err = errors.Join(err, do("flushall"), do("script", "flush"))
		}
		return err
	})
}

// owned reports whether each of the first masters has the slots that it was given.
func (g *Group) owned(ctx context.Context) error {
	for _, n := range g.Nodes {
		slots, err := n.Client().ClusterSlots(ctx).Result() //nolint:staticcheck // the reply that go-redis itself asks for
		if err != nil {
			return err
		}
		if len(slots) != g.Masters {
			return fmt.Errorf("%d ranges of slots", len(slots))
		}
		for _, s := range slots {
			i := (s.Start*g.Masters + slotCount - 1) / slotCount
			if from, to := g.slotsOf(i); s.Start != from || s.End != to || s.Nodes[0].Addr != g.Nodes[i].Addr() {
				return fmt.Errorf("slots %d to %d are at %s", s.Start, s.End, s.Nodes[0].Addr)
			}
		}
	}
	return nil
}

// startFor starts a cluster for a test, or takes one that another test has left. It is safe to call from any goroutine.
func startFor(tb testing.TB, opts []Option) (*Cluster, error) {
	var cfg Config
	for _, opt := range opts {
		opt(&cfg)
	}
	g, err := kept.run(tb.Context(), cfg)
	if err != nil {
		return nil, err
	}
	c := &Cluster{Group: g, tb: tb}
	tb.Cleanup(func() { c.check("Close", kept.giveBack(g, cfg, tb.Failed())) })
	return c, nil
}

// reset ends the proxies; later ones are new.
func (p *proxies) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, proxy := range p.byAddr {
		proxy.Close()
	}
	p.byAddr = make(map[string]*faultproxy.Proxy)
}
