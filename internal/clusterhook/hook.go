package clusterhook

import (
	"context"
	"errors"
	"net"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/cluster"
	"github.com/redishook/multidb/internal/clusterclient"
	"github.com/redishook/multidb/internal/conn"
	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/failure"
	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/replay"
)

// host is the hook as its ClusterClients have it.
type host struct{ *Clients }

func (h host) Choice() *clusterclient.Choice { return h.cfg.Choice.Current().Cluster }
func (h host) Done() <-chan struct{}         { return h.cfg.Ctx.Done() }
func (h host) Go(f func()) bool              { return h.cfg.Go(f) }
func (h host) NewNode() any                  { return conn.NewClient() }

// Claimed asks the topologies of the other databases.
func (h host) Claimed(addr string, by *cluster.Cluster) bool {
	return slices.ContainsFunc(h.cfg.Choice.All(), func(db *database.Database) bool {
		if db.Cluster == nil || db.Cluster == by {
			return false
		}
		t := db.Cluster.Topology()
		return t != nil && t.Has(addr)
	})
}

func (h host) Dial(ctx context.Context, n *clusterclient.Node) (net.Conn, error) {
	traits, _ := n.Own.(*conn.Client)
	return h.cfg.Dialer.Dial(ctx, traits, n)
}

// Handshake passes on what belongs to one connection.
func (h host) Handshake(ctx context.Context, cmd redis.Cmder, next redis.ProcessHook) (bool, error) {
	if !goredis.IsHandshake(cmd) {
		return false, nil
	}
	return true, h.cfg.Runner.Handshake(ctx, cmd, next)
}

func (h host) HandshakeBatch(ctx context.Context, cmds []redis.Cmder, next redis.ProcessPipelineHook) (bool, error) {
	if len(cmds) > 0 && !goredis.IsHandshakeBatch(cmds) {
		return false, nil
	}
	return true, h.cfg.Runner.HandshakeBatch(ctx, cmds, next)
}

// Refused reports a refusal at the gate of a connection, before the first byte.
func (h host) Refused(err error) bool {
	var gate conn.Refusal
	failed := h.cfg.Errors.Find(err)
	return !goredis.IsReply(err) && (failed == nil || !failed.Sent) && errors.As(err, &gate)
}

// NotExecuted blames the database in use.
func (h host) NotExecuted(why error) error {
	return h.cfg.Errors.New(failure.On(h.cfg.Choice.Current().DB, false, why))
}

// hook is the hook on a ClusterClient itself. Its methods are go-redis'; they are pure, and what they return is safe
// for concurrent use.
type hook struct {
	*Clients
	client *clusterclient.Client
}

// DialHook changes nothing: a ClusterClient does not dial, its nodes do.
func (hook) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook is that of a single database, behind the client's change to the cluster in use.
func (h hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	split := clusterclient.Whole(next)
	return func(ctx context.Context, cmd redis.Cmder) error {
		if goredis.IsHandshake(cmd) {
			return h.cfg.Runner.Handshake(ctx, cmd, next)
		}
		if replay.MayWait(cmd) {
			return h.cfg.Waiting.Process(ctx, cmd, next, h.process)
		}
		if h.client.Splits(ctx, cmd) {
			return h.process(ctx, cmd, split)
		}
		return h.process(ctx, cmd, next)
	}
}

// process runs a command, and again as the runner says.
func (h hook) process(ctx context.Context, cmd redis.Cmder, run redis.ProcessHook) error {
	now := h.cfg.Choice.Current()
	if now.Down {
		return h.cfg.Runner.Later(ctx, cmd, h.following(run), now)
	}
	h.client.Await(ctx, now.Cluster)
	err := run(ctx, cmd)
	if err == nil {
		now.DB.Traffic.Succeeded()
		return nil
	}
	return h.cfg.Runner.AfterFailure(ctx, cmd, h.following(run), now, err)
}

// following runs a command once the client follows the choice of that moment.
func (h hook) following(run redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h.client.Await(ctx, h.cfg.Choice.Current().Cluster)
		return run(ctx, cmd)
	}
}

// ProcessPipelineHook is ProcessHook for pipelines and transactions.
func (h hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	run := func(ctx context.Context, cmds []redis.Cmder) error {
		h.client.Await(ctx, h.cfg.Choice.Current().Cluster)
		return next(ctx, cmds)
	}
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if len(cmds) == 0 {
			return next(ctx, cmds)
		}
		now, err := h.cfg.Runner.Awaited(ctx, cmds)
		if err != nil {
			return err
		}
		err = run(ctx, cmds)
		switch {
		case err == nil:
			now.DB.Traffic.Succeeded()
			return nil
		case goredis.IsTxPipeline(cmds):
			return h.cfg.Runner.AfterBatchFailure(ctx, cmds, run, now, err)
		}
		return h.cfg.Runner.AfterPartsFailure(ctx, cmds, run, now, err)
	}
}
