package replay

import (
	"math"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/resp"
)

// How long a command may block by its own arguments, and how it is told to block for what is left of that.

// Wait is how long a command may block. The zero value is not useful: see WaitOf.
type Wait struct {
	Timeout time.Duration // 0: for ever
	at      int           // the argument that says so
	unit    time.Duration
}

// leastWait is the shortest wait that is worth while: the clock of a server may be late by as much.
const leastWait = 2 * time.Millisecond

// MayWait reports by the name alone whether WaitOf is worth a call. It is on the way of every command.
func MayWait(cmd redis.Cmder) bool {
	args := cmd.Args()
	if len(args) < 3 {
		return false
	}
	name, ok := args[0].(string)
	if !ok || len(name) < len("xread") || len(name) > len("xreadgroup") {
		return false
	}
	switch name[0] | 0x20 {
	case 'b':
		return name[1]|0x20 == 'l' || name[1]|0x20 == 'r' || name[1]|0x20 == 'z' // and not BITCOUNT or BGSAVE
	case 'x':
		return name[1]|0x20 == 'r' && name[2]|0x20 == 'e' && name[3]|0x20 == 'a'
	}
	return false
}

// WaitOf returns how long a command may block until there is something for it. ok is false for one that does not block, for
// one whose arguments are not understood, and for WAIT and WAITAOF: they are about the writes of their own connection.
func WaitOf(cmd redis.Cmder) (w Wait, ok bool) {
	a := argv(cmd.Args())
	name, ok := a.text(0)
	if !ok || len(a) < 3 {
		return Wait{}, false
	}
	switch resp.Lower(name) {
	case "blpop", "brpop", "bzpopmin", "bzpopmax", "brpoplpush", "blmove":
		return a.wait(len(a)-1, time.Second)
	case "blmpop", "bzmpop":
		return a.wait(1, time.Second)
	case "xread":
		return a.waitOfBlock(1)
	case "xreadgroup":
		return a.waitOfBlock(4) // behind GROUP, the group, and the consumer
	}
	return Wait{}, false
}

// Waits reports whether a command may block until there is something for it.
func Waits(cmd redis.Cmder) bool {
	_, waits := WaitOf(cmd)
	return waits
}

// waitOfBlock finds the option BLOCK among those from position i on, before STREAMS.
func (a argv) waitOfBlock(i int) (Wait, bool) {
	for i < len(a) {
		option, ok := a.text(i)
		if !ok {
			break
		}
		switch resp.Lower(option) {
		case "block":
			return a.wait(i+1, time.Millisecond)
		case "noack":
			i++
		case "count", "claim":
			i += 2
		default:
			return Wait{}, false
		}
	}
	return Wait{}, false
}

// wait reads the argument that says how long.
func (a argv) wait(at int, unit time.Duration) (Wait, bool) {
	s, ok := a.text(at)
	if !ok {
		return Wait{}, false
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || !(n >= 0) || n > float64(math.MaxInt64/int64(unit)) {
		return Wait{}, false
	}
	return Wait{Timeout: time.Duration(n * float64(unit)), at: at, unit: unit}, true
}

// Left returns what is left of the wait after some of it. ok is false if that is nothing.
func (w Wait) Left(waited time.Duration) (left time.Duration, ok bool) {
	if w.Timeout == 0 {
		return 0, true
	}
	left = w.Timeout - waited
	return left, left >= leastWait
}

// Shorten makes the command wait for what Left has returned. The caller gets its arguments back as they were from restore.
// The type of the argument is kept where it can be: hooks may look at it.
func (w Wait) Shorten(cmd redis.Cmder, left time.Duration) (restore func()) {
	args := cmd.Args()
	before := args[w.at]
	if w.Timeout == 0 {
		return func() {}
	}
	if w.unit == time.Millisecond {
		args[w.at] = left.Milliseconds()
	} else {
		args[w.at] = float64(left.Milliseconds()) / 1000
	}
	return func() { args[w.at] = before }
}
