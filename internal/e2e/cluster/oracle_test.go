package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	multidb "github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/window"
)

// What the caller of a hooked ClusterClient gets is compared with what a client without the hook gets from the same cluster, for
// keys of the same kind: values, errors, and how often the nodes have executed the command.

// oracle is a cluster whose nodes can be made to fail one request, and a client without the hook.
type oracle struct {
	*pair
	bare  *redis.ClusterClient
	fault atomic.Pointer[oneFault]
	cases atomic.Int64
}

// oneFault is what happens to the next request that has a key.
type oneFault struct {
	key     string
	refusal string // "": it is executed, and the connection ends without the reply
	done    atomic.Bool
}

func (f *oneFault) strikes(args []string, lost bool) bool {
	if f == nil || (f.refusal == "") != lost {
		return false
	}
	for _, arg := range args[1:] {
		if arg == f.key {
			return f.done.CompareAndSwap(false, true)
		}
	}
	return false
}

func newOracle(t *testing.T) *oracle {
	o := &oracle{}
	o.pair = proxied(t, setup{hook: func(opt *multidb.Options) {
		opt.Detectors = []window.Factory{} // hundreds of failures in a second are what this test is made of
		opt.Retry = multidb.Retry{MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond}
	}})
	for _, n := range o.a.Nodes {
		proxy := o.a.Proxy(n)
		proxy.Answer(func(args []string) (string, bool) {
			if f := o.fault.Load(); f.strikes(args, false) {
				return "-" + f.refusal + "\r\n", true
			}
			return "", false
		})
		proxy.ResetOneIn(1, faultproxy.AfterExecution, func(args []string) bool { return !o.fault.Load().strikes(args, true) })
	}
	o.bare = newClient(t, o.a.Options())
	return o
}

// calls is how often all nodes of the cluster have executed a command.
func (o *oracle) calls(command string) (sum int64) {
	for _, n := range o.a.Nodes {
		sum += n.Calls(command)
	}
	return sum
}

// question is a command on a key, and what is there before.
type question struct {
	name    string
	args    func(key string) []any
	prepare func(pipe redis.Pipeliner, key string)
	again   bool // it may be run twice
}

var questions = []question{
	{"get", func(k string) []any { return []any{"get", k} }, func(p redis.Pipeliner, k string) { p.Set(context.Background(), k, "v", 0) }, true},
	{"get", func(k string) []any { return []any{"get", k} }, nil, true}, // nil
	{"set", func(k string) []any { return []any{"set", k, "v"} }, nil, true},
	{"set", func(k string) []any { return []any{"set", k, "v", "nx"} }, func(p redis.Pipeliner, k string) { p.Set(context.Background(), k, "w", 0) }, true},
	{"incr", func(k string) []any { return []any{"incr", k} }, nil, false},
	{"lpush", func(k string) []any { return []any{"lpush", k, "a", "b"} }, func(p redis.Pipeliner, k string) { p.Set(context.Background(), k, "w", 0) }, false}, // WRONGTYPE
	{"hgetall", func(k string) []any { return []any{"hgetall", k} }, func(p redis.Pipeliner, k string) { p.HSet(context.Background(), k, "f", "v") }, true},
	{"eval", func(k string) []any {
		return []any{"eval", "redis.call('incr', KEYS[1]) return {err='ERR by intent'}", 1, k}
	}, nil, false},
}

var faults = []string{
	"READONLY You can't write against a read only replica.",
	"LOADING Redis is loading the dataset in memory",
	"CLUSTERDOWN The cluster is down",
	"TRYAGAIN Multiple keys request during rehashing of slot",
	"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
	"", // the reply is lost
}

// way is one way to ask. company are keys of several nodes that commands beside it have.
type way struct {
	name    string
	onlyGet bool // it asks for the key by a command of its own
	multi   bool // in MULTI and EXEC, which the node must know about: replies are lost only, none is made up in between
	ask     func(ctx context.Context, rdb *redis.ClusterClient, args []any, company []string) []redis.Cmder
}

func inPipe(pipe redis.Pipeliner, args []any, company []string) []redis.Cmder {
	ctx := context.Background()
	var cmds []redis.Cmder
	for i, key := range company {
		if i == len(company)/2 {
			cmds = append(cmds, pipe.Do(ctx, args...))
		}
		cmds = append(cmds, pipe.Get(ctx, key))
	}
	_, _ = pipe.Exec(ctx)
	return cmds
}

func alone(ctx context.Context, rdb *redis.ClusterClient, args []any, _ []string) []redis.Cmder {
	return []redis.Cmder{rdb.Do(ctx, args...)}
}

var ways = []way{
	{name: "single", ask: alone},
	{name: "pipeline over nodes", ask: func(_ context.Context, rdb *redis.ClusterClient, args []any, company []string) []redis.Cmder {
		return inPipe(rdb.Pipeline(), args, company)
	}},
	{name: "TxPipeline", multi: true, ask: func(ctx context.Context, rdb *redis.ClusterClient, args []any, _ []string) []redis.Cmder {
		pipe := rdb.TxPipeline()
		cmds := []redis.Cmder{pipe.Do(ctx, args...)}
		_, _ = pipe.Exec(ctx)
		return cmds
	}},
	{name: "Watch", multi: true, ask: func(ctx context.Context, rdb *redis.ClusterClient, args []any, _ []string) (cmds []redis.Cmder) {
		key := args[len(args)-1].(string)
		if args[0] != "eval" {
			key = args[1].(string)
		}
		whole := redis.NewStatusCmd(ctx, "whole")
		err := rdb.Watch(ctx, func(tx *redis.Tx) error {
			_, err := tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
				cmds = []redis.Cmder{pipe.Do(ctx, args...)}
				return nil
			})
			return err
		}, "{"+key+"}watched")
		whole.SetErr(err)
		return append(cmds, whole)
	}},
}

// splitMGet asks for several keys of several nodes at once, of which go-redis makes a command for each slot.
var splitMGet = way{name: "split MGET", onlyGet: true, ask: func(ctx context.Context, rdb *redis.ClusterClient, args []any, company []string) []redis.Cmder {
	return []redis.Cmder{rdb.MGet(ctx, append([]string{args[1].(string)}, company...)...)}
}}

// autopipelined asks by an autopipeliner of one of the two kinds.
func autopipelined(duplex bool) way {
	return way{name: fmt.Sprintf("autopipelined, full duplex %v", duplex), ask: func(
		ctx context.Context, rdb *redis.ClusterClient, args []any, _ []string,
	) []redis.Cmder {
		opt := redis.DefaultBlockingAutoPipelineOptions()
		opt.FullDuplex = duplex
		ap, err := rdb.AutoPipelineWithOptions(opt)
		if err != nil {
			panic(err)
		}
		defer ap.Close()
		cmd := ap.Do(ctx, args...)
		_ = cmd.Err() // waits
		return []redis.Cmder{cmd}
	}}
}

// describe is all of what a caller sees.
func describe(cmds []redis.Cmder) string {
	var b strings.Builder
	for _, cmd := range cmds {
		value := ""
		switch c := cmd.(type) {
		case *redis.Cmd:
			value = fmt.Sprintf("%#v", c.Val())
		case *redis.StringCmd:
			value = c.Val()
		case *redis.SliceCmd:
			value = fmt.Sprintf("%#v", c.Val())
		}
		err := cmd.Err()
		fmt.Fprintf(&b, "%s <%v nil=%v lost=%v>; ", value, err, errors.Is(err, redis.Nil), errors.Is(err, redis.TxFailedErr))
	}
	return b.String()
}

// try asks one question in one way, with one fault at the first attempt, and says what is wrong.
func (o *oracle) try(ctx context.Context, rdb *redis.ClusterClient, q question, w way, fault string, company []string) string {
	number := o.cases.Add(1)
	tag := "{o" + strconv.FormatInt(number, 10) + "}"
	mine, theirs := tag+"hooked", tag+"bare"
	if q.prepare != nil {
		pipe := o.bare.Pipeline()
		q.prepare(pipe, mine)
		q.prepare(pipe, theirs)
		if _, err := pipe.Exec(ctx); err != nil {
			return err.Error()
		}
		if rdb.Options().ReadOnly { // the replicas have it as well
			time.Sleep(5 * time.Millisecond)
		}
	}
	command := q.name
	if w.onlyGet {
		command = "mget"
	}
	before := o.calls(command)
	want := describe(w.ask(ctx, o.bare, q.args(theirs), company))
	once := o.calls(command) - before
	f := &oneFault{key: mine, refusal: fault}
	o.fault.Store(f)
	before = o.calls(command)
	got := describe(w.ask(ctx, rdb, q.args(mine), company))
	ran := o.calls(command) - before
	o.fault.Store(nil)
	return verdict(q, w, f, got, want, int(ran), int(once))
}

// verdict says what is wrong with what a caller got, where a client without the hook and without a fault gets want and has the
// command executed once.
func verdict(q question, w way, f *oneFault, got, want string, ran, once int) string {
	lost := f.refusal == ""
	told := strings.Contains(got, "sent, not answered")
	switch {
	case !f.done.Load():
		return "the fault has met nothing"
	case got == want && !lost && (ran == once || q.again && once < ran && ran <= 2*once):
		return "" // refused, and run again; with what was asked for beside it, if that may be
	case got == want && lost && q.again && once < ran && ran <= 2*once:
		return "" // run again after it was executed
	case got == want && lost && ran == once && w.multi:
		return "" // MULTI was lost before EXEC, so nothing had been executed
	case lost && told && (ran == once || ran == 0 && w.multi):
		return ""
	case !lost && ran < once && strings.Contains(got, f.refusal):
		return ""
	}
	return fmt.Sprintf("executed %d times and not %d\n got  %s\n want %s", ran, once, got, want)
}

// TestAnswersOfClustersReachTheCaller: every question × the way it is asked × how its first attempt ends.
func TestAnswersOfClustersReachTheCaller(t *testing.T) {
	t.Parallel()
	o := newOracle(t)
	ctx := t.Context()
	var company []string
	for _, n := range o.a.Nodes[:3] {
		company = append(company, o.keysAt(n, "company", 2)...)
	}
	for _, key := range company {
		require.NoError(t, o.bare.Set(ctx, key, "there", 0).Err())
	}
	clients := map[string]func(*redis.ClusterOptions){
		"masters":        func(*redis.ClusterOptions) {},
		"ReadOnly":       func(c *redis.ClusterOptions) { c.ReadOnly = true },
		"RouteByLatency": func(c *redis.ClusterOptions) { c.RouteByLatency = true },
		"RouteRandomly":  func(c *redis.ClusterOptions) { c.RouteRandomly = true },
	}
	if testing.Short() {
		delete(clients, "ReadOnly")
		delete(clients, "RouteByLatency")
		delete(clients, "RouteRandomly")
	}
	for name, change := range clients {
		opt := &redis.ClusterOptions{Addrs: o.a.Addrs()}
		change(opt)
		rdb := newClient(t, opt)
		require.NoError(t, o.hook.Attach(rdb))
		o.all(t, name, rdb, ways, company)
	}
	piped := newClient(t, &redis.ClusterOptions{Addrs: o.a.Addrs()})
	require.NoError(t, o.hook.Attach(piped))
	o.all(t, "masters", piped, []way{autopipelined(false), autopipelined(true)}, company)
	split := newClient(t, &redis.ClusterOptions{Addrs: o.a.Addrs()})
	require.NoError(t, o.hook.Attach(split))
	split.SetCommandInfoResolver(split.NewDynamicResolver())
	o.bare.SetCommandInfoResolver(o.bare.NewDynamicResolver())
	o.all(t, "split", split, []way{splitMGet}, company)
	require.Empty(t, o.moves())
	t.Log(o.cases.Load(), "cases")
}

// all tries everything over one client.
func (o *oracle) all(t *testing.T, name string, rdb *redis.ClusterClient, ways []way, company []string) {
	for _, w := range ways {
		for i, q := range questions {
			if w.onlyGet && i > 1 {
				continue
			}
			for _, fault := range faults {
				if w.multi && fault != "" {
					continue
				}
				if problem := o.try(t.Context(), rdb, q, w, fault, company); problem != "" {
					t.Errorf("%s, %s, %v, then %q: %s", name, w.name, q.args("key"), fault, problem)
				}
			}
		}
	}
}
