package conn

import (
	"bytes"
	"strings"

	"github.com/redishook/multidb/internal/resp"
)

// Connections to the nodes of a database that is a cluster.

// Place is where within a cluster a connection leads.
type Place struct {
	// Addr is the address of the node.
	Addr string
	// Detour: go-redis takes the connection for one to another node, which is none of the cluster. Nothing may be sent on it but
	// subscriptions, which can be had at any node.
	Detour bool
	// Shards is told of subscriptions to shard channels, which only the node has that has their slot.
	Shards Shards
}

// Shards has the client find the right node for shard channels. Safe for concurrent use.
type Shards interface {
	// Elsewhere is told that a shard channel is subscribed to on a detour. When it returns, the client has the topology of the
	// cluster, if it can be had soon.
	Elsewhere()
	// Moved is told that a node has answered SSUBSCRIBE with a redirect.
	Moved()
}

// shardElsewhere reports whether a request of the SUBSCRIBE family is about shard channels and is on a detour. go-redis dials
// again for the read that fails then, by the topology that it has by that time.
func (c *Conn) shardElsewhere(p []byte) bool {
	if c.place.Shards == nil || !strings.EqualFold(string(resp.CommandName(p)), "ssubscribe") {
		return false
	}
	c.sharded.Store(true)
	if c.place.Detour {
		c.place.Shards.Elsewhere()
	}
	return c.place.Detour
}

// shardMoved reports whether SSUBSCRIBE was answered with a redirect. go-redis does not follow it, and the subscriber would hear
// nothing any more: the connection ends instead.
func (c *Conn) shardMoved(p []byte) bool {
	if c.place.Shards == nil || !c.sharded.Load() || !bytes.HasPrefix(p, []byte("-MOVED ")) {
		return false
	}
	c.local.Store(true) // nobody's evidence
	c.place.Shards.Moved()
	return true
}

// CutNodes closes the connections to nodes for which want is true, and those that are subscribed to shard channels if shards is.
func (s *Set) CutNodes(shards bool, want func(addr string) bool) {
	cutAll(s.matching(func(c *Conn) bool { return shards && c.sharded.Load() || want(c.place.Addr) }))
}

// NodeProgress is what Progress returns, for one node.
type NodeProgress struct {
	Reads       uint64
	Outstanding bool
}

// ProgressByNode is Progress by the address of the node, of open connections.
func (s *Set) ProgressByNode() map[string]NodeProgress {
	nodes := make(map[string]NodeProgress)
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		p := nodes[c.place.Addr]
		p.Reads += c.ledger.Reads()
		p.Outstanding = p.Outstanding || c.owesNow()
		nodes[c.place.Addr] = p
	}
	return nodes
}
