package txwrap

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Pipe is one attempt of a transaction without WATCH: a redis.Pipeliner that knows its number. Not safe for concurrent
// use, and of no use after the function has returned.
type Pipe struct {
	redis.Pipeliner

	attempt  int
	database string
}

// Attempt returns the number of this attempt, from 1.
func (p *Pipe) Attempt() int { return p.attempt }

// Database returns the name of the database that was active when the attempt began. The transaction goes there unless
// there is a switch before it is sent. Empty for a client without the hook.
func (p *Pipe) Database() string { return p.database }

// TxPipelined runs the commands that fn queues in MULTI … EXEC, and again as the package says, with the default [Options].
func TxPipelined(ctx context.Context, rdb redis.UniversalClient, fn func(*Pipe) error) ([]redis.Cmder, error) {
	return Options{}.TxPipelined(ctx, rdb, fn)
}

// TxPipelined runs the commands that fn queues in MULTI … EXEC. What was not sent is run again, fn included, on whichever
// database is active then. The commands are those of the last attempt; the error is as for [Options.Watch]. Safe for
// concurrent use.
func (o Options) TxPipelined(ctx context.Context, rdb redis.UniversalClient, fn func(*Pipe) error) ([]redis.Cmder, error) {
	hook := hookOf(ctx, rdb)
	if hook == nil {
		return rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error { return fn(&Pipe{Pipeliner: pipe, attempt: 1}) })
	}
	var cmds []redis.Cmder
	err := o.watch(ctx, rdb, hook, func(tx *Tx) error {
		var err error
		cmds, err = tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			return fn(&Pipe{Pipeliner: pipe, attempt: tx.attempt, database: tx.database})
		})
		return err
	}, nil)
	return cmds, err
}
