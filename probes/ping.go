package probes

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

type pingProbe struct{}

// Ping returns a probe that sends PING. It proves that the database answers, not
// that it has its data: https://redis.io/docs/latest/commands/ping/.
//
// Of a cluster every master must answer, since each has data of its own; replicas
// are not asked, since a cluster serves without them. Of a ring, every shard that
// it has not taken out itself.
//
// Safe for concurrent use.
func Ping() Probe { return pingProbe{} }

func (pingProbe) String() string { return "ping" }

func (pingProbe) Check(ctx context.Context, db Target) error {
	return eachNode(ctx, db.Client, func(ctx context.Context, node redis.Cmdable) error {
		return node.Ping(ctx).Err()
	})
}

// eachNode calls ask on everything that must answer for the database to serve. A
// cluster without a single master to ask has not answered.
func eachNode(ctx context.Context, client redis.UniversalClient, ask func(context.Context, redis.Cmdable) error) error {
	var forEach func(context.Context, func(context.Context, *redis.Client) error) error
	switch c := client.(type) {
	case nil:
		return errNoClient
	case interface {
		ForEachMaster(context.Context, func(context.Context, *redis.Client) error) error
	}:
		forEach = c.ForEachMaster
	case interface {
		ForEachShard(context.Context, func(context.Context, *redis.Client) error) error
	}:
		forEach = c.ForEachShard
	default:
		return permission(ask(ctx, client))
	}

	asked := make(chan struct{}, 1)
	err := forEach(ctx, func(ctx context.Context, node *redis.Client) error {
		select {
		case asked <- struct{}{}:
		default:
		}
		if err := ask(ctx, node); err != nil {
			return fmt.Errorf("node %s: %w", node.Options().Addr, err)
		}
		return nil
	})
	if err == nil && len(asked) == 0 {
		return errNoNode
	}
	return permission(err)
}
