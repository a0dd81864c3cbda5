package multidb

import (
	"errors"
	"reflect"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/replay"
	"github.com/redishook/multidb/internal/selector"
)

// What a command's place on the call stack says about its failure. All of it is asked after a failure only.

// setupError is the error of a command that the user's OnConnect has run. OnConnect returns it, wrapped or not, and go-redis
// gives it to whoever waits for the connection. Nothing of his command was sent, whatever became of that of OnConnect.
type setupError struct{ err error }

func (e *setupError) Error() string { return e.err.Error() }
func (e *setupError) Unwrap() error { return e.err }

// ofSetup marks the error of a command, if OnConnect runs it. go-redis takes one layer off what OnConnect returns, so the mark
// is there twice.
func ofSetup(err error) error {
	if err == nil || !errors.As(err, new(*CommandError)) || !goredis.InHandshake() {
		return err
	}
	return &setupError{&setupError{err}}
}

// withoutSetup makes the error of a command that had to wait for OnConnect one that says so: not sent.
func (h *Hook) withoutSetup(now *selector.Epoch, err error) error {
	converted, _ := h.convertSetup(now, err)
	return converted
}

// convertSetup returns the error that withoutSetup returns, and whether it is another one than err.
func (h *Hook) convertSetup(now *selector.Epoch, err error) (converted error, changed bool) {
	var failed *CommandError
	if !errors.As(err, new(*setupError)) || !errors.As(err, &failed) || goredis.InHandshake() {
		return err, false
	}
	return commandError(h.databaseOf(now, err), false, &connectError{text: err.Error(), cause: failed.Err}), true
}

// connectError is why OnConnect has failed. It has the text of the whole chain, and behind it the cause alone: that a command of
// OnConnect was sent is not said of the command that has waited.
type connectError struct {
	text  string
	cause error
}

func (e *connectError) Error() string { return e.text }
func (e *connectError) Unwrap() error { return e.cause }

// batchWithoutSetup is withoutSetup for a batch, whose commands all have the error.
func (h *Hook) batchWithoutSetup(now *selector.Epoch, cmds []redis.Cmder, err error) error {
	converted, changed := h.convertSetup(now, err)
	if !changed { // not a comparison: the type of a user's error may not be comparable
		return err
	}
	goredis.SetErrors(cmds, converted)
	return converted
}

// impatient reports that a client has not waited for a command that may block for as long as the command may: its own
// ReadTimeout has ended it, as that of Do does. The database has done nothing wrong.
func impatient(cmd redis.Cmder, err error) bool {
	var timeout interface{ Timeout() bool }
	return cmd != nil && replay.Blocks([]byte(cmd.Name())) && errors.As(err, &timeout) && timeout.Timeout()
}

// isProcessHook reports whether next is a process hook of this hook itself, which has then been added to one client twice. A
// second layer would make its own attempts and count everything again.
func (h *Hook) isProcessHook(next redis.ProcessHook) bool {
	if next == nil || reflect.ValueOf(next).Pointer() != processHookCode.Load() {
		return false
	}
	query := &hookQuery{Cmd: redis.NewCmd(h.ctx, "client", "multidb-hook")}
	_ = next(h.ctx, query) // a hook of this package answers that itself
	return query.hook == h
}

func (h *Hook) isPipelineHook(next redis.ProcessPipelineHook) bool {
	if next == nil || reflect.ValueOf(next).Pointer() != pipelineHookCode.Load() {
		return false
	}
	query := &hookQuery{Cmd: redis.NewCmd(h.ctx, "client", "multidb-hook")}
	_ = next(h.ctx, []redis.Cmder{query})
	return query.hook == h
}
