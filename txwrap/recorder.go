package txwrap

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/goredis"
)

// recorder is the innermost hook of one attempt's connection: it sees what became of each request, before a retry of the
// outer hooks or the function can blur it. It is used by one goroutine, as the connection is.
type recorder struct {
	hook *multidb.Hook

	queuing    bool                  // a MULTI was sent as a command of its own, and its EXEC was not yet
	queued     []redis.Cmder         // what was sent since then
	committed  bool                  // an EXEC was executed
	raced      bool                  // an EXEC sent as a command of its own was answered with nil: a watched key has changed
	unanswered *multidb.CommandError // an EXEC was sent and not answered
	lostWrite  *multidb.CommandError // a write outside MULTI was sent and not answered: the first of them
	lostReads  []redis.Cmder         // reads that were sent and not answered
	refused    *execRefused          // an EXEC was refused because the database cannot serve now
	misplaced  *misplaced            // MULTI … EXEC was refused because the node does not serve a command of it
	over       bool                  // the function has returned: what follows is UNWATCH
}

func (w *recorder) DialHook(next redis.DialHook) redis.DialHook { return next }

func (w *recorder) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		w.saw(cmd, err)
		return err
	}
}

func (w *recorder) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if goredis.IsTxPipeline(cmds) {
			w.sawExec(cmds, err)
			return err
		}
		// A batch that broke off has its error on the commands without an answer; on none, if it failed as a whole, as where
		// the login was refused.
		whole := err != nil && !slices.ContainsFunc(cmds, func(cmd redis.Cmder) bool {
			return cmd.Err() != nil && (sentError(err) == nil || sentError(cmd.Err()) != nil)
		})
		for _, cmd := range cmds {
			e := cmd.Err()
			if e == nil && whole {
				e = err
			}
			w.saw(cmd, e)
		}
		return err
	}
}

// saw notes what became of a command outside TxPipelined. That may be one of a MULTI … EXEC that the function spells out
// by itself, one by one or in pipelines.
func (w *recorder) saw(cmd redis.Cmder, err error) {
	if w.over {
		return
	}
	switch name := nameOf(cmd); name {
	case "multi":
		w.queuing, w.queued = w.queuing || err == nil, nil
	case "discard", "reset":
		w.queuing = false
	case "exec":
		w.sawRawExec(cmd, err)
		return
	default:
		if w.queuing {
			w.queued = append(w.queued, cmd)
		}
	}
	switch failed := sentError(err); {
	case failed == nil:
	case w.queuing || w.readsOnly(cmd):
		w.lostReads = append(w.lostReads, cmd)
	case w.lostWrite == nil:
		w.lostWrite = failed
	}
}

// sawRawExec notes what became of an EXEC that was sent as a command like any other. Its answer is on that command, and
// those before it have been answered with QUEUED.
func (w *recorder) sawRawExec(exec redis.Cmder, err error) {
	queued := w.queued
	w.queuing, w.queued = false, nil
	switch failed := sentError(err); {
	case err == nil:
		w.committed = true
	case errors.Is(err, redis.Nil):
		w.raced = true
	case failed != nil:
		if w.unanswered == nil {
			w.unanswered = failed
		}
	case goredis.IsReply(err):
		w.refused, w.misplaced = execRefusedOf(queued, err), misplacedIn(queued, err)
	case !multidb.SafeToRetry(err) && !goredis.IsSessionDead(err):
		// It was answered, and the answer is none that its command can read: only an EXEC that was executed has more.
		w.committed = true
	}
}

// readsOnly reports whether the command changes no data. One that is lost takes the connection with it, and what was
// queued there.
func (w *recorder) readsOnly(cmd redis.Cmder) bool {
	switch nameOf(cmd) {
	case "watch", "unwatch", "multi", "discard", "reset":
		return true
	}
	if w.hook == nil {
		return false // nothing is run again
	}
	rung := w.hook.RungOf(cmd)
	return rung == multidb.ReplayConnection || rung == multidb.ReplayRead
}

// sawExec notes what became of MULTI … EXEC.
func (w *recorder) sawExec(cmds []redis.Cmder, err error) {
	inside := cmds[1 : len(cmds)-1]
	switch {
	case w.over:
	case err == nil:
		w.committed = true
	case errors.Is(err, redis.TxFailedErr):
		// Not executed.
	default:
		w.committed = w.committed || executed(cmds, err)
		w.refused = execRefusedOf(inside, cmds[len(cmds)-1].Err())
		w.misplaced = misplacedIn(inside, cmds[len(cmds)-1].Err())
		for _, e := range append([]error{err}, errorsOf(inside)...) {
			if failed := sentError(e); failed != nil && w.unanswered == nil {
				w.unanswered = failed
			}
		}
	}
}

// executed reports whether what is left of a failed MULTI … EXEC proves that EXEC was executed. A command need not have
// succeeded for that: SET with GET of a missing key answers with nil and has written, a script may write and then answer
// with an error.
func executed(cmds []redis.Cmder, err error) bool {
	inside, exec := cmds[1:len(cmds)-1], cmds[len(cmds)-1]
	switch {
	case goredis.IsReply(exec.Err()):
		// MULTI was refused, or EXEC because a command could not be queued: go-redis puts that on EXEC as well.
		return false
	case goredis.IsReply(err):
		// It is the answer to the first command. A refused login leaves that without an error.
		return inside[0].Err() != nil
	case sentError(err) == nil:
		return false
	}
	// The connection was lost. The commands without an answer have that error, and a refusal to queue one proves nothing;
	// but nil is an answer that only EXEC gives.
	for _, cmd := range inside {
		if e := cmd.Err(); e == nil || errors.Is(e, redis.Nil) {
			return true
		}
	}
	return false
}

// harmless reports whether err, which the function returned, leaves no doubt that nothing was applied.
func (w *recorder) harmless(err error) bool {
	if w.lostWrite != nil {
		return false
	}
	// On a dead session nothing was sent, and what it died of was none of that.
	if goredis.IsReply(err) && multidb.SafeToRetry(err) && !w.refused.behind(err) {
		return cannotServe(err)
	}
	if multidb.SafeToRetry(err) || goredis.IsSessionDead(err) || w.refused.behind(err) {
		return true
	}
	// What was sent must be a read of this transaction, not something else that the function has done. The commands have
	// the errors that the function got, by now.
	for _, cmd := range w.lostReads {
		if e := cmd.Err(); e != nil && errors.Is(err, e) {
			return true
		}
	}
	return false
}

// nameOf is the name of a command in lower case, in whatever type its caller has given it.
func nameOf(cmd redis.Cmder) string {
	args := cmd.Args()
	if len(args) == 0 {
		return ""
	}
	switch name := args[0].(type) {
	case string:
		return strings.ToLower(name)
	case []byte:
		return strings.ToLower(string(name))
	case *string:
		if name != nil {
			return strings.ToLower(*name)
		}
	}
	return ""
}

func errorsOf(cmds []redis.Cmder) []error {
	errs := make([]error, len(cmds))
	for i, cmd := range cmds {
		errs[i] = cmd.Err()
	}
	return errs
}
