package multidb

import (
	"time"

	"github.com/redishook/multidb/internal/blocked"
	"github.com/redishook/multidb/internal/conn"
	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/replay"
)

// The hook as the owner of connections.

// connConfig is what the connections of a database have in common.
func connConfig(h *Hook, db *database.Database) conn.Config {
	return conn.Config{
		Options: db.Options, DialLimit: h.opt.DialLimit, Timed: db.Traffic.Timed(), Classes: h.classes, NoDatabase: ErrNoDatabase, Moves: blocked.Here,
		Question: routedRequest, Answer: routedReply{h},
		Successor: func() (*conn.Set, *conn.Term) { return h.selector.Current().Successor(db, h.isClosed()) },
	}
}

// classesOf compiles what the ledgers of connections must know of commands.
func classesOf(rules replay.Rules) *conn.Table {
	return conn.NewTable(rules.InOrder(), replay.Blocking())
}

// owner is a database as its connections see it.
type owner struct {
	h  *Hook
	db *database.Database
}

func (o owner) Open() (here, somewhere bool) {
	now := o.h.selector.Current()
	return now.DB == o.db && !now.Down, !now.Down
}

func (o owner) Outstanding()               { o.h.monitor.Wake() }
func (o owner) LateRequest()               { o.h.lateRequests.Add(1) }
func (o owner) Replied(took time.Duration) { o.db.Traffic.Replied(took) }
func (o owner) Suspect(err error)          { o.db.Health.Suspect(err) }
func (o owner) Fail(node string, sent bool, cause error) error {
	return nodeError(o.db, node, sent, cause)
}

func (o owner) WatchConnect(what string, over func() bool) (stop func()) {
	return o.db.Health.WatchConnect(what, over)
}

func (o owner) IndexConflict(own int, client string) {
	o.h.events.indexConflict(o.db.Name, own, client)
}
