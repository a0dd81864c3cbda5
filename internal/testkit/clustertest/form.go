package clustertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redishook/multidb/internal/testkit/redistest"
)

// How single servers become a cluster.

const (
	formTimeout = 40 * time.Second
	// formPace is the node timeout while a cluster forms: with a longer one, nodes hear of each other more slowly.
	formPace  = 2 * time.Second
	slotCount = 16384
)

// startNodes starts the processes, all at once.
func (g *Group) startNodes(ctx context.Context) error {
	g.Nodes = make([]*Node, g.cfg.Masters*(1+g.cfg.Replicas))
	started := make([]*redistest.Server, len(g.Nodes))
	errs := make(chan error)
	for i := range started {
		go func() {
			var err error
			started[i], err = g.startNode(ctx)
			errs <- err
		}()
	}
	var failed []error
	for range started {
		failed = append(failed, <-errs)
	}
	g.Nodes = g.Nodes[:0]
	for _, server := range started {
		if server != nil {
			g.Nodes = append(g.Nodes, &Node{Server: server})
		}
	}
	return errors.Join(failed...)
}

// startNode starts one process in cluster mode. Another process may take the port of the bus first: then it tries another.
func (g *Group) startNode(ctx context.Context) (server *redistest.Server, err error) {
	for range 10 {
		port, bus := freePort(26000), freePort(12000)
		cfg := g.cfg.Node
		cfg.Port = port
		cfg.Lines = append([]string{
			"cluster-enabled yes",
			fmt.Sprintf("cluster-port %d", bus),
			fmt.Sprintf("cluster-node-timeout %d", g.cfg.NodeTimeout.Milliseconds()),
			"cluster-announce-ip 127.0.0.1",
			fmt.Sprintf("cluster-announce-port %d", port), // the port for TLS is told to nobody otherwise
			"cluster-migration-barrier 999",               // no replica changes its master by itself
			"repl-diskless-sync yes", "repl-diskless-sync-delay 0", "repl-ping-replica-period 1",
		}, g.cfg.Node.Lines...)
		if cfg.Password != "" {
			cfg.Lines = append(cfg.Lines, "masterauth "+strconv.Quote(cfg.Password))
		}
		server, err = redistest.Run(ctx, cfg)
		if err == nil || errors.Is(err, redistest.ErrNotInstalled) || ctx.Err() != nil {
			return server, err
		}
	}
	return nil, err
}

// freePort returns a port that nothing listens on, from the 6,000 that begin with the given one. They are below the ephemeral
// range: while a node is down, a client's outgoing connection must not be given its port.
func freePort(from int) int {
	for {
		port := from + rand.IntN(6000)
		ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			_ = ln.Close()
			return port
		}
	}
}

// form makes one cluster of the nodes and waits until all of them say so.
func (g *Group) form(ctx context.Context) error {
	for i, n := range g.Nodes {
		id, err := n.Client().Do(ctx, "cluster", "myid").Text()
		if err != nil {
			return err
		}
		n.ID = id
		if err := n.timeout(ctx, min(formPace, g.cfg.NodeTimeout)); err != nil {
			return err
		}
		if i >= g.Masters {
			continue
		}
		from, to := g.slotsOf(i)
		if err := n.Client().Do(ctx, "cluster", "addslotsrange", from, to).Err(); err != nil {
			return err
		}
		if err := n.Client().Do(ctx, "cluster", "set-config-epoch", i+1).Err(); err != nil {
			return err
		}
	}
	// Everybody meets everybody: gossip alone would take seconds.
	for _, n := range g.Nodes {
		for _, other := range g.Nodes {
			host, port, _ := net.SplitHostPort(other.Addr())
			bus := other.configured(ctx, "cluster-port")
			if other == n || bus == "" {
				continue
			}
			if err := n.Client().Do(ctx, "cluster", "meet", host, port, bus).Err(); err != nil {
				return err
			}
		}
	}
	for i, n := range g.Nodes[g.Masters:] {
		if err := n.follow(ctx, g.Nodes[i%g.Masters].ID); err != nil {
			return err
		}
	}
	if err := g.allFormed(ctx); err != nil {
		return err
	}
	return g.each(func(n *Node) error { return n.timeout(ctx, g.cfg.NodeTimeout) })
}

// timeout sets cluster-node-timeout until the node is restarted.
func (n *Node) timeout(ctx context.Context, d time.Duration) error {
	return n.Client().ConfigSet(ctx, "cluster-node-timeout", strconv.FormatInt(d.Milliseconds(), 10)).Err()
}

// slotsOf are the slots that a master is given.
func (g *Group) slotsOf(master int) (from, to int) {
	return master * slotCount / g.Masters, (master+1)*slotCount/g.Masters - 1
}

// configured returns one value of a node's configuration.
func (n *Node) configured(ctx context.Context, name string) string {
	return n.Client().ConfigGet(ctx, name).Val()[name]
}

// follow makes a node the replica of another, as soon as it knows that one.
func (n *Node) follow(ctx context.Context, master string) error {
	for {
		err := n.Client().Do(ctx, "cluster", "replicate", master).Err()
		if err == nil || !strings.Contains(err.Error(), "Unknown node") {
			return err
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// allFormed waits until every node misses nothing.
func (g *Group) allFormed(ctx context.Context) error {
	return g.await(ctx, "the cluster is formed", func() error {
		for i, n := range g.Nodes {
			if err := g.formed(ctx, n, i >= g.Masters); err != nil {
				return fmt.Errorf("node %d: %w", i, err)
			}
		}
		return nil
	})
}

// formed reports what a node misses still.
func (g *Group) formed(ctx context.Context, n *Node, replica bool) error {
	info, err := n.Client().ClusterInfo(ctx).Result()
	if err != nil {
		return err
	}
	for _, want := range []string{"cluster_state:ok", "cluster_slots_ok:16384", fmt.Sprintf("cluster_known_nodes:%d", len(g.Nodes))} {
		if !strings.Contains(info, want+"\r") {
			return errors.New("not " + want)
		}
	}
	slots, err := n.Client().ClusterSlots(ctx).Result() //nolint:staticcheck // the reply that go-redis itself asks for
	if err != nil {
		return err
	}
	for _, slot := range slots {
		if len(slot.Nodes) != 1+g.cfg.Replicas {
			return fmt.Errorf("slots %d to %d have %d nodes", slot.Start, slot.End, len(slot.Nodes))
		}
	}
	if replica && !strings.Contains(n.Client().Info(ctx, "replication").Val(), "master_link_status:up") {
		return errors.New("its replication is not up")
	}
	return nil
}

// await asks again and again until there is no error.
func (g *Group) await(ctx context.Context, what string, holds func() error) error {
	for {
		missing := holds()
		if missing == nil {
			return nil
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("clustertest: waited in vain: %s: %w", what, missing)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
