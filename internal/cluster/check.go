package cluster

import (
	"context"
	"maps"
	"slices"
	"time"
)

// The check of a cluster, and the watch of one that is degraded.

// The time that a check may take is split: who waits for it until the deadline must have the answer before that.
const (
	checkShare   = 0.9 // of the time to the deadline, for all of the check
	mastersShare = 0.5 // of that, for a minority of masters that is silent; the rest is for the replicas
)

// Check asks all masters and returns why the cluster cannot be used; nil if it can. A cluster that is degraded can be used as
// long as its takeover may last, unless whole is wanted. Replicas are asked only if a master is silent or if the masters
// disagree. With a deadline in ctx, the answer comes well before it. Several checks may run at a time.
func (c *Cluster) Check(ctx context.Context, whole bool) error {
	began := time.Now()
	ctx, cancel := shareOf(ctx, checkShare)
	defer cancel()
	t := c.topology.Load()
	if t == nil {
		var err error
		if t, err = c.Refresh(ctx); err != nil {
			return err
		}
	}
	finding := c.survey(ctx, t, began)
	c.askTakeover(ctx)
	return c.conclude(finding, began, whole)
}

// survey asks the masters, and the rest of the nodes if that does not settle it.
func (c *Cluster) survey(ctx context.Context, t *Topology, began time.Time) Finding {
	teller := t.masters[int(c.checks.Add(1))%len(t.masters)]
	views := Survey(ctx, c.cfg.Asker, t.masters, func(addr string) bool { return addr == teller }, c.spawn,
		timeShare(ctx, mastersShare), func(got map[string]View, late bool) bool {
			return beyondHope(t, got) || late && hasQuorum(t, got)
		})
	finding := Judge(t, views)
	if finding.State == Down || finding.State == Whole && !t.outdated(views) {
		return finding
	}
	// A node that answers may know better, and a replica may be the next master. Who was silent is not waited for again.
	answering := slices.DeleteFunc(t.Members(), func(addr string) bool { return finding.Silent[addr] })
	maps.Copy(views, Survey(ctx, c.cfg.Asker, answering, all, c.spawn, 0, nil))
	if newer, _ := c.learn(views, began); newer != nil {
		t = newer
	}
	if missing := without(t.masters, views); len(missing) > 0 {
		maps.Copy(views, Survey(ctx, c.cfg.Asker, missing, all, c.spawn, 0, nil))
	}
	return Judge(t, views)
}

// outdated reports whether a view does not fit the topology.
func (t *Topology) outdated(views map[string]View) bool {
	for _, v := range views {
		if v.Err != nil || v.Limited {
			continue
		}
		if v.Epoch > t.epoch {
			return true
		}
		if v.Slots == nil {
			continue
		}
		if said, err := NewTopology(v.Slots, v.Epoch); err == nil && !said.Equal(t) {
			return true
		}
	}
	return false
}

// without returns the addresses that have no view.
func without(addrs []string, views map[string]View) (missing []string) {
	for _, addr := range addrs {
		if _, ok := views[addr]; !ok {
			missing = append(missing, addr)
		}
	}
	return missing
}

// shareOf returns a context with a share of the time that is left.
func shareOf(ctx context.Context, share float64) (context.Context, context.CancelFunc) {
	if left := timeShare(ctx, share); left > 0 {
		return context.WithTimeout(ctx, left)
	}
	return context.WithCancel(ctx)
}

// timeShare is a share of the time that is left, or 0 if there is no deadline.
func timeShare(ctx context.Context, share float64) time.Duration {
	deadline, limited := ctx.Deadline()
	if !limited {
		return 0
	}
	return time.Duration(share * float64(time.Until(deadline)))
}

// askTakeover finds out, once, how long the cluster may be degraded.
func (c *Cluster) askTakeover(ctx context.Context) {
	c.mu.Lock()
	known := c.patience.takeover != 0
	c.mu.Unlock()
	if known {
		return
	}
	timeout := assumedNodeTimeout
	if c.cfg.NodeTimeout != nil {
		if asked, err := c.cfg.NodeTimeout(ctx); err == nil && asked > 0 {
			timeout = asked
		} else if ctx.Err() != nil {
			return // once more with the next check
		}
	}
	c.mu.Lock()
	c.patience.takeover = DefaultTakeover(timeout)
	c.mu.Unlock()
}

// conclude notes a finding and says what follows from it.
func (c *Cluster) conclude(f Finding, began time.Time, whole bool) error {
	c.mu.Lock()
	since, told := c.patience.since, c.told
	if c.patience.takeover == 0 { // not known yet
		c.patience.takeover = DefaultTakeover(assumedNodeTimeout)
		defer func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.patience.takeover = 0
		}()
	}
	err := c.patience.observe(f, began, whole)
	c.last = f
	c.told = f.State != Whole && (told || since.IsZero() && f.State == Degraded)
	begin := err == nil && f.State == Degraded && !c.watching && !c.closed
	if begin {
		c.watching = true
		c.wg.Go(c.watch)
	}
	c.mu.Unlock()
	switch {
	case since.IsZero() && f.State == Degraded && c.cfg.Degraded != nil:
		c.cfg.Degraded(f.why)
	case !since.IsZero() && f.State == Whole:
		c.announce()
		var after time.Duration
		if told {
			after = began.Sub(since)
		}
		if c.cfg.Healed != nil {
			c.cfg.Healed(after)
		}
	}
	return err
}

// watch asks a degraded cluster again and again, until it is whole, or until who is told that it cannot be used has heard enough.
// To be told once would not do:
//
//  1. a check begins a moment before the time of a takeover is over, and has not ended;
//  2. the watch finds that the time is over, and tells so: the cluster is suspected;
//  3. the check of before passes, and clears the suspicion;
//  4. nobody asks again, because whoever would meet the failure waits for the takeover.
func (c *Cluster) watch() {
	watching, end := context.WithCancel(c.ctx)
	defer end()
	c.spawn(func() { c.scout(watching) })
	for {
		pause(c.ctx, c.watchPace())
		ctx, cancel := context.WithTimeout(c.ctx, c.cfg.Timeout)
		failed := c.Check(ctx, false)
		cancel()
		enough := failed != nil && c.ctx.Err() == nil && (c.cfg.Failed == nil || c.cfg.Failed(failed))
		c.mu.Lock()
		if c.closed || enough || c.patience.since.IsZero() {
			c.watching = false
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
	}
}

// watchPace is slower for a large cluster: every node is asked, and tells of every other.
func (c *Cluster) watchPace() time.Duration {
	if t := c.topology.Load(); t != nil {
		return watchInterval * time.Duration(1+len(t.members)/20)
	}
	return watchInterval
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
