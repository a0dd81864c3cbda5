package runner

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/cluster"
	"github.com/redishook/multidb/internal/clusterclient"
	"github.com/redishook/multidb/internal/failure"
	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/selector"
)

// A pipeline of a ClusterClient is split by node. What was lost with one connection is decided about by itself; answers stay
// where they are.

// AfterPartsFailure is AfterBatchFailure for a pipeline that was split.
func (r *Runner) AfterPartsFailure(
	ctx context.Context, cmds []redis.Cmder, next redis.ProcessPipelineHook, now *selector.Epoch, err error,
) error {
	if !r.cfg.Routing() {
		return err // see AfterFailure
	}
	stampUnsent(cmds, err)
	pending, first := r.classifyParts(ctx, now, cmds, err)
	if first.final {
		return r.countUnknown(ctx, now, r.errors.finishBatch(cmds, err))
	}
	err = r.runAgain(ctx, first, func(ctx context.Context, now *selector.Epoch) *attempt {
		goredis.SetErrors(pending, nil)
		err := next(ctx, pending)
		if err == nil {
			now.DB.Traffic.Succeeded()
			return nil
		}
		stampUnsent(pending, err)
		var result *attempt
		pending, result = r.classifyParts(ctx, now, pending, err)
		return result
	})
	for _, cmd := range pending {
		if err != nil && cmd.Err() != nil && r.outcomeOf(ctx, cmd) != cluster.Answered && r.errors.sent(cmd.Err()) == nil {
			cmd.SetErr(err) // of all attempts
		}
	}
	return r.countUnknown(ctx, now, r.errors.finishBatch(cmds, nil))
}

// stampUnsent puts the error of a batch on its commands if it has failed before any of them was sent and go-redis has left
// them as they were.
func stampUnsent(cmds []redis.Cmder, err error) {
	for _, cmd := range cmds {
		if cmd.Err() != nil {
			return
		}
	}
	goredis.SetErrors(cmds, err)
}

// outcomeOf is what has become of one command of a split pipeline.
func (r *Runner) outcomeOf(ctx context.Context, cmd redis.Cmder) cluster.Outcome {
	err := cmd.Err()
	if err == nil {
		return cluster.Answered
	}
	if clusterclient.Misrouted(err) {
		return cluster.Misrouted
	}
	switch r.replies.classify(ctx, cmd, err) {
	case answered:
		return cluster.Answered
	case notSent:
		return cluster.NotSent
	case cannotServe:
		return cluster.CannotServe
	case lost, cannotServeInside:
		return cluster.Lost
	}
	return cluster.Excluded
}

// classifyParts counts what has failed, each part once, and returns the commands that are run again with the decision.
func (r *Runner) classifyParts(ctx context.Context, now *selector.Epoch, cmds []redis.Cmder, err error) ([]redis.Cmder, *attempt) {
	r.countReplies(now, cmds)
	replies := make([]cluster.Reply, len(cmds))
	for i, cmd := range cmds {
		replies[i] = cluster.Reply{Outcome: r.outcomeOf(ctx, cmd), Slot: cluster.SlotOf(cmd)}
		replies[i].Once = cmd.NoRetry() && replies[i].Outcome != cluster.Answered && !ourDoing(cmd.Err())
		if hidden := goredis.Find(cmd.Err()); hidden != nil {
			replies[i].Part = hidden
		}
	}
	again, deciding, _ := cluster.Again(replies, func(indexes []int) bool {
		part := make([]redis.Cmder, len(indexes))
		for i, index := range indexes {
			part[i] = cmds[index]
		}
		return r.cfg.Rules.May(ctx, part...)
	})
	if deciding < 0 { // every command has its answer
		result := r.classifyAttempt(ctx, now, nil, err, func() bool { return false })
		result.final = true
		return nil, result
	}
	r.countParts(now, cmds, replies)
	cause := cmds[deciding].Err()
	result := r.attemptOf(ctx, now, cmds[deciding], cause)
	result.final = result.final || len(again) == 0
	if result.final {
		return nil, result
	}
	pending := make([]redis.Cmder, len(again))
	for i, index := range again {
		pending[i] = cmds[index]
	}
	return pending, result
}

// attemptOf is the failed attempt that the whole batch is about; it has been counted.
func (r *Runner) attemptOf(ctx context.Context, now *selector.Epoch, cmd redis.Cmder, err error) *attempt {
	kind := r.replies.classify(ctx, cmd, err)
	if clusterclient.Misrouted(err) {
		kind = misrouted
	}
	return &attempt{
		err: goredis.Cause(clusterclient.InsteadOf(err)), kind: kind, db: r.databaseOf(now, err), moved: now.Superseded(),
		final: failure.GaveUp(ctx) || r.isClosed() || r.cfg.DryRun || kind == excluded || kind == sessionDead,
	}
}

// countParts counts each failure against its database: what was lost with one connection is one, and so is each kind of
// refusal.
func (r *Runner) countParts(now *selector.Epoch, cmds []redis.Cmder, replies []cluster.Reply) {
	seen := make(map[any]bool)
	answered := false
	for i, cmd := range cmds {
		err := cmd.Err()
		var kind outcome
		switch replies[i].Outcome {
		case cluster.Answered:
			answered = true
			continue
		case cluster.Lost:
			kind = lost
		case cluster.NotSent:
			kind = notSent
		case cluster.CannotServe:
			kind = cannotServe
		case cluster.Misrouted:
			now.DB.Cluster.Suspect()
			continue
		case cluster.Excluded:
			if r.replies.classify(context.Background(), cmd, err) == refusedHere {
				failedAs(now.DB, refusedHere)
				now.DB.Traffic.Failures.Add(1)
				r.logRefusal(now.DB, cmd, err)
			}
			continue
		}
		part := replies[i].Part
		if part == nil {
			part = kind
		}
		if seen[part] || ourDoing(err) {
			continue
		}
		seen[part] = true
		db := r.databaseOf(now, err)
		failedAs(db, kind)
		db.Health.Failed(err)
	}
	if answered {
		now.DB.Traffic.Succeeded()
	}
}
