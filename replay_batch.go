package multidb

import "github.com/redis/go-redis/v9"

// Commands that are harmless one by one need not be harmless one after the other. Once,
//
//	RENAME a tmp, RENAME b a, RENAME tmp b
//
// swaps two keys; twice, it does nothing. DEL k, RENAMENX j k loses j, and EXPIRE k 10, HSET k f v expires what was to
// stay. So a batch is run again as a whole only when its commands cannot disturb one another, which the keys tell.

// use is how a command, or the batch so far, uses a key.
type use uint8

const (
	// useAdd and useRemove write what the command says, whatever was there: any mix of them ends in the same state.
	useAdd use = 1 << iota
	useRemove
	// useNew writes only what is not there yet. It goes with useAdd: what was written stays, and is found again.
	useNew
	// useExpire sets the time to live of what is there: fine as the last thing done with a key, and only then.
	useExpire
	// useDepend writes in dependence of what is there, or of other keys: the key must be its own.
	useDepend
	// useSource is a key that a useDepend command only reads.
	useSource
)

// clashes are the earlier uses of a key that rule a use out.
var clashes = map[use]use{
	useAdd:    useExpire | useDepend | useSource,
	useRemove: useExpire | useDepend | useSource | useNew,
	useNew:    useExpire | useDepend | useSource | useRemove,
	useExpire: useDepend | useSource,
	useDepend: ^use(0),
	useSource: ^useSource,
}

// usedBy has the writing commands that are not useDepend, by name; the arguments may still make them so.
var usedBy = map[string]use{
	"set": useAdd, "getset": useAdd, "mset": useAdd, "setex": useAdd, "psetex": useAdd, "setrange": useAdd,
	"setbit": useAdd, "bitfield": useAdd, "hset": useAdd, "hmset": useAdd, "sadd": useAdd, "zadd": useAdd,
	"geoadd": useAdd, "pfadd": useAdd, "persist": useAdd,

	"del": useRemove, "unlink": useRemove, "getdel": useRemove, "hdel": useRemove, "srem": useRemove,
	"zrem": useRemove, "zremrangebyscore": useRemove, "zremrangebylex": useRemove, "xdel": useRemove,
	"xack": useRemove,

	"setnx": useNew, "hsetnx": useNew, "xadd": useNew,

	"expire": useExpire, "pexpire": useExpire, "expireat": useExpire, "pexpireat": useExpire, "getex": useExpire,
}

// batch is what the commands looked at so far do with each key.
type batch struct {
	keys     map[string]use
	declared bool // a command the user declared was among them
	depends  bool // a useDepend command was among them
}

// composes says whether the commands, each of which may be run again, may be run again one after the other. It asks
// nothing of commands that do not write. What the user declared goes with everything but commands that depend on the
// state, since nothing is known of its keys.
func (r replayRules) composes(cmds []redis.Cmder) bool {
	b := batch{keys: make(map[string]use, len(cmds))}
	for _, cmd := range cmds {
		if r.rung(cmd) <= ReplayRead {
			continue
		}
		args := argv(cmd.Args())
		name, _ := args.text(0) // it has a rung, so it has a name
		name = lower(name)
		if _, ok := r.user[name]; ok {
			b.declared = true
		} else if !b.add(name, args) {
			return false
		}
		if b.declared && b.depends {
			return false
		}
	}
	return true
}

// add puts one command into the batch, unless it clashes with those before it or its keys are not known.
func (b *batch) add(name string, a argv) bool {
	how := a.use(name)
	b.depends = b.depends || how == useDepend
	ok := true
	mark := func(i int, how use) {
		key, known := a.text(i)
		if !known || b.keys[key]&clashes[how] != 0 {
			ok = false
			return
		}
		b.keys[key] |= how
	}
	return a.eachKey(name, how, mark) && ok
}

// use returns how a command uses the keys it writes.
func (a argv) use(name string) use {
	how, ok := usedBy[name]
	if !ok {
		return useDepend
	}
	switch name {
	case "set":
		switch g, _ := setOptions.parse(a, 3); {
		case g.any("xx", "ifeq", "ifne", "ifdeq", "ifdne"):
			return useDepend
		case g.any("nx"):
			return useNew
		}
	case "zadd", "geoadd":
		// The score or the longitude follows the options.
		for i := 2; i < len(a); i++ {
			switch s, _ := a.text(i); lower(s) {
			case "nx":
				how = useNew
			case "ch":
			case "xx", "gt", "lt":
				return useDepend
			default:
				return how
			}
		}
	case "expire", "pexpire", "expireat", "pexpireat":
		if len(a) > 3 {
			return useDepend
		}
	case "getex":
		if g, _ := getexOptions.parse(a, 2); g.any("persist") {
			return useAdd
		}
	}
	return how
}

// eachKey calls mark for each key of the command. It returns false when it does not know them all.
func (a argv) eachKey(name string, how use, mark func(i int, how use)) bool {
	switch name {
	case "sort":
		g, ok := sortOptions.parse(a, 2)
		if !ok || g.any("by", "get") { // patterns name keys that nobody sees here
			return false
		}
		mark(1, useSource)
		mark(g["store"]+1, useDepend)
		return true
	case "georadius", "georadiusbymember":
		from := 6
		if name == "georadiusbymember" {
			from = 5
		}
		g, ok := geoOptions.parse(a, from)
		mark(1, useSource)
		for _, option := range []string{"store", "storedist"} {
			if i, given := g[option]; given {
				mark(i+1, useDepend)
			}
		}
		return ok
	case "zunionstore", "zinterstore", "zdiffstore":
		n, _ := a.number(2)
		mark(1, useDepend)
		for i := 3; i < 3+int(n); i++ {
			mark(i, useSource)
		}
		return true
	case "sunionstore", "sinterstore", "sdiffstore", "zrangestore", "geosearchstore":
		last := len(a) - 1
		if name == "zrangestore" || name == "geosearchstore" {
			last = 2
		}
		mark(1, useDepend)
		for i := 2; i <= last; i++ {
			mark(i, useSource)
		}
		return true
	case "bitop":
		mark(2, useDepend)
		for i := 3; i < len(a); i++ {
			mark(i, useSource)
		}
		return true
	case "copy":
		mark(1, useSource)
		mark(2, useDepend)
		return true
	}
	c := serverCommands[name]
	if len(a) > 1 && c.firstKey == 0 {
		sub, _ := a.text(1)
		c = serverCommands[name+"|"+lower(sub)]
	}
	if c.firstKey < 1 || c.step < 1 {
		return false
	}
	last := int(c.lastKey)
	if last < 0 {
		last += len(a)
	}
	for i := int(c.firstKey); i <= last; i += int(c.step) {
		mark(i, how)
	}
	return true
}
