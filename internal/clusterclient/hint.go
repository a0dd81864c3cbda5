package clusterclient

import (
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/cluster"
	"github.com/redishook/multidb/internal/goredis"
)

// isHint reports whether an error is a redirect that a node's hook has made.
func isHint(err error) bool {
	var hint goredis.Moved
	return errors.As(err, &hint)
}

// Misrouted reports whether an error is a redirect, a server's or a node hook's, that was not followed to its end. The command
// was not executed then.
func Misrouted(err error) bool {
	if isHint(err) {
		return true
	}
	if _, moved := redis.IsMovedError(err); moved {
		return true
	}
	_, ask := redis.IsAskError(err)
	return ask
}

// InsteadOf returns what a command has met whose error is a node hook's redirect; any other error as it is.
func InsteadOf(err error) error {
	var hint goredis.Moved
	if errors.As(err, &hint) && hint.Instead != nil {
		return hint.Instead
	}
	return err
}

// keyOf returns a key of the slot of a command: its first key.
func keyOf(slot int, cmd redis.Cmder) string {
	for _, arg := range cmd.Args()[1:] {
		if key, ok := arg.(string); ok && cluster.KeySlot(key) == slot {
			return key
		}
	}
	return ""
}
