package clustertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// Who has which slots, and slots that move.

// Slot asks a node for the slot of a key.
func (g *Group) Slot(key string) (int, error) {
	var failed []error
	for _, n := range g.Nodes {
		slot, err := n.Client().ClusterKeySlot(context.Background(), key).Result()
		if err == nil {
			return int(slot), nil
		}
		failed = append(failed, err)
	}
	return 0, errors.Join(failed...)
}

// Owner asks the nodes that live for the master of a slot; nil if nobody knows.
func (g *Group) Owner(slot int) *Node {
	for _, n := range g.Nodes {
		slots, err := n.Client().ClusterSlots(context.Background()).Result() //nolint:staticcheck // the reply that go-redis itself asks for
		if err != nil {
			continue
		}
		for _, s := range slots {
			if s.Start <= slot && slot <= s.End && len(s.Nodes) > 0 {
				return g.ByAddr(s.Nodes[0].Addr)
			}
		}
	}
	return nil
}

// MoveSlots moves slots with their keys from one master to another, one after the other, as an administrator does: clients
// meet ASK, TRYAGAIN and then MOVED.
func (g *Group) MoveSlots(from, to *Node, slots ...int) error {
	ctx := context.Background()
	for _, slot := range slots {
		if err := to.Client().Do(ctx, "cluster", "setslot", slot, "importing", from.ID).Err(); err != nil {
			return err
		}
		if err := from.Client().Do(ctx, "cluster", "setslot", slot, "migrating", to.ID).Err(); err != nil {
			return err
		}
		if err := migrateKeys(ctx, from, to, slot); err != nil {
			return err
		}
		if err := g.assign(ctx, from, to, slot); err != nil {
			return err
		}
	}
	return nil
}

// migrateKeys moves what is in a slot.
func migrateKeys(ctx context.Context, from, to *Node, slot int) error {
	host, port, _ := net.SplitHostPort(to.Addr())
	login := to.Options()
	for {
		keys, err := from.Client().ClusterGetKeysInSlot(ctx, slot, 100).Result()
		if err != nil || len(keys) == 0 {
			return err
		}
		args := []any{"migrate", host, port, "", 0, 5000, "AUTH2", login.Username, login.Password, "KEYS"}
		for _, key := range keys {
			args = append(args, key)
		}
		if err := from.Client().Do(ctx, args...).Err(); err != nil {
			return err
		}
	}
}

// assign tells the masters whose a slot is: first the new owner, so that there is one at every moment.
func (g *Group) assign(ctx context.Context, from, to *Node, slot int) error {
	for _, n := range []*Node{to, from} {
		if err := n.Client().Do(ctx, "cluster", "setslot", slot, "node", to.ID).Err(); err != nil {
			return err
		}
	}
	for _, n := range g.Nodes {
		if n != to && n != from && n.IsMaster() {
			if err := n.Client().Do(ctx, "cluster", "setslot", slot, "node", to.ID).Err(); err != nil {
				return err
			}
		}
	}
	return nil
}

// MoveSlots is [Group.MoveSlots].
func (c *Cluster) MoveSlots(from, to *Node, slots ...int) {
	c.tb.Helper()
	c.check("MoveSlots", c.Group.MoveSlots(from, to, slots...))
}

// Sum adds up all counters whose key has a prefix, over all nodes that are masters. A cluster that is not up yet is no
// hindrance.
func (g *Group) Sum(prefix string) (int64, error) {
	var sum atomic.Int64
	err := g.each(func(n *Node) error {
		if !n.IsMaster() {
			return nil
		}
		ctx := context.Background()
		if err := n.Client().ConfigSet(ctx, "cluster-allow-reads-when-down", "yes").Err(); err != nil {
			return err
		}
		keys, err := n.Client().Keys(ctx, prefix+"*").Result()
		if err != nil {
			return err
		}
		values, err := n.Client().Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for _, key := range keys {
				pipe.Get(ctx, key)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for i, value := range values {
			count, err := value.(*redis.StringCmd).Int64()
			if err != nil {
				return fmt.Errorf("%s: %w", keys[i], err)
			}
			sum.Add(count)
		}
		if slices.Contains(g.cfg.Node.Lines, "cluster-allow-reads-when-down yes") {
			return nil
		}
		return n.Client().ConfigSet(ctx, "cluster-allow-reads-when-down", "no").Err()
	})
	return sum.Load(), err
}

// Sum is [Group.Sum].
func (c *Cluster) Sum(prefix string) int64 {
	c.tb.Helper()
	sum, err := c.Group.Sum(prefix)
	c.check("Sum", err)
	return sum
}

// Calls is how often a node has executed a command, as it says itself, 0 if it does not answer.
func (n *Node) Calls(command string) int64 {
	stats := n.Client().Info(context.Background(), "commandstats").Val()
	_, rest, found := strings.Cut(stats, "cmdstat_"+strings.ToLower(command)+":calls=")
	if !found {
		return 0
	}
	digits, _, _ := strings.Cut(rest, ",")
	calls, _ := strconv.ParseInt(digits, 10, 64)
	return calls
}

// Denied is how many entries the ACL LOGs of all nodes have: logins that were refused, and commands that were not permitted.
func (g *Group) Denied() (int, error) {
	var mu sync.Mutex
	denied := 0
	err := g.each(func(n *Node) error {
		log, err := n.Client().Do(context.Background(), "acl", "log").Slice()
		mu.Lock()
		denied += len(log)
		mu.Unlock()
		return err
	})
	return denied, err
}

// Denied is [Group.Denied].
func (c *Cluster) Denied() int {
	c.tb.Helper()
	denied, err := c.Group.Denied()
	c.check("Denied", err)
	return denied
}
