package random_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/redis/go-redis/v9"
)

// group is what is asked in one go: the commands, and the error of the whole where there is one.
type group struct {
	way   string
	calls []*call
	cmds  []redis.Cmder
	tx    bool // between MULTI and EXEC
	whole error
	batch bool // there is a whole
}

func (g *group) add(c *call, cmd redis.Cmder) {
	g.calls = append(g.calls, c)
	g.cmds = append(g.cmds, cmd)
}

// way is one way to run commands. It returns how many commands it has run.
type way struct {
	name string
	run  func(ctx context.Context, w *world, p *pen) int
}

// cloned is the way of a pipeline that no hook sees.
const cloned = "Pipeline of a clone"

var ways = []way{
	{"single", func(ctx context.Context, w *world, p *pen) int {
		return w.single("single", ctx, p, w.rdb.Process)
	}},
	{"clone", func(ctx context.Context, w *world, p *pen) int {
		return w.single("clone", ctx, p, w.rdb.WithTimeout(readTimeout).Process)
	}},
	{"half duplex", func(ctx context.Context, w *world, p *pen) int {
		return w.single("half duplex", ctx, p, w.half.Process)
	}},
	{"full duplex", func(ctx context.Context, w *world, p *pen) int {
		return w.single("full duplex", ctx, p, w.full.Process)
	}},
	{"Pipeline", func(ctx context.Context, w *world, p *pen) int {
		return w.batch("Pipeline", ctx, p, w.rdb.Pipeline(), false)
	}},
	{"TxPipeline", func(ctx context.Context, w *world, p *pen) int {
		return w.batch("TxPipeline", ctx, p, w.rdb.TxPipeline(), true)
	}},
	{cloned, func(ctx context.Context, w *world, p *pen) int {
		return w.batch(cloned, ctx, p, w.rdb.WithTimeout(readTimeout).Pipeline(), false)
	}},
	{"Conn", func(ctx context.Context, w *world, p *pen) (n int) {
		conn := w.rdb.Conn()
		defer conn.Close()
		for range 1 + p.IntN(3) {
			if p.IntN(3) == 0 {
				n += w.batch("Pipeline on a Conn", ctx, p, conn.Pipeline(), false)
			} else {
				n += w.single("Conn", ctx, p, conn.Process)
			}
		}
		return n
	}},
	{"Watch", func(ctx context.Context, w *world, p *pen) (n int) {
		err := w.rdb.Watch(ctx, func(tx *redis.Tx) error {
			n += w.single("Tx", ctx, p, tx.Process)
			n += w.batch("TxPipeline in Watch", ctx, p, tx.TxPipeline(), true)
			return nil
		}, "watched")
		if err != nil && w.calm() {
			w.wrong("Watch: %v", err)
		}
		return n + 1
	}},
	{"a key of everybody", func(ctx context.Context, w *world, p *pen) int {
		key := sharedKey(p.IntN(sharedKeys))
		switch val, err := w.rdb.Get(ctx, key).Result(); {
		case err == nil && val != sharedValue(key):
			w.wrong("GET %s gives %q", key, val)
		case err != nil && w.calm():
			w.wrong("GET %s: %v", key, err)
		}
		return 1
	}},
	{"PubSub", func(ctx context.Context, w *world, p *pen) int { return w.subscribeSomewhere(ctx, p) }},
}

// single runs one command.
func (w *world) single(name string, ctx context.Context, p *pen, process func(context.Context, redis.Cmder) error) int {
	c := w.newCall(p)
	cmd := c.command(ctx)
	err := process(ctx, cmd)
	g := &group{way: name}
	g.add(c, cmd)
	if own := cmd.Err(); (own == nil) != (err == nil) { // an autopipeliner may return before the command has ended
		if own != nil || err == nil || !w.auto(name) {
			w.wrong("%s: Process says %v, the command %v", name, err, own)
		}
	}
	w.judge(g)
	return 1
}

func (w *world) auto(name string) bool { return name == "half duplex" || name == "full duplex" }

// batch runs a few commands through a pipeline.
func (w *world) batch(name string, ctx context.Context, p *pen, pipe redis.Pipeliner, tx bool) int {
	g := &group{way: name, tx: tx, batch: true}
	for range 1 + p.IntN(6) {
		c := w.newCall(p)
		cmd := c.command(ctx)
		_ = pipe.Process(ctx, cmd)
		g.add(c, cmd)
	}
	_, g.whole = pipe.Exec(ctx)
	w.judge(g)
	return len(g.cmds)
}

// subscribeSomewhere reads a subscription that begins without channels.
func (w *world) subscribeSomewhere(ctx context.Context, p *pen) int {
	ps := w.rdb.Subscribe(ctx)
	defer ps.Close()
	channel := fmt.Sprint("channel-", p.IntN(4))
	if err := ps.Subscribe(ctx, channel); err != nil {
		if w.calm() {
			w.wrong("SUBSCRIBE: %v", err)
		}
		return 1
	}
	for range 3 {
		msg, err := ps.ReceiveTimeout(ctx, readTimeout)
		if err != nil {
			if w.calm() && !w.faults.switches {
				w.wrong("Receive: %v", err)
			}
			continue
		}
		sub, ok := msg.(*redis.Subscription)
		if !ok || sub.Channel != channel || sub.Kind != "subscribe" || sub.Count != 1 {
			w.wrong("SUBSCRIBE %s is answered with %v", channel, msg)
		}
		break
	}
	return 1
}

// seen is what the caller sees of a command.
func seen(cmd redis.Cmder) string {
	if err := cmd.Err(); err != nil {
		return "error: " + err.Error()
	}
	val := reflect.ValueOf(cmd).MethodByName("Val").Call(nil)[0].Interface()
	return fmt.Sprint(val)
}

func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}
