package cluster

import (
	"context"
	"slices"
	"time"
)

// scout looks for the end of a takeover beside the watch: a check waits for nodes that are silent, which a scout does not ask.
// It makes news of two things: a node has become the master of slots, and all nodes say again that the cluster is up, without
// which a master refuses commands.
func (c *Cluster) scout(ctx context.Context) {
	for up := true; ; {
		pause(ctx, c.watchPace()/2)
		t := c.topology.Load()
		if ctx.Err() != nil {
			return
		}
		if t == nil {
			continue
		}
		asked, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
		began := time.Now()
		views := Survey(asked, c.cfg.Asker, c.answering(t), all, c.spawn, 0, nil)
		cancel()
		if ctx.Err() != nil || len(views) == 0 {
			continue
		}
		_, _ = c.learn(views, began) // the checks tell what is wrong
		before := up
		up = allUp(views)
		if up && !before {
			c.announce()
		}
	}
}

// answering are the nodes that the last survey has not found silent.
func (c *Cluster) answering(t *Topology) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(t.Members(), func(addr string) bool { return c.last.Silent[addr] })
}

// allUp reports whether every node that has answered says that the cluster is up.
func allUp(views map[string]View) bool {
	for _, v := range views {
		if v.Err == nil && !v.OK && !v.Limited {
			return false
		}
	}
	return true
}
