package multidb

import "github.com/redis/go-redis/v9"

// What may be said of several commands is less than what may be said of each. The connection may have died after any
// part of the tail was executed, so the whole of it, run after any such part, must end where one run would have:
//
//	RENAME a b; SET a 1      twice: b is 1, where it should be what a was
//	SET k 2 XX; SETNX k 1    twice: k is 2, where it should be 1
//
// although each of these four commands may be run twice by itself.

// transactional are the commands that make several into one.
func transactional(name string) bool {
	switch name {
	case "multi", "exec", "discard", "watch":
		return true
	}
	return false
}

// wholeTransactions says whether every EXEC in cmds has its MULTI there, and every MULTI its EXEC.
func wholeTransactions(cmds []redis.Cmder) bool {
	open := false
	for _, cmd := range cmds {
		name, _ := argv(cmd.Args()).text(0)
		switch lower(name) {
		case "multi":
			if open {
				return false
			}
			open = true
		case "exec", "discard":
			if !open {
				return false
			}
			open = false
		}
	}
	return !open
}

// composes says whether commands, each of which may be run twice, may be so in this order. It is so if at most one of
// them writes: what reads changes nothing. It is so if every write assigns constants to parts of one key (a value, a
// field, a member, a bit, an expiry, or nothing at all, as DEL does) whatever was there: then the last assignment of
// each part decides, and it is the same one in every run. Everything else is not run again: commands that look before
// they write (NX, XX, LSET, LTRIM) and commands that carry data from one key to another (RENAME, COPY, the STOREs).
func (r replayRules) composes(cmds []redis.Cmder) bool {
	writes, assigning := 0, 0
	for _, cmd := range cmds {
		if r.rung(cmd) <= ReplayRead {
			continue
		}
		writes++
		if r.assigns(cmd) {
			assigning++
		}
	}
	return writes <= 1 || writes == assigning
}

// assigns reports whether a command sets parts of keys to constants, whatever is there. Without options it is told by
// the name; with one that makes it conditional the rung is another than that of the plain command.
func (r replayRules) assigns(cmd redis.Cmder) bool {
	args := argv(cmd.Args())
	name, _ := args.text(0)
	name = lower(name)
	if _, declared := r.user[name]; declared {
		return false // the user has spoken of the command alone
	}
	plain, ok := assignments[name]
	return ok && args.rung() == plain
}

// assignments has the commands that assign, with the rung of their plain form. LSET fails on a list
// that is too short, and EXPIRE does nothing to a key that is not there, so an earlier DEL or SET changes what they do.
var assignments = map[string]Replay{
	"set": ReplayLastWins, "mset": ReplayLastWins, "setex": ReplayLastWins, "psetex": ReplayLastWins,
	"hset": ReplayLastWins, "hmset": ReplayLastWins, "zadd": ReplayLastWins, "geoadd": ReplayLastWins,
	"setbit": ReplayLastWins, "setrange": ReplayLastWins,
	"sadd": ReplayChecked, "srem": ReplayChecked, "zrem": ReplayChecked, "hdel": ReplayChecked,
	"del": ReplayChecked, "unlink": ReplayChecked,
}
