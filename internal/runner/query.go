package runner

import (
	"context"
	"reflect"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/goredis"
)

// Commands that a hook passes on as they are, and the questions among them that it answers by itself.

// Query asks whose hook it passes. It has the name of a command of the handshake because those leave the normal path at once,
// where a look at the type would cost every command.
type Query struct {
	*redis.Cmd
	Owner any // of the outermost runner that it has passed; nil if there was none
}

// NewQuery makes a query. A server that gets it gets the words.
func NewQuery(ctx context.Context, words ...any) *Query {
	return &Query{Cmd: redis.NewCmd(ctx, words...)}
}

// OwnerOf asks whose hook a Query passes first. pass sends it on its way, to a hook that does not let it out.
func OwnerOf(ctx context.Context, pass func(*Query)) (owner any) {
	query := NewQuery(ctx, "client", "multidb-hook")
	pass(query)
	return query.Owner
}

// answer answers a Query.
func (r *Runner) answer(cmd redis.Cmder) bool {
	query, ok := cmd.(*Query)
	if ok && query.Owner == nil {
		query.Owner = r.cfg.Owner
	}
	return ok
}

// Handshake passes on a command of the handshake, or a user's own of that name: as it is, never counted, never run
// again, because it belongs to one connection.
func (r *Runner) Handshake(ctx context.Context, cmd redis.Cmder, next redis.ProcessHook) error {
	if r.answer(cmd) {
		return nil
	}
	err := next(ctx, cmd)
	if goredis.IsHandshakeError(err) {
		return err
	}
	return goredis.Cause(err)
}

// HandshakeBatch is Handshake for the option pipelines.
func (r *Runner) HandshakeBatch(ctx context.Context, cmds []redis.Cmder, next redis.ProcessPipelineHook) error {
	if len(cmds) == 1 && r.answer(cmds[0]) {
		return nil
	}
	err := next(ctx, cmds)
	if err == nil || goredis.IsHandshakeError(err) {
		return err
	}
	return r.errors.finishBatch(cmds, err)
}

// The code of the functions that Hook and PipelineHook return.
var processHookCode, pipelineHookCode atomic.Uintptr

// isProcessHook reports whether next is a process hook of this runner itself, which has then been added to one client twice. A
// second layer would make its own attempts and count everything again.
func (r *Runner) isProcessHook(next redis.ProcessHook) bool {
	return next != nil && reflect.ValueOf(next).Pointer() == processHookCode.Load() &&
		OwnerOf(r.cfg.Ctx, func(query *Query) { _ = next(r.cfg.Ctx, query) }) == r.cfg.Owner // a hook of this package answers that itself
}

func (r *Runner) isPipelineHook(next redis.ProcessPipelineHook) bool {
	return next != nil && reflect.ValueOf(next).Pointer() == pipelineHookCode.Load() &&
		OwnerOf(r.cfg.Ctx, func(query *Query) { _ = next(r.cfg.Ctx, []redis.Cmder{query}) }) == r.cfg.Owner
}
