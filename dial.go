package multidb

import (
	"context"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/blocked"
	"github.com/redishook/multidb/internal/clusterclient"
	"github.com/redishook/multidb/internal/conn"
	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/ownfault"
	"github.com/redishook/multidb/internal/replay"
	"github.com/redishook/multidb/internal/runner"
)

// dialPatience is how long a dial that failed waits for the verdict on its database.
const dialPatience = 2 * time.Second

// DialHook makes the client dial the active database, whatever address it was made with. go-redis calls it; it is pure,
// and what it returns is safe for concurrent use.
//
// It does not call the next hook: how to reach a database is said by the options of that database, and the next hook ends
// in the dialer of the client, whose address may look the same and lead elsewhere (Sentinel clients all have one, TLS and
// tunnels do not show in it). Dial hooks added before this one see every dial, those added after it see none.
func (h *Hook) DialHook(redis.DialHook) redis.DialHook {
	h.mustExist()
	return h.dialFor(conn.NewClient())
}

// dialFor dials for one client.
func (h *Hook) dialFor(traits *conn.Client) redis.DialHook {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return h.dial(ctx, traits, nil)
	}
}

// dial returns a connection of the database that is active when it returns. node is nil unless a ClusterClient dials. It does
// not return an error while there is a caller to hear it: see goredis.DeadConn.
func (h *Hook) dial(ctx context.Context, traits *conn.Client, node *clusterclient.Node) (net.Conn, error) {
	deadline := time.Now().Add(dialPatience)
	if !h.routing.Load() {
		h.routing.Store(true)
	}
	for {
		now := h.selector.Current()
		if now.Down && !h.isClosed() {
			return traits.Unreached(ErrNoDatabase, func(sent bool, cause error) error { return commandError(nil, sent, cause) }), nil
		}
		at, err := nodePlace(ctx, now, node)
		if err == errNotAttached { //nolint:errorlint // returned as it is
			return nil, err
		}
		var nc net.Conn
		if err == nil {
			nc, err = now.DB.Conns.Dial(ctx, &now.Term, traits, at)
		}
		switch {
		case err == nil && nc == nil, now.Superseded() && ctx.Err() == nil:
			// The race with a switch was lost: once more, to the new one. What was dialed is registered, and in nobody's hands.
			if nc != nil {
				_ = nc.Close()
			}
			continue
		case err == nil:
			h.dials.Add(1)
			return nc, nil
		}
		fail := func(sent bool, cause error) error { return nodeError(now.DB, at.Addr, sent, cause) }
		switch {
		case runner.GaveUp(ctx) && !h.opt.DryRun: // or its DialTimeout is over: whoever waits tries again
			return traits.Unreached(err, fail), nil
		case runner.GaveUp(ctx) || h.isClosed():
			return nil, fail(false, err)
		}
		if ownfault.Is(err) {
			h.events.ownFault(now.DB.Name, err)
			return goredis.DeadConn{Err: goredis.Handshake(fail(false, err))}, nil
		}
		verdict := now.DB.Health.Suspect(goredis.Handshake(fail(false, err)))
		if h.opt.DryRun {
			return nil, fail(false, err) // as without the hook
		}
		if !now.Await(ctx, verdict, time.Until(deadline)) || !now.Superseded() {
			return traits.Unreached(err, fail), nil
		}
	}
}

// connConfig is what the connections of a database have in common.
func (h *Hook) connConfig(db *database.Database) conn.Config {
	return conn.Config{
		Options: db.Options, DialLimit: h.opt.DialLimit, Timed: db.Traffic.Timed(), Classes: h.classes, NoDatabase: ErrNoDatabase, Moves: blocked.Here,
		Question: routedRequest, Answer: routedReply{h}, Successor: func() (*conn.Set, *conn.Term) { return h.selector.Current().Successor(db, h.isClosed()) },
	}
}

// classesOf compiles what the ledgers of connections must know of commands.
func classesOf(rules replay.Rules) *conn.Table {
	var harmless []conn.Harmless
	for _, form := range rules.AnyOrder() {
		harmless = append(harmless, conn.Harmless(form))
	}
	return conn.NewTable(harmless, replay.Blocking())
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

func (o owner) Outstanding()               { o.h.wakeMonitor() }
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
