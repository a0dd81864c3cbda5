package prober

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Unblock ends what the connections of those numbers wait for, as if its time were over, and returns how many have waited. node is the
// address of the node of a cluster that has numbered them.
func (p *Prober) Unblock(ctx context.Context, node string, ids []int64) (ended uint64, err error) {
	client := p.quick
	if p.cluster != nil {
		if client, err = p.cluster.nodes.client(node); err != nil {
			return 0, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, p.Scaled(p.cfg.Timeout))
	defer cancel()
	replies := make([]*redis.IntCmd, len(ids))
	_, err = client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, id := range ids {
			replies[i] = pipe.ClientUnblock(ctx, id)
		}
		return nil
	})
	for _, reply := range replies {
		ended += uint64(max(0, reply.Val()))
	}
	return ended, err
}
