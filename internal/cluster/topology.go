// Package cluster knows one Redis Cluster from outside: who serves which slot, whether the cluster is well, and what becomes
// of the commands of a pipeline that was split by node. It knows nothing of the hook.
package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"

	"github.com/redis/go-redis/v9"
)

// Slots is the number of slots of every cluster.
const Slots = 16384

// noOwner stands for a slot that nobody serves.
const noOwner = -1

// Topology says which node serves which slot. It never changes once made. Safe for concurrent use.
type Topology struct {
	epoch    int64
	slots    []redis.ClusterSlot // sorted, without overlaps
	owners   [Slots]int32        // indexes of masters, or noOwner
	covered  int
	masters  []string
	replicas map[string][]string // by master
	members  map[string]struct{}
}

// errNoSlots: a node that knows no slots says nothing about its cluster.
var errNoSlots = errors.New("the topology is empty")

// NewTopology makes a topology of what CLUSTER SLOTS has answered, with addresses as [Resolve] makes them. It refuses what
// makes no sense: no slots, a slot with two owners, numbers out of range, a master without an address.
func NewTopology(slots []redis.ClusterSlot, epoch int64) (*Topology, error) {
	if len(slots) == 0 {
		return nil, errNoSlots
	}
	t := &Topology{epoch: epoch, slots: cloneSlots(slots), replicas: make(map[string][]string), members: make(map[string]struct{})}
	slices.SortFunc(t.slots, func(a, b redis.ClusterSlot) int { return a.Start - b.Start })
	for i := range t.owners {
		t.owners[i] = noOwner
	}
	for _, s := range t.slots {
		if err := t.add(s); err != nil {
			return nil, err
		}
	}
	if len(t.masters) == 0 {
		return nil, errNoSlots
	}
	return t, nil
}

// add puts one range of slots into a topology that is being made.
func (t *Topology) add(s redis.ClusterSlot) error {
	if s.Start < 0 || s.End >= Slots || s.Start > s.End {
		return fmt.Errorf("slots %d to %d: out of range", s.Start, s.End)
	}
	if len(s.Nodes) == 0 {
		return nil // nobody serves them
	}
	for i, n := range s.Nodes {
		if _, _, err := net.SplitHostPort(n.Addr); err != nil {
			return fmt.Errorf("slots %d to %d: a node has no address: %w", s.Start, s.End, err)
		}
		t.members[n.Addr] = struct{}{}
		if master := s.Nodes[0].Addr; i > 0 && !slices.Contains(t.replicas[master], n.Addr) {
			t.replicas[master] = append(t.replicas[master], n.Addr)
		}
	}
	owner := slices.Index(t.masters, s.Nodes[0].Addr)
	if owner < 0 {
		owner = len(t.masters)
		t.masters = append(t.masters, s.Nodes[0].Addr)
	}
	for slot := s.Start; slot <= s.End; slot++ {
		if t.owners[slot] != noOwner {
			return fmt.Errorf("slot %d has two owners", slot)
		}
		t.owners[slot] = int32(owner)
	}
	t.covered += s.End - s.Start + 1
	return nil
}

// Epoch is the epoch of the cluster at which this was its topology.
func (t *Topology) Epoch() int64 { return t.epoch }

// Owner returns the master that serves a slot; false if nobody does.
func (t *Topology) Owner(slot int) (addr string, ok bool) {
	if slot < 0 || slot >= Slots || t.owners[slot] == noOwner {
		return "", false
	}
	return t.masters[t.owners[slot]], true
}

// AnyMaster returns one of the masters, another one each time.
func (t *Topology) AnyMaster() string { return t.masters[rand.IntN(len(t.masters))] }

// Masters are the nodes that serve slots, in the order of those. Not to be changed.
func (t *Topology) Masters() []string { return t.masters }

// Replicas are those of a master. Not to be changed.
func (t *Topology) Replicas(master string) []string { return t.replicas[master] }

// AllReplicas are those of all masters.
func (t *Topology) AllReplicas() []string {
	var all []string
	for _, master := range t.masters {
		all = append(all, t.replicas[master]...)
	}
	return all
}

// Members are all nodes, sorted.
func (t *Topology) Members() []string {
	all := make([]string, 0, len(t.members))
	for addr := range t.members {
		all = append(all, addr)
	}
	slices.Sort(all)
	return all
}

// Has reports whether an address is that of a node of the cluster.
func (t *Topology) Has(addr string) bool {
	_, ok := t.members[addr]
	return ok
}

// Covered is how many slots have an owner.
func (t *Topology) Covered() int { return t.covered }

// SameOwners reports whether every slot has the same owner in both.
func (t *Topology) SameOwners(other *Topology) bool {
	for slot := range Slots {
		a, _ := t.Owner(slot)
		b, _ := other.Owner(slot)
		if a != b {
			return false
		}
	}
	return true
}

// Equal reports whether slots, owners and replicas are the same in both; the epoch does not count.
func (t *Topology) Equal(other *Topology) bool {
	if !slices.Equal(t.Members(), other.Members()) || !t.SameOwners(other) {
		return false
	}
	for _, master := range t.masters {
		mine, others := slices.Clone(t.replicas[master]), slices.Clone(other.replicas[master])
		slices.Sort(mine)
		slices.Sort(others)
		if !slices.Equal(mine, others) {
			return false
		}
	}
	return true
}

// Answer puts the topology into a CLUSTER SLOTS in the place of a server's answer.
func (t *Topology) Answer(cmd *redis.ClusterSlotsCmd) {
	cmd.SetErr(nil)
	cmd.SetVal(cloneSlots(t.slots))
}

func cloneSlots(slots []redis.ClusterSlot) []redis.ClusterSlot {
	out := slices.Clone(slots)
	for i := range out {
		out[i].Nodes = slices.Clone(out[i].Nodes)
	}
	return out
}

// Resolve makes of the addresses that a node has answered what go-redis makes of them (newClusterState): a loopback address
// that comes from another host is one of that host, and port 0 is the port of the node that was asked. A node that does not
// know its own address has none: it is at the address at which it was asked.
func Resolve(slots []redis.ClusterSlot, origin string) []redis.ClusterSlot {
	host, port, err := net.SplitHostPort(origin)
	if err != nil {
		return cloneSlots(slots)
	}
	out := cloneSlots(slots)
	for i := range out {
		for j := range out[i].Nodes {
			h, p, err := net.SplitHostPort(out[i].Nodes[j].Addr)
			if err != nil {
				continue
			}
			ip := net.ParseIP(h)
			if h == "" || !IsLoopback(host) && ip != nil && ip.IsLoopback() {
				h = host
			}
			if p == "0" && port != "" {
				p = port
			}
			out[i].Nodes[j].Addr = net.JoinHostPort(h, p)
		}
	}
	return out
}
