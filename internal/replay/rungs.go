package replay

import (
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/resp"
)

//go:generate go run ./gencommands

// serverFlags are what the server's command table says of a command, as far as replay asks.
type serverFlags uint8

const (
	flagRead serverFlags = 1 << iota
	flagWrite
	flagBlocking
)

// rule is the hand-written part of what is known of a command: its rung, or how its arguments decide.
type rule struct {
	rung Rung
	args func(argv) Rung // decides in place of rung, when set
}

// rung finds the rung of a command: first in the hand-written rules, then the readonly flag of the server's own table.
// What is in neither is "never".
func (a argv) rung() Rung {
	name, ok := a.text(0)
	if !ok {
		return never
	}
	name = resp.Lower(name)
	if r, ok := ruleOf[name]; ok {
		if r.args != nil {
			return r.args(a)
		}
		return r.rung
	}
	if serverCommands[name]&flagRead != 0 {
		return Read
	}
	return never
}

// ruleOf has the commands whose rung the server's table does not tell. What only reads by the server's flag is
// not repeated here.
var ruleOf = rules(
	// Nothing to do with the data. SUBSCRIBE and its family and what sets up a session change the connection only.
	at(Connection,
		"ping", "echo", "time", "info", "dbsize", "role", "command", "lastsave",
		"auth", "hello", "select", "readonly", "readwrite", "asking", "reset", "quit",
		"subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe", "pubsub"),

	// A second run finds its work done.
	at(Checked,
		"setnx", "msetnx", "hsetnx", "del", "unlink", "persist", "renamenx", "move", "getdel", "hdel",
		"sadd", "srem", "smove", "zrem", "zremrangebyscore", "zremrangebylex", "pfadd", "xdel", "xack"),

	// Absolute values: the same end state.
	at(LastWins,
		"getset", "mset", "setex", "psetex", "setrange", "setbit", "rename", "hset", "hmset", "lset", "geoadd",
		"xclaim", "xautoclaim", "xsetid"),

	at(Accumulating,
		"incr", "incrby", "incrbyfloat", "decr", "decrby", "append", "hincrby", "hincrbyfloat", "zincrby",
		"lpush", "rpush", "lpushx", "rpushx", "linsert", "lrem", "lpop", "rpop", "lmpop", "lmove", "rpoplpush",
		"spop", "zpopmin", "zpopmax", "zmpop", "pfmerge", "eval", "evalsha", "fcall"),

	at(Admin,
		"flushall", "flushdb", "save", "bgsave", "bgrewriteaof", "migrate"),

	// What another run of would be a different act. Listed, although what is not listed is "never" too, because each was
	// thought about:
	//   - a second PUBLISH is a second message, a second XREADGROUP hands out the next entries;
	//   - a blocking pop that was sent takes an element later, for a reply that nobody reads;
	//   - WAIT and WAITAOF ask about the writes of their own connection: on a fresh one they answer at once that all is
	//     safe, which nobody has checked;
	//   - SWAPDB undoes itself;
	//   - SHUTDOWN, FAILOVER and REPLICAOF would be run on the next database as well.
	at(never,
		"multi", "exec", "discard", "watch", "unwatch", "publish", "spublish", "xreadgroup",
		"blpop", "brpop", "brpoplpush", "blmove", "blmpop", "bzpopmin", "bzpopmax", "bzmpop", "blmovem",
		"wait", "waitaof", "swapdb", "shutdown", "failover", "replicaof", "slaveof",
		"debug", "monitor", "sync", "psync", "replconf", "pfselftest", "pfdebug"),

	// The arguments decide.
	by(setRung, "set"), by(getexRung, "getex"), by(bitfieldRung, "bitfield"), by(bitopRung, "bitop"),
	by(expireRung, "expire", "pexpire", "expireat", "pexpireat"),
	by(copyRung, "copy"), by(restoreRung, "restore", "restore-asking"),
	by(sortRung, "sort"), by(ltrimRung, "ltrim"),
	by(zaddRung, "zadd"), by(zremrangebyrankRung, "zremrangebyrank"),
	by(georadiusRung(6), "georadius"), by(georadiusRung(5), "georadiusbymember"),
	by(storeFromRung, "zrangestore", "geosearchstore"),
	by(storeKeysRung, "sdiffstore", "sinterstore", "sunionstore"),
	by(storeNumkeysRung, "zdiffstore", "zinterstore", "zunionstore"),
	by(xaddRung, "xadd"), by(xtrimRung, "xtrim"),
	by(subcommandRung, "acl", "client", "cluster", "config", "function", "latency", "memory", "module", "object",
		"script", "slowlog", "xgroup", "xinfo", "hotkeys"),

	// Newer than the server the table was generated from, judged by their documentation. Vector sets are not here: they
	// are a module, and what a module does is for its user to declare.
	at(Read,
		"httl", "hpttl", "hexpiretime", "hpexpiretime", "digest",
		"arget", "argetrange", "armget", "arlen", "arcount", "arnext", "arinfo", "arscan", "arop", "argrep", "arlastitems"),
	at(Checked, "hpersist", "hgetdel", "xdelex", "xackdel", "delex", "ardel", "ardelrange"),
	at(LastWins, "arset", "armset", "arseek"),
	at(Accumulating, "increx", "lmovem", "arinsert", "arring"),
	at(never, "xnack", "xcfgset", "himport"),
	by(hexpireRung, "hexpire", "hpexpire", "hexpireat", "hpexpireat"),
	by(hgetexRung, "hgetex"), by(hsetexRung, "hsetex"), by(msetexRung, "msetex"),
)

// subcommandRungOf has the subcommands, spelled as the server's table spells them. What changes the server is "admin".
// A subcommand that is not here is "never", unless the server's table says that it only reads.
var subcommandRungOf = flatten(
	at(Connection,
		"acl|cat", "acl|dryrun", "acl|genpass", "acl|getuser", "acl|list", "acl|users", "acl|whoami",
		"client|caching", "client|getname", "client|getredir", "client|id", "client|info", "client|list",
		"client|no-evict", "client|no-touch", "client|setinfo", "client|setname", "client|tracking",
		"client|trackinginfo",
		"cluster|count-failure-reports", "cluster|countkeysinslot", "cluster|getkeysinslot", "cluster|info",
		"cluster|keyslot", "cluster|links", "cluster|myid", "cluster|myshardid", "cluster|nodes", "cluster|replicas",
		"cluster|shards", "cluster|slaves", "cluster|slots", "cluster|slot-stats",
		"config|get", "function|list", "function|stats", "hotkeys|get",
		"latency|doctor", "latency|graph", "latency|histogram", "latency|history", "latency|latest",
		"memory|doctor", "memory|malloc-stats", "memory|stats", "module|list",
		"script|exists", "slowlog|get", "slowlog|len"),
	at(Read, "function|dump"),
	at(Checked, "xgroup|create", "xgroup|createconsumer", "xgroup|delconsumer", "xgroup|destroy"),
	// XGROUP SETID with an id moves a group back to entries that were handed out since; with $ past those added since.
	at(LastWins, "xgroup|setid"),
	at(Admin,
		"acl|deluser", "acl|load", "acl|save", "acl|setuser",
		"client|kill", "client|pause", "client|unblock", "client|unpause",
		"cluster|addslots", "cluster|addslotsrange", "cluster|bumpepoch", "cluster|delslots", "cluster|delslotsrange",
		"cluster|failover", "cluster|flushslots", "cluster|forget", "cluster|meet", "cluster|replicate",
		"cluster|reset", "cluster|saveconfig", "cluster|set-config-epoch", "cluster|setslot", "cluster|migration",
		"config|resetstat", "config|rewrite", "config|set",
		"function|delete", "function|flush", "function|kill", "function|load", "function|restore",
		"hotkeys|reset", "hotkeys|start", "hotkeys|stop",
		"latency|reset", "memory|purge", "module|load", "module|loadex", "module|unload",
		"script|debug", "script|flush", "script|kill", "script|load", "slowlog|reset"),
	// CLIENT REPLY takes the replies away that everything here waits for.
	at(never, "client|reply"),
)

// named are rules by command name.
type named struct {
	rule
	names []string
}

func at(rung Rung, names ...string) named { return named{rule{rung: rung}, names} }

func by(args func(argv) Rung, names ...string) named { return named{rule{args: args}, names} }

// rules makes one map of the groups. A name in two groups is a mistake that must not pass silently.
func rules(groups ...named) map[string]rule {
	m := make(map[string]rule)
	for _, g := range groups {
		for _, name := range g.names {
			if _, twice := m[name]; twice {
				panic("multidb: replay rung of " + name + " is given twice")
			}
			m[name] = g.rule
		}
	}
	return m
}

func flatten(groups ...named) map[string]Rung {
	m := make(map[string]Rung)
	for name, r := range rules(groups...) {
		m[name] = r.rung
	}
	return m
}

// RunsCode reports whether a command runs what only its user knows: a script, a function, a command of a module or an
// unknown one. Such code may have done anything before it answered with READONLY or TRYAGAIN, which it may have made up.
func RunsCode(cmd redis.Cmder) bool {
	switch name := resp.Lower(cmd.Name()); name {
	case "eval", "evalsha", "fcall":
		return true
	default:
		_, known := ruleOf[name]
		return !known && serverCommands[name] == 0
	}
}

// Blocks reports whether the reply to a command of that name may have to wait for another client, or for replicas.
func Blocks(name []byte) bool {
	flags, known := serverCommands[string(name)]
	if !known {
		flags = serverCommands[resp.Lower(string(name))]
	}
	return flags&flagBlocking != 0 || len(name) >= 4 && strings.EqualFold(string(name[:4]), "wait")
}
