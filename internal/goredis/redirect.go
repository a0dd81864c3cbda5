package goredis

import (
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"
)

// How a hook on a node of a ClusterClient tells go-redis what to do.

// Moved is the error with which a hook on a node sends a command on to another node. go-redis recognises it by its text, as
// it does a server's MOVED, and follows it at once, without backoff.
type Moved struct {
	Slot    int
	Addr    string
	Instead error // what the command has met, which its caller gets if the redirect is not followed to its end
}

func (m Moved) Error() string { return fmt.Sprintf("MOVED %d %s", m.Slot, m.Addr) }

// FirstOnce returns the commands of a node's part of a pipeline so that go-redis does not send all of them again for the sake
// of the first reply. Without it, go-redis does that if the first reply is one that it would retry (CLUSTERDOWN, TRYAGAIN,
// LOADING), whether or not the commands behind it were executed.
func FirstOnce(cmds []redis.Cmder) []redis.Cmder {
	if len(cmds) == 0 {
		return cmds
	}
	cmds = slices.Clone(cmds)
	cmds[0] = once{cmds[0]}
	return cmds
}

// once is a command that go-redis does not retry.
type once struct{ redis.Cmder }

// NoRetry is what go-redis asks.
func (once) NoRetry() bool { return true }
