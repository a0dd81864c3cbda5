package multidb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// errPurge is what the argument of a purging command fails to encode with.
var errPurge = errors.New("multidb: this connection is older than the hook and is replaced")

// unencodable makes a command fail before a byte of it is written, which makes go-redis drop the connection.
type unencodable struct{}

func (unencodable) MarshalBinary() ([]byte, error) { return nil, errPurge }

// Attach adds the hook to a client and replaces the connections that the client had before, which do not follow the
// active database. For a client just made, rdb.AddHook(hook) is enough unless it has MinIdleConns. Connections that are
// in use meanwhile, and subscriptions made before, stay as they are: attach before the client is used.
//
// Only a *redis.Client can be routed. Attach reports any other kind, and options that would defeat the hook. Safe for
// concurrent use.
func (h *Hook) Attach(rdb redis.UniversalClient) error {
	client, ok := rdb.(*redis.Client)
	if !ok {
		return fmt.Errorf("multidb: Attach: %T is not supported; use a *redis.Client (redis.NewClient or redis.NewFailoverClient)", rdb)
	}
	if client == nil {
		return errors.New("multidb: Attach: the client is nil")
	}
	if client.Options().StreamingCredentialsProvider != nil {
		return errors.New("multidb: Attach: the client has a StreamingCredentialsProvider, which would send its credentials " +
			"to every database; give each Database a CredentialsProviderContext instead")
	}
	client.AddHook(h)
	stats := client.PoolStats()
	if err := purge(client, int(stats.TotalConns)); err != nil {
		return err
	}
	return purgePipelines(client)
}

// purge replaces the connections of the main pool. They are claimed all at once, so that a connection dialed in the
// place of a dropped one is not taken for an old one.
func purge(client *redis.Client, n int) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var claimed []*redis.Conn
	defer func() {
		for _, conn := range claimed {
			_ = conn.Close()
		}
	}()
	for range n {
		conn := client.EphemeralConn()
		claimed = append(claimed, conn)
		if err := conn.Process(ctx, redis.NewCmd(ctx, "ping", unencodable{})); !errors.Is(err, errPurge) {
			// The pool is exhausted by users of the client, or the database cannot be reached: what is idle is done.
			break
		}
	}
	return nil
}

// purgePipelines replaces the idle connections of the pool that go-redis keeps for pipelines.
func purgePipelines(client *redis.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for ctx.Err() == nil {
		stats := client.PoolStats().PipelineStats
		if stats == nil || stats.IdleConns == 0 {
			return nil
		}
		pipe := client.Pipeline()
		pipe.Do(ctx, "ping", unencodable{})
		if _, err := pipe.Exec(ctx); !errors.Is(err, errPurge) {
			return nil
		}
	}
	return nil
}

// warnIfUnrouted reports, once, that commands run through the hook but none of their connections was dialed by it.
func (h *Hook) warnIfUnrouted(db *database) {
	if h.dials.Load() > 0 || db.successes.Load() == 0 || !h.unrouted.CompareAndSwap(false, true) {
		return
	}
	h.opt.Logger.Error("multidb: commands run through the hook, but over connections it has not dialed, so they do not follow " +
		"the active database. It was added to a client it cannot route (ClusterClient, Ring), or after the client had " +
		"connections: use hook.Attach(client), which says what is wrong.")
}
