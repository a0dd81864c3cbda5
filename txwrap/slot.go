package txwrap

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/cluster"
	"github.com/redishook/multidb/internal/goredis"
)

// A transaction on a cluster: it happens on the node that serves its keys, so all of them are in one slot.

// ErrCrossSlot says that a transaction on a cluster has keys in several slots, or none. Nothing was executed, and it is not run
// again. Find it with [errors.Is].
var ErrCrossSlot = errors.New("txwrap: on a cluster, all keys of a transaction must be in one slot: give them the same hash tag, " +
	"as in {order:7}:items and {order:7}:total")

// slotOf returns the slot of the keys.
func slotOf(keys []string) (int, error) {
	if len(keys) == 0 {
		return 0, fmt.Errorf("%w; without a watched key nobody knows which node that is", ErrCrossSlot)
	}
	slot := cluster.KeySlot(keys[0])
	for _, key := range keys[1:] {
		if other := cluster.KeySlot(key); other != slot {
			return 0, fmt.Errorf("%w; %q is in slot %d and %q in slot %d", ErrCrossSlot, keys[0], slot, key, other)
		}
	}
	return slot, nil
}

// watchOn has fn run on a connection of the node that serves the keys. For a single database that is the client itself.
func (r *run) watchOn(ctx context.Context, fn func(*redis.Tx) error) error {
	cc, ok := r.rdb.(*redis.ClusterClient)
	if !ok || r.hook == nil {
		// Without the hook, the keys are watched by go-redis, and a ClusterClient finds its node by them. With it, the recorder
		// must be there before.
		keys := r.keys
		if r.hook != nil {
			keys = nil
		}
		return r.rdb.Watch(ctx, fn, keys...)
	}
	node, err := r.hook.NodeForKey(ctx, cc, r.keys[0])
	if err != nil {
		return err
	}
	return node.Watch(ctx, fn)
}

// misplaced is what a node has said that does not serve a command of the transaction.
type misplaced struct {
	slot  int // that of the command; noSlot if the answer does not say
	reply error
}

const noSlot = -1

// misplacedBy returns what an answer says about the place of a command; nil if it says nothing of it.
func misplacedBy(err error) *misplaced {
	var hint goredis.Moved
	switch {
	case err == nil || sentError(err) != nil:
		return nil
	case errors.As(err, &hint):
		return &misplaced{noSlot, err} // the connection belongs to a cluster that has been left
	case !goredis.IsReply(err):
		return nil
	}
	text := goredis.ReplyText(err)
	fields := strings.Fields(text)
	switch {
	case len(fields) == 3 && (fields[0] == "MOVED" || fields[0] == "ASK"):
		if slot, e := strconv.Atoi(fields[1]); e == nil {
			return &misplaced{slot, err}
		}
	case strings.HasPrefix(text, "TRYAGAIN"):
		return &misplaced{noSlot, err}
	}
	return nil
}

// misplacedIn looks for such an answer in a MULTI … EXEC that was refused.
func misplacedIn(inside []redis.Cmder, exec error) *misplaced {
	if exec == nil || !goredis.IsReply(exec) {
		return nil
	}
	if m := misplacedBy(exec); m != nil {
		return m
	}
	if !strings.HasPrefix(exec.Error(), "EXECABORT ") {
		return nil
	}
	for _, cmd := range inside {
		if m := misplacedBy(cmd.Err()); m != nil {
			return m
		}
	}
	return nil
}

// elsewhere reports whether the attempt has failed because the slot is served by another node by now. Nothing of the
// transaction was executed then.
func (r *run) elsewhere(err error) bool {
	if r.hook == nil || !r.onCluster || r.seen.unanswered != nil || r.seen.lostWrite != nil {
		return false
	}
	m := r.seen.misplaced
	if m == nil {
		m = misplacedBy(err)
	}
	return m != nil && (m.slot == noSlot || m.slot == r.slot)
}

// explainSlot says what a redirect to another slot means: a mistake of the function's.
func (r *run) explainSlot(err error) error {
	m := r.seen.misplaced
	if err == nil || m == nil || m.slot == noSlot || m.slot == r.slot {
		return err
	}
	return fmt.Errorf("%w; a command has a key in slot %d, and the watched keys are in slot %d (%w)", ErrCrossSlot, m.slot, r.slot, err)
}
