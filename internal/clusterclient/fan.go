package clusterclient

import (
	"context"
	"errors"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/cluster"
)

// Commands that go-redis splits over several nodes, if the application has given the client a resolver for that: MGET over
// slots, DBSIZE. go-redis follows no redirect of a part and drops the errors of parts: an MGET would have nil for keys that
// nobody was asked for, and an MSET would say OK.

// splittable are the commands that can be split.
var splittable = map[string]bool{
	"mget": true, "mset": true, "msetnx": true, "del": true, "unlink": true, "exists": true, "touch": true, "dbsize": true,
	"keys": true, "flushall": true, "flushdb": true, "script": true, "wait": true, "waitaof": true, "function": true,
	"randomkey": true, "config": true, "slowlog": true, "latency": true, "memory": true, "ping": true, "info": true, "scan": true,
}

// maxRedirects bounds how many redirects of one part are followed.
const maxRedirects = 5

// Splits reports whether go-redis makes several commands of this one.
func (c *Client) Splits(ctx context.Context, cmd redis.Cmder) bool {
	if !splittable[cmd.Name()] {
		return false
	}
	cc := c.Value()
	if cc == nil {
		return false
	}
	resolver := cc.GetResolver()
	if resolver == nil {
		return false
	}
	policy := resolver.GetCommandPolicy(ctx, cmd)
	return policy != nil && !policy.CanBeUsedInPipeline()
}

// Whole runs a command that go-redis splits: redirects of its parts are followed, and what a part has failed with is the error
// of the whole.
func Whole(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		f := &fan{}
		err := next(context.WithValue(ctx, fanKey{}, f), cmd)
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.err != nil {
			cmd.SetErr(f.err)
			return f.err
		}
		return err
	}
}

type fanKey struct{}

// fan collects what the parts have failed with.
type fan struct {
	mu  sync.Mutex
	err error // Guarded by mu; of a part whose fate is not known, if there is one
}

func fanOf(ctx context.Context) *fan {
	f, _ := ctx.Value(fanKey{}).(*fan)
	return f
}

// failed follows the redirect of a part, and notes what cannot be helped.
func (f *fan) failed(ctx context.Context, n *Node, cmd redis.Cmder, err error) error {
	for range maxRedirects {
		if _, moved := redis.IsMovedError(err); !moved && !isHint(err) {
			break
		}
		cc, slot := n.client.Value(), cluster.SlotOf(cmd)
		if cc == nil || slot < 0 {
			break
		}
		n.client.Await(ctx, n.client.host.Choice())
		node, lookup := cc.MasterForKey(ctx, keyOf(slot, cmd))
		if lookup != nil {
			break
		}
		if err = node.Process(context.WithValue(ctx, fanKey{}, (*fan)(nil)), cmd); err == nil {
			return nil
		}
		if _, moved := redis.IsMovedError(err); moved { // a server's: the topology is old
			_ = cc.ForEachMaster(ctx, func(context.Context, *redis.Client) error { return nil })
		}
	}
	if !errors.Is(err, redis.Nil) {
		f.note(err, n.client.host)
	}
	return err
}

// note keeps the error that says most: that a part was sent and not answered goes before that one was not sent.
func (f *fan) note(err error, host Host) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil || notSent(f.err, host) && !notSent(err, host) {
		f.err = err
	}
}

// notSent reports whether a part was certainly not executed.
func notSent(err error, host Host) bool {
	if isHint(err) || host.Refused(err) {
		return true
	}
	_, moved := redis.IsMovedError(err)
	return moved
}
