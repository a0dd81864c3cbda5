package runner

import (
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/failure"
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
func (f failures) ofSetup(err error) error {
	if err == nil || f.Find(err) == nil || !goredis.InHandshake() {
		return err
	}
	return &setupError{&setupError{err}}
}

// withoutSetup makes the error of a command that had to wait for OnConnect one that says so: not sent.
func (r *Runner) withoutSetup(now *selector.Epoch, err error) error {
	converted, _ := r.convertSetup(now, err)
	return converted
}

// convertSetup returns the error that withoutSetup returns, and whether it is another one than err.
func (r *Runner) convertSetup(now *selector.Epoch, err error) (converted error, changed bool) {
	failed := r.errors.Find(err)
	if !errors.As(err, new(*setupError)) || failed == nil || goredis.InHandshake() {
		return err, false
	}
	return r.errors.New(failure.On(r.databaseOf(now, err), false, &connectError{text: err.Error(), cause: failed.Err})), true
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
func (r *Runner) batchWithoutSetup(now *selector.Epoch, cmds []redis.Cmder, err error) error {
	converted, changed := r.convertSetup(now, err)
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
