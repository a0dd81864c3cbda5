package multidb

import (
	"context"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/goredis"
)

// dialPatience is how long a dial that failed waits for the verdict on its database.
const dialPatience = 2 * time.Second

// DialHook makes the client dial the active database, whatever address it was made with. go-redis calls it; it is pure,
// and what it returns is safe for concurrent use.
//
// It does not call the next hook: how to reach a database is said by the options of that database, and the next hook ends
// in the dialer of the client, whose address may look the same and lead elsewhere (Sentinel clients all have one, TLS and
// tunnels do not show in it). Dial hooks added before this one see every dial, those added after it see none.
func (h *Hook) DialHook(redis.DialHook) redis.DialHook { return h.dialFor(&clientTraits{}) }

// dialFor dials for one client.
func (h *Hook) dialFor(traits *clientTraits) redis.DialHook {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return h.dial(ctx, traits)
	}
}

// dial returns a connection of the database that is active when it returns. It does not return an error while there
// is a caller to hear it: see goredis.DeadConn.
func (h *Hook) dial(ctx context.Context, traits *clientTraits) (net.Conn, error) {
	deadline := time.Now().Add(dialPatience)
	if !h.routing.Load() {
		h.routing.Store(true)
	}
	for {
		now := h.active.Load()
		if now.down && !h.isClosed() {
			return goredis.DeadConn{Err: goredis.Handshake(commandError(nil, false, ErrNoDatabase))}, nil
		}
		nc, err := h.dialDatabase(ctx, now, traits)
		switch {
		case err == nil && nc == nil, now.superseded() && ctx.Err() == nil:
			// The race with a switch was lost: once more, to the new one. What was dialed is registered, and in nobody's hands.
			if nc != nil {
				_ = nc.Close()
			}
			continue
		case err == nil:
			return nc, nil
		case callerGaveUp(ctx) || h.isClosed():
			return nil, commandError(now.db, false, err)
		}
		failed := commandError(now.db, false, err)
		verdict := h.suspect(now.db, failed)
		if h.opt.DryRun {
			return nil, failed // as without the hook
		}
		if !await(ctx, now, verdict, time.Until(deadline)) || !now.superseded() {
			return goredis.DeadConn{Err: goredis.Handshake(failed)}, nil
		}
	}
}

// dialDatabase dials the database of the choice. Both results are nil if the choice was superseded meanwhile.
func (h *Hook) dialDatabase(
	ctx context.Context, now *epoch, traits *clientTraits,
) (net.Conn, error) {
	db := now.db
	as, err := db.login(ctx, now)
	if err != nil {
		return nil, err
	}
	leave, err := db.queue(ctx, now)
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx, cancel := untilLeft(ctx, now)
	defer cancel()
	nc, err := db.connect(ctx, h)
	if err != nil {
		return nil, err
	}
	h.dials.Add(1)
	c, wrapped := newConn(h, db, nc, traits)
	c.hello.as = as
	if !db.admit(c, now) {
		_ = nc.Close()
		return nil, nil
	}
	return wrapped, nil
}

// untilLeft returns a context that a switch ends: the database that is left may answer to nothing for as long as DialTimeout.
func untilLeft(ctx context.Context, now *epoch) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(now.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// login resolves what the connection logs in with. Only what can wait gets a context that a switch ends, and who has no
// place in the queue yet hears of a switch by itself: of a herd that waits, each would pay for that at the same moment.
func (db *database) login(ctx context.Context, now *epoch) (credentials, error) {
	if db.opt.CredentialsProviderContext == nil {
		return resolveCredentials(ctx, db.opt)
	}
	ctx, cancel := untilLeft(ctx, now)
	defer cancel()
	return resolveCredentials(ctx, db.opt)
}

// connect dials.
func (db *database) connect(ctx context.Context, h *Hook) (net.Conn, error) {
	db.conns.underWay.Add(1)
	h.wakeMonitor()
	defer db.conns.underWay.Add(-1)
	nc, err := db.opt.Dialer(ctx, db.opt.Network, db.opt.Addr)
	if err == nil {
		db.reached(nc)
	}
	return nc, goredis.WithoutReply(err)
}

// reached notes where a dial has led. A group watched by Sentinel may have another master since the last one; the connections
// to the old one, which would write to what is a replica by now or cut off, are closed. go-redis does so for connections of
// its own pool only, and the client's are not in that.
func (db *database) reached(nc net.Conn) {
	if db.opt.Addr != goredis.SentinelAddr {
		return
	}
	master := nc.RemoteAddr().String()
	if before := db.master.Swap(&master); before != nil && *before != master {
		cutAll(db.matching(func(c *conn) bool { return c.Conn.RemoteAddr().String() != master }))
	}
}

// queue waits for a place among the dials under way, so that a database that has just become active does not meet
// everybody at once. A switch ends the wait.
func (db *database) queue(ctx context.Context, now *epoch) (leave func(), err error) {
	if db.dialing == nil {
		return func() {}, nil
	}
	leave = func() { <-db.dialing }
	select {
	case db.dialing <- struct{}{}:
		return leave, nil // a free place is taken even by who is late: the dialer has the word about an ended context
	default:
	}
	select {
	case db.dialing <- struct{}{}:
		return leave, nil
	case <-now.over():
		return nil, context.Canceled
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// await waits for the first of: a newer choice, the verdict, the end of ctx, patience. It reports whether waiting was
// worth while: false says that the caller is gone or nothing was decided.
func await(ctx context.Context, now *epoch, verdict <-chan struct{}, patience time.Duration) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-now.over():
		return true
	case <-verdict:
		return true
	case <-ctx.Done():
	case <-timer.C:
	}
	return false
}
