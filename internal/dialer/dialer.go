// Package dialer gives a client the connections that it asks for: of the database that is in use when they are made.
package dialer

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/clusterclient"
	"github.com/redishook/multidb/internal/conn"
	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/failure"
	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/ownfault"
	"github.com/redishook/multidb/internal/selector"
)

// dialPatience is how long a dial that failed waits for the verdict on its database.
const dialPatience = 2 * time.Second

// Config is what a dialer is made of. It must not be changed.
type Config struct {
	Choice *selector.Selector
	Errors failure.Errors
	DryRun bool
	// MaxWait is how long full duplex waits for a database to be usable.
	MaxWait time.Duration
	// Ctx ends when the hook is closed.
	Ctx context.Context
	// OwnFault is told of an error that no database is to blame for.
	OwnFault func(database string, err error)
}

// Dialer dials for clients. Safe for concurrent use.
type Dialer struct {
	cfg     Config
	routing atomic.Bool
	dials   atomic.Uint64
}

// New makes a dialer.
func New(cfg Config) *Dialer { return &Dialer{cfg: cfg} }

// Routing reports whether a client has asked for a connection. Before that, what passes the hook is over the connections of others.
func (d *Dialer) Routing() bool { return d.routing.Load() }

// Dials returns how many connections were dialed.
func (d *Dialer) Dials() uint64 { return d.dials.Load() }

func (d *Dialer) isClosed() bool { return d.cfg.Ctx.Err() != nil }

// Hook is the dial hook of one client.
func (d *Dialer) Hook(traits *conn.Client) redis.DialHook {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.Dial(ctx, traits, nil)
	}
}

// Dial returns a connection of the database that is active when it returns. node is nil unless a ClusterClient dials. It does
// not return an error while there is a caller to hear it: see goredis.DeadConn.
func (d *Dialer) Dial(ctx context.Context, traits *conn.Client, node *clusterclient.Node) (net.Conn, error) {
	deadline := time.Now().Add(dialPatience)
	if !d.routing.Load() {
		d.routing.Store(true)
	}
	for {
		now := d.cfg.Choice.Current()
		if now.Down && !d.isClosed() {
			return d.unreached(traits, nil, "", database.ErrNone), nil
		}
		at, err := nodePlace(ctx, now, node)
		if err == ErrNotAttached { //nolint:errorlint // returned as it is
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
			d.dials.Add(1)
			return nc, nil
		}
		switch {
		case failure.GaveUp(ctx) && !d.cfg.DryRun: // or its DialTimeout is over: whoever waits tries again
			return d.unreached(traits, now.DB, at.Addr, err), nil
		case failure.GaveUp(ctx) || d.isClosed():
			return nil, d.fail(now.DB, at.Addr, false, err)
		}
		if ownfault.Is(err) {
			now.DB.Traffic.OwnFaults.Add(1)
			d.cfg.OwnFault(now.DB.Name, err)
			return goredis.DeadConn{Err: goredis.Handshake(d.fail(now.DB, at.Addr, false, err))}, nil
		}
		verdict := now.DB.Health.Suspect(goredis.Handshake(d.fail(now.DB, at.Addr, false, err)))
		if d.cfg.DryRun {
			return nil, d.fail(now.DB, at.Addr, false, err) // as without the hook
		}
		if !now.Await(ctx, verdict, time.Until(deadline)) || !now.Superseded() {
			return d.unreached(traits, now.DB, at.Addr, err), nil
		}
	}
}

// unreached is what go-redis gets in place of a connection that could not be dialed.
func (d *Dialer) unreached(traits *conn.Client, db *database.Database, node string, err error) net.Conn {
	return traits.Unreached(err, func(sent bool, cause error) error {
		if d.awaitForFullDuplex(traits) {
			cause = conn.Refusal("a database is usable again")
		}
		return d.fail(db, node, sent, cause)
	})
}

// awaitForFullDuplex lets full duplex wait for a database. It runs a command whatever its hooks say, so they cannot wait in its place.
// It reports whether one was not usable and is again. go-redis asks for a connection of its pipelines first, and then for one of its
// other pool. Who has waited in vain for the first one does not wait for the second.
func (d *Dialer) awaitForFullDuplex(traits *conn.Client) bool {
	if d.cfg.MaxWait <= 0 || !d.cfg.Choice.Current().Down || !goredis.InFullDuplex() || traits.WaitedInVain.Swap(false) {
		return false
	}
	timer := time.NewTimer(d.cfg.MaxWait)
	defer timer.Stop()
	for now := d.cfg.Choice.Current(); now.Down; now = d.cfg.Choice.Current() {
		select {
		case <-now.Over():
		case <-timer.C:
			traits.WaitedInVain.Store(true)
			return false
		case <-d.cfg.Ctx.Done():
			return false
		}
	}
	return true
}

// fail is the error of a dial.
func (d *Dialer) fail(db *database.Database, node string, sent bool, cause error) error {
	f := failure.On(db, sent, cause)
	f.Node = node
	return d.cfg.Errors.New(f)
}
