package clustertest

import (
	"context"
	"errors"
	"strings"
	"time"
)

// What can happen to a cluster.

const settleTimeout = 40 * time.Second

// Kill ends all nodes as a crash does.
func (g *Group) Kill() error { return g.each(func(n *Node) error { return n.Server.Kill() }) }

// Stop makes all nodes hang (SIGSTOP).
func (g *Group) Stop() error { return g.each(func(n *Node) error { return n.Server.Stop() }) }

// Cont wakes all stopped nodes up.
func (g *Group) Cont() error { return g.each(func(n *Node) error { return n.Server.Cont() }) }

// Revive starts all nodes again, each with what its disk knows of the cluster. The data is back only with Persist. The cluster
// serves nobody for two more seconds, but can be asked for its sums.
func (g *Group) Revive() error { return g.each(func(n *Node) error { return n.Server.Restart() }) }

// Restart is [Group.Revive], and waits until the cluster is up.
func (g *Group) Restart() error {
	if err := g.Revive(); err != nil {
		return err
	}
	return g.AwaitOK()
}

// AwaitOK waits until every node says that the cluster is up and that all slots are served. All nodes must live.
func (g *Group) AwaitOK() error {
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	return g.await(ctx, "all nodes say that the cluster is up", func() error {
		for _, n := range g.Nodes {
			info, err := n.Client().ClusterInfo(ctx).Result()
			if err != nil {
				return err
			}
			if !strings.Contains(info, "cluster_state:ok\r") || !strings.Contains(info, "cluster_slots_ok:16384\r") {
				return errors.New(n.Addr() + " does not say so")
			}
		}
		return nil
	})
}

// Failover promotes a replica whose master lives (CLUSTER FAILOVER) and returns when it is a master and every living node
// knows.
func (g *Group) Failover(replica *Node) error {
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	if err := replica.Client().Do(ctx, "cluster", "failover").Err(); err != nil {
		return err
	}
	return g.await(ctx, "a replica is promoted", func() error {
		if !replica.IsMaster() {
			return errors.New("it is a replica")
		}
		for _, n := range g.Nodes {
			nodes, err := n.Client().ClusterNodes(ctx).Result()
			if err != nil {
				continue
			}
			for line := range strings.Lines(nodes) {
				if strings.HasPrefix(line, replica.ID) && !strings.Contains(line, "master") {
					return errors.New(n.Addr() + " does not know")
				}
			}
		}
		return nil
	})
}

// IsMaster reports whether the node says that it is a master; false if it does not answer.
func (n *Node) IsMaster() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	role, _ := n.Client().Do(ctx, "role").Slice()
	return len(role) > 0 && role[0] == "master"
}

// AwaitMaster waits until a node has become a master, and returns how long that took.
func (g *Group) AwaitMaster(n *Node) (time.Duration, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	err := g.await(ctx, "a replica takes over", func() error {
		if n.IsMaster() {
			return nil
		}
		return errors.New("it is a replica")
	})
	return time.Since(began), err
}

// Kill is [Group.Kill].
func (c *Cluster) Kill() { c.tb.Helper(); c.check("Kill", c.Group.Kill()) }

// Stop is [Group.Stop].
func (c *Cluster) Stop() { c.tb.Helper(); c.check("Stop", c.Group.Stop()) }

// Cont is [Group.Cont].
func (c *Cluster) Cont() { c.tb.Helper(); c.check("Cont", c.Group.Cont()) }

// Revive is [Group.Revive].
func (c *Cluster) Revive() { c.tb.Helper(); c.check("Revive", c.Group.Revive()) }

// Restart is [Group.Restart].
func (c *Cluster) Restart() { c.tb.Helper(); c.check("Restart", c.Group.Restart()) }

// AwaitOK is [Group.AwaitOK].
func (c *Cluster) AwaitOK() { c.tb.Helper(); c.check("AwaitOK", c.Group.AwaitOK()) }

// Failover is [Group.Failover].
func (c *Cluster) Failover(replica *Node) {
	c.tb.Helper()
	c.check("Failover", c.Group.Failover(replica))
}

// AwaitMaster is [Group.AwaitMaster].
func (c *Cluster) AwaitMaster(n *Node) time.Duration {
	c.tb.Helper()
	took, err := c.Group.AwaitMaster(n)
	c.check("AwaitMaster", err)
	return took
}
