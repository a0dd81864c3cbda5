package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"
)

// One topology of what several nodes say.

// Merge makes the topology of a cluster from the views of its nodes. Nodes learn of a change one after the other, and a
// master that is cut off does not learn that it has been replaced. So it is decided as the nodes do it among themselves:
//
//  1. Who says of himself that he serves a slot has the word about it, before those who say it of others.
//  2. Of two who say so, the one with the younger epoch of his own has it.
//  3. For the rest, the view of a node that says the cluster is up goes before the others, then the younger epoch.
//
// The error says what each node has answered, if none of them knows any slot.
func Merge(views map[string]View) (*Topology, error) {
	all := make([]View, 0, len(views))
	for _, v := range views {
		if v.Err == nil && len(v.Slots) > 0 {
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		return nil, noViews(views)
	}
	slices.SortFunc(all, byCredit)
	base, err := NewTopology(all[0].Slots, all[0].Epoch)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", all[0].Addr, err)
	}
	if len(all) == 1 {
		return base, nil
	}
	return base.corrected(all)
}

// byCredit sorts the view that is believed first to the front.
func byCredit(a, b View) int {
	switch {
	case a.OK != b.OK && a.OK:
		return -1
	case a.OK != b.OK:
		return 1
	case a.Epoch != b.Epoch:
		return cmp.Compare(b.Epoch, a.Epoch)
	}
	return cmp.Compare(a.Addr, b.Addr)
}

// corrected gives each slot to who says of himself that he serves it.
func (t *Topology) corrected(views []View) (*Topology, error) {
	var owners [Slots]redis.ClusterSlot
	var claims [Slots]int64
	for _, s := range t.slots {
		for slot := s.Start; slot <= s.End; slot++ {
			owners[slot], claims[slot] = s, -1
		}
	}
	for _, v := range views {
		for _, s := range v.Slots {
			if len(s.Nodes) == 0 || v.ID == "" || s.Nodes[0].ID != v.ID || s.Start < 0 || s.End >= Slots {
				continue
			}
			for slot := s.Start; slot <= s.End; slot++ {
				if len(owners[slot].Nodes) == 0 || v.MyEpoch > claims[slot] {
					owners[slot], claims[slot] = s, v.MyEpoch
				}
			}
		}
	}
	var slots []redis.ClusterSlot
	for slot := range Slots {
		s := owners[slot]
		if len(s.Nodes) == 0 {
			continue
		}
		if last := len(slots) - 1; last >= 0 && slots[last].End == slot-1 && sameNodes(slots[last].Nodes, s.Nodes) {
			slots[last].End = slot
			continue
		}
		slots = append(slots, redis.ClusterSlot{Start: slot, End: slot, Nodes: s.Nodes})
	}
	return NewTopology(slots, views[0].Epoch)
}

func sameNodes(a, b []redis.ClusterNode) bool {
	return slices.EqualFunc(a, b, func(a, b redis.ClusterNode) bool { return a.Addr == b.Addr })
}

// noViews says why there is no topology.
func noViews(views map[string]View) error {
	errs := []error{errNoSlots}
	for _, v := range views {
		switch {
		case v.Err != nil:
			errs = append(errs, fmt.Errorf("node %s: %w", v.Addr, v.Err))
		case v.Limited:
			errs = append(errs, fmt.Errorf("node %s: its user may not ask for CLUSTER SLOTS", v.Addr))
		}
	}
	return errors.Join(errs...)
}
