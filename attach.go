package multidb

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/clusterhook"
	"github.com/redishook/multidb/internal/conn"
	"github.com/redishook/multidb/internal/database"
)

// attachment is the hook as one client has it: it knows which connections are that client's.
type attachment struct {
	*Hook
	client *conn.Client
}

// DialHook is [Hook.DialHook] for this client.
func (a attachment) DialHook(redis.DialHook) redis.DialHook { return a.dialer.Hook(a.client) }

// Attach adds the hook to a client and replaces the connections that the client had before, which do not follow the
// active database. Idle connections are replaced at once. Attach waits up to 1 s for connections in use; a goroutine replaces
// the rest as they return to the pool. Subscriptions made before stay as they are. For a client just made, rdb.AddHook(hook) is
// enough unless it has MinIdleConns.
//
// A *redis.ClusterClient follows if the databases are clusters, also one in use. All its options stay as they are,
// ReadOnly, RouteByLatency and RouteRandomly among them. AddHook alone does nothing for it.
//
// A client is routed by one hook. Attach reports any other kind, and options that would defeat the
// hook. Attaching a client again does no harm. Safe for concurrent use.
func (h *Hook) Attach(rdb redis.UniversalClient) error {
	if cc, ok := rdb.(*redis.ClusterClient); ok {
		return h.attachCluster(cc)
	}
	client, ok := rdb.(*redis.Client)
	if ring, isRing := rdb.(*redis.Ring); isRing && ring != nil {
		return errors.New("multidb: Attach: a *redis.Ring has no topology that could be changed: it shards by its own hash; " +
			"add a hook to each shard (RingOptions.NewClient), or use a *redis.Client or a *redis.ClusterClient")
	}
	if !ok {
		return fmt.Errorf("multidb: Attach: %T is not supported; use a *redis.Client (redis.NewClient or redis.NewFailoverClient) "+
			"or a *redis.ClusterClient (redis.NewClusterClient)", rdb)
	}
	if !made(client) {
		return errors.New("multidb: Attach: the client is nil or was not made by redis.NewClient or redis.NewFailoverClient")
	}
	if h.isCluster() {
		return errors.New("multidb: Attach: the client is a *redis.Client and the databases are clusters; use a *redis.ClusterClient")
	}
	if client.Options().StreamingCredentialsProvider != nil {
		return errors.New("multidb: Attach: the client has a StreamingCredentialsProvider, which would send its credentials " +
			"to every database; give each Database a CredentialsProviderContext instead")
	}
	if err := sameIndex(h.selector.All(), client.Options().DB); err != nil {
		return err
	}
	if h.isClosed() {
		return ErrClosed
	}
	var traits *conn.Client // nil: connections made before are not told apart by number
	switch HookOf(client) {
	case nil:
		traits = conn.NewClient()
		client.AddHook(attachment{h, traits})
		rememberHook(client, h)
	case h:
	default:
		return errors.New("multidb: Attach: the client follows another hook already")
	}
	old := oldConns(h.ctx)
	old.ReplaceIdle(client, traits)
	h.workers.Go(old.Later(client, traits))
	return nil
}

// attachCluster is Attach for a ClusterClient.
func (h *Hook) attachCluster(cc *redis.ClusterClient) error {
	if cc == nil || reflect.ValueOf(cc).Elem().IsZero() {
		return errors.New("multidb: Attach: the client is nil or was not made by redis.NewClusterClient")
	}
	if !h.isCluster() {
		return errors.New("multidb: Attach: the client is a *redis.ClusterClient and the databases are single ones; " +
			"use a *redis.Client, or give each Database a Cluster")
	}
	if err := clusterhook.Attachable(cc); err != nil {
		return err
	}
	if h.isClosed() {
		return ErrClosed
	}
	switch HookOf(cc) {
	case nil:
	case h:
		return nil
	default:
		return errors.New("multidb: Attach: the client follows another hook already")
	}
	return h.clusters.Follow(cc)
}

// sameIndex reports the databases whose index contradicts that of a client. An index of 0 contradicts none: a client of
// index 0 uses the index of each database, and a database of index 0 is used at the index of each client.
func sameIndex(dbs []*database.Database, index int) error {
	var errs []error
	for _, db := range dbs {
		if own := db.Options.DB; index != 0 && own != 0 && own != index {
			errs = append(errs, fmt.Errorf("multidb: Attach: the client has DB = %d and database %q has index %d: must be the same, "+
				"or one of them 0", index, db.Name, own))
		}
	}
	return errors.Join(errs...)
}
