package runner

import (
	"context"
	"errors"
	"time"

	"github.com/redishook/multidb/internal/failure"
	"github.com/redishook/multidb/internal/selector"
)

// What work waits for before its next attempt: a verdict, a database that is usable, or a cluster that replaces a master.

// beforeNext waits, after a failed attempt, for what decides where the next one goes: a newer choice or the verdict on
// the suspected database.
func (r *Runner) beforeNext(ctx context.Context, failed *attempt) error {
	if failed.moved {
		return failed
	}
	now := r.choice.Current()
	if verdict := now.DB.Health.Pending(); verdict != nil {
		now.Await(ctx, verdict, verdictPatience)
	}
	if now.DB.Cluster != nil && !now.Superseded() && r.awaitTakeover(ctx, now, failed) {
		return &attempt{err: failed.err, moved: true}
	}
	return &attempt{err: failed.err, moved: now.Superseded()}
}

// awaitDatabase waits as long as Options.MaxWait says for a database to be usable. last is what the command has met before.
func (r *Runner) awaitDatabase(ctx context.Context, now *selector.Epoch, last error) (*selector.Epoch, error) {
	if r.isClosed() {
		return now, nil
	}
	if r.cfg.MaxWait > 0 {
		timer := time.NewTimer(r.cfg.MaxWait)
		defer timer.Stop()
		for now.Down {
			select {
			case <-now.Over():
				now = r.choice.Current()
			case <-timer.C:
				return r.refuse(now, last)
			case <-ctx.Done():
				return now, errors.Join(r.errors.noDatabase(now, last), ctx.Err())
			case <-r.cfg.Ctx.Done():
				return now, nil
			}
		}
		return now, nil
	}
	return r.refuse(now, last)
}

func (r *Runner) refuse(now *selector.Epoch, last error) (*selector.Epoch, error) {
	now.DB.Traffic.Refused.Add(1)
	return now, r.errors.noDatabase(now, last)
}

// awaitTakeover lets work wait that a cluster could not do because it is replacing a master: until the cluster has, a switch is
// made, or Options.MaxWait is over. It reports whether the next attempt shall be made at once.
func (r *Runner) awaitTakeover(ctx context.Context, now *selector.Epoch, failed *attempt) bool {
	until, wanted := ctx.Value(takeoverKey{}).(time.Time)
	if !wanted || failed.kind == answered || failure.GaveUp(ctx) {
		return false
	}
	news := now.DB.Cluster.News() // before the question: what comes in between is not missed
	if now.DB.Prober.Degraded() == nil {
		return false
	}
	return now.Await(ctx, news, time.Until(until))
}

type takeoverKey struct{}

// withTakeover bounds how long all attempts at one piece of work wait for takeovers.
func (r *Runner) withTakeover(ctx context.Context) context.Context {
	if r.cfg.MaxWait <= 0 || r.choice.Current().DB.Cluster == nil {
		return ctx
	}
	return context.WithValue(ctx, takeoverKey{}, time.Now().Add(r.cfg.MaxWait))
}
