// Package probes asks a Redis database whether it can serve, and turns several
// answers into one verdict.
//
// A [Probe] asks once: [Ping], [Echo], [Write] and [LagAware] are built in, and
// one of your own is five lines:
//
//	backlog := probes.Func("backlog", func(ctx context.Context, db probes.Target) error {
//		if n, err := db.Client.LLen(ctx, "jobs").Result(); err != nil || n > 1000 {
//			return fmt.Errorf("%d jobs wait: %w", n, err)
//		}
//		return nil
//	})
//
// A [Check] runs a probe several times, each within a timeout, and applies a
// [Policy] to the answers. [Checks] are ANDed.
//
//	check := probes.Check{Probe: backlog, Probes: 3, Delay: 200 * time.Millisecond, Policy: probes.Majority}
//	err := check.Run(ctx, probes.Target{Name: "east", Client: rdb})
//
// # What an error means
//
// A check has four endings, told apart by [OutcomeOf]. Two are that the database passed, and that
// it failed. The third is that it answered, but would not let the probe do its work
// ([ErrNotPermitted]). That says something about a user's rights and nothing about health. The
// fourth is that the caller gave up before there was a verdict ([ErrNoVerdict]), which says nothing
// at all.
//
// # Two kinds of check
//
// Most checks are about availability: when one fails, the database is left. A
// check whose probe [GatesOnly] is asked before a move TO a database and never
// causes a move away from it. Replication lag is of this kind, because a database that lags still
// serves. And the REST API that knows about lag tends to be out of reach precisely when something
// else is wrong.
//
// # The client that is probed
//
// Probe through a client of its own. Then a full pool or a slow command of the application does not
// look like a dead database. Set [redis.Options.ContextTimeoutEnabled] on it. Without that go-redis
// lets a read run for its ReadTimeout although the probe's time is over. The check ends in time all
// the same; the abandoned probe lives on until the read does.
package probes
