package pubsubwrap

import (
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/cluster"
)

// Databases that are clusters. A shard channel is served by the master of its slot alone, so each slot is followed by a link of
// its own. Channels and patterns are served by every node, which pass their messages on to one another.

// slotFor is the slot of the link that a subscription belongs to.
func (s *Subscriber) slotFor(t topic) int {
	if s.onCluster && t.kind == ShardChannel {
		return cluster.KeySlot(t.name)
	}
	return noSlot
}

// options are those of a connection to a database, for this link.
func (k *link) options(db string) (*redis.Options, error) {
	if k.onCluster {
		return k.hook.NodeOptions(db, k.slot, k.misledAt(db))
	}
	return k.hook.DatabaseOptions(db)
}

// misledAt is when a node that a connection was made to, by what the hook knew, has turned out to be the wrong one.
func (k *link) misledAt(db string) time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.misled[db]
}

// mislead notes that, and has the hook ask the cluster. A node that has become a replica would take the subscription again, and the
// new master may not know yet that this replica is to be told its messages.
func (k *link) mislead(db string) {
	k.mu.Lock()
	if k.misled == nil {
		k.misled = make(map[string]time.Time)
	}
	k.misled[db] = time.Now()
	k.mu.Unlock()
	k.hook.ReportMoved(db)
}

// nodesChanged is closed when a slot of the database may have another node, at which a connection can be made at once.
func (k *link) nodesChanged(db string) <-chan struct{} {
	if !k.onCluster {
		return nil
	}
	return k.hook.NodesChanged(db)
}

// shardChannels are the names of the shard channels that the link is for; nil if it is not for one slot.
func (k *link) shardChannels() (names []string) {
	if k.slot == noSlot {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for t := range k.topics {
		names = append(names, t.name)
	}
	slices.Sort(names)
	return names
}

// servedElsewhere reports an answer to SSUBSCRIBE by which a node says that the slot is served by another node, or by none at
// the moment. Another attempt finds the node.
func servedElsewhere(err error) bool {
	if _, moved := redis.IsMovedError(err); moved {
		return true
	}
	_, ask := redis.IsAskError(err)
	return ask || redis.IsClusterDownError(err) || redis.IsTryAgainError(err)
}

// handoverMargin is how long before a node ends a subscription by itself another node may have had the slot: the cluster
// tells its nodes one after the other, and publishers that know already are not heard until then.
const handoverMargin = time.Second

// cutOff notes that a node has given away what the connection is subscribed to. What publishers have sent to the new node
// meanwhile is missing.
func (l *subConn) cutOff() {
	if !l.link.onCluster {
		return
	}
	l.lostAt.Store(min(l.lastRead.Load(), now()-int64(handoverMargin)))
	l.link.mislead(l.db)
}

// checkNode ends a connection to a node that its cluster has replaced, or has forgotten: it says nothing of that itself.
func (l *subConn) checkNode() {
	if l.link.onCluster && l.alive() && l.link.hook.NodeReplaced(l.db, l.addr, l.link.slot) {
		l.cutOff()
		l.kill()
	}
}

// retire ends the link of a slot that nothing is wanted of any more, once the last subscription has ended on the server:
// until then, a link that takes its place might receive the same message.
func (s *Subscriber) retire(k *link, kind Kind, names []string) {
	s.mu.Lock()
	changes := k.changes
	s.mu.Unlock()
	_ = k.await(s.ctx, func(l *subConn) (bool, error) { return k.unsubscribed(l, kind, names) })
	s.mu.Lock()
	defer s.mu.Unlock()
	k.mu.Lock()
	unused := len(k.topics) == 0
	k.mu.Unlock()
	if unused && k.changes == changes && s.links[k.slot] == k {
		delete(s.links, k.slot)
		k.cancel()
	}
}
