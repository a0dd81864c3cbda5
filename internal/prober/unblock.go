package prober

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Unblock ends what the connections of those numbers wait for, as if its time were over, and returns how many have waited. It is not
// for a cluster: the numbers are those of one server.
func (p *Prober) Unblock(ctx context.Context, ids []int64) (ended uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.Scaled(p.cfg.Timeout))
	defer cancel()
	replies := make([]*redis.IntCmd, len(ids))
	_, err = p.quick.Pipelined(ctx, func(pipe redis.Pipeliner) error {
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
