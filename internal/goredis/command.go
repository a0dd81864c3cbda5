package goredis

import (
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/resp"
)

// IsHandshake recognises the commands of go-redis' handshake and those that change the state of a connection. CLIENT
// LIST, CLIENT ID and the like, which only ask, are commands like any other.
func IsHandshake(cmd redis.Cmder) bool {
	switch cmd.Name() {
	case "hello", "auth", "select", "readonly", "reset", "quit":
		return true
	case "client":
		args := cmd.Args()
		if len(args) < 2 {
			return true
		}
		sub, ok := resp.Text(args[1])
		return !ok || !clientQuestions[resp.Lower(sub)]
	}
	return false
}

// clientQuestions are the subcommands of CLIENT that change nothing of their connection and belong to no handshake.
var clientQuestions = map[string]bool{
	"getname": true, "getredir": true, "id": true, "info": true, "kill": true, "list": true, "pause": true,
	"trackinginfo": true, "unblock": true, "unpause": true,
}

// IsHandshakeBatch recognises the option pipelines of the handshake.
func IsHandshakeBatch(cmds []redis.Cmder) bool {
	for _, cmd := range cmds {
		if !IsHandshake(cmd) {
			return false
		}
	}
	return true
}

// IsTxPipeline tells the batch of a TxPipeline by the types of the MULTI and EXEC that go-redis wraps it in. There the
// answer to EXEC is spread over the commands between them. In a pipeline with a MULTI and an EXEC of the caller's own it is
// not, and an answer to one between them says that it was queued.
func IsTxPipeline(cmds []redis.Cmder) bool {
	if len(cmds) < 2 {
		return false
	}
	multi, ok := cmds[0].(*redis.StatusCmd)
	exec, ok2 := cmds[len(cmds)-1].(*redis.SliceCmd)
	return ok && ok2 && multi.Name() == "multi" && exec.Name() == "exec"
}

// StampUnanswered puts the error of a batch that broke off on the commands that have no answer, where go-redis has not:
//
//   - its own second attempt leaves the errors of the first one (LOADING, not sent) on commands that were sent again;
//   - should NoRetryError.Is ever keep the error from all commands, one without an error would count as answered.
//
// It does nothing if err is none of NoRetry.
func StampUnanswered(cmds []redis.Cmder, err error) {
	lost := Find(err)
	if lost == nil {
		return
	}
	broken := slices.IndexFunc(cmds, func(cmd redis.Cmder) bool { return Find(cmd.Err()) != nil })
	bare := lost.mark.Load() == markAvoided
	for _, cmd := range cmds[max(0, broken):] {
		if e := cmd.Err(); e == nil && bare || e != nil && (RunsAgain(e) || isUnsent(e)) {
			cmd.SetErr(err)
		}
	}
}

// SetErrors puts an error on all commands.
func SetErrors(cmds []redis.Cmder, err error) {
	for _, cmd := range cmds {
		cmd.SetErr(err)
	}
}
