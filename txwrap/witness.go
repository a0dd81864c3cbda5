package txwrap

import (
	"context"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb"
)

// witness is the innermost hook of one attempt's connection: it sees what became of each request, before a retry of the
// outer hooks or the function can blur it. It is used by one goroutine, as the connection is.
type witness struct {
	hook *multidb.Hook

	committed  bool                  // an EXEC was executed
	unanswered *multidb.CommandError // an EXEC was sent and not answered
	lostWrite  bool                  // a write outside MULTI was sent and not answered
	lostReads  []redis.Cmder         // reads that were sent and not answered
	refused    *refusal              // an EXEC was refused because the database cannot serve now
	over       bool                  // the function has returned: what follows is UNWATCH
}

func (w *witness) DialHook(next redis.DialHook) redis.DialHook { return next }

func (w *witness) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if err != nil {
			w.saw(cmd, err)
		}
		return err
	}
}

func (w *witness) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if isExec(cmds) {
			w.sawExec(cmds, err)
			return err
		}
		for _, cmd := range cmds {
			if e := cmd.Err(); e != nil {
				w.saw(cmd, e)
			} else if err != nil && sentError(err) != nil {
				w.saw(cmd, err) // the batch failed as a whole
			}
		}
		return err
	}
}

// saw notes the failure of a command outside MULTI.
func (w *witness) saw(cmd redis.Cmder, err error) {
	if w.over || sentError(err) == nil {
		return
	}
	if w.readsOnly(cmd) {
		w.lostReads = append(w.lostReads, cmd)
	} else {
		w.lostWrite = true
	}
}

// readsOnly reports whether the command changes no data.
func (w *witness) readsOnly(cmd redis.Cmder) bool {
	switch cmd.Name() {
	case "watch", "unwatch":
		return true
	}
	if w.hook == nil {
		return false // nothing is run again
	}
	rung := w.hook.RungOf(cmd)
	return rung == multidb.ReplayConnection || rung == multidb.ReplayRead
}

// sawExec notes what became of MULTI … EXEC.
func (w *witness) sawExec(cmds []redis.Cmder, err error) {
	inside := cmds[1 : len(cmds)-1]
	switch {
	case w.over:
	case err == nil:
		w.committed = true
	case errors.Is(err, redis.TxFailedErr):
		// Not executed.
	default:
		w.committed = w.committed || executed(cmds, err)
		w.refused = refusalOf(cmds)
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
	case isReply(exec.Err()):
		// MULTI was refused, or EXEC because a command could not be queued: go-redis puts that on EXEC as well.
		return false
	case isReply(err):
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

func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// harmless reports whether err, which the function returned, leaves no doubt that nothing was applied.
func (w *witness) harmless(err error) bool {
	if w.lostWrite {
		return false
	}
	if multidb.SafeToRetry(err) || w.refused.behind(err) {
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

func isExec(cmds []redis.Cmder) bool {
	return len(cmds) > 1 && strings.EqualFold(cmds[0].Name(), "multi") && strings.EqualFold(cmds[len(cmds)-1].Name(), "exec")
}

func errorsOf(cmds []redis.Cmder) []error {
	errs := make([]error, len(cmds))
	for i, cmd := range cmds {
		errs[i] = cmd.Err()
	}
	return errs
}
