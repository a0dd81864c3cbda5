package replay

import (
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/resp"
)

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

// WholeTransactions says whether every EXEC in cmds has its MULTI there, and every MULTI its EXEC.
func WholeTransactions(cmds []redis.Cmder) bool {
	open := false
	for _, cmd := range cmds {
		name, _ := argv(cmd.Args()).text(0)
		switch resp.Lower(name) {
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
// them writes: what reads changes nothing. It is so if each of them has an effect that asks for nothing but the type of
// the key, and no key is both filled and emptied:
//
//   - after a reset nothing before it counts, in any run;
//   - without one, what fills a key leaves each part as its last assignment says, and what empties a key leaves what no
//     command removes, however often.
//
// Filling and emptying do not mix, for a key that loses its last part is gone, with its time to live and its type: on a
// set of one member b that expires,
//
//	SREM k a; SADD k a; SREM k b
//
// keeps the expiry, and run again, now that b is gone, loses it. Everything else is not run again: commands that look
// before they write (NX, XX, LSET, LTRIM, EXPIRE) and commands that carry data from one key to another (RENAME, COPY,
// the STOREs).
func (r Rules) composes(cmds []redis.Cmder) bool {
	writes, understood := 0, true
	var partly map[string]effect // by key: how its parts are changed
	for _, cmd := range cmds {
		if r.Rung(cmd) <= Read {
			continue
		}
		writes++
		e := r.effect(cmd)
		if e == resets {
			continue
		}
		key, ok := argv(cmd.Args()).text(1)
		if before, changed := partly[key]; e == anything || !ok || changed && before != e {
			understood = false
			continue
		}
		if partly == nil {
			partly = make(map[string]effect)
		}
		partly[key] = e
	}
	return writes <= 1 || understood
}

// effect is what a command does to its keys, as far as the order of several commands asks.
type effect int

const (
	anything effect = iota // none of the others, or not known
	resets                 // gives whole keys a constant value, or deletes them, whatever was there
	fills                  // sets parts of a key to constants; makes the key if it is not there
	empties                // removes parts of a key, and the key with the last of them
)

var effectOf = map[string]effect{
	"set": resets, "mset": resets, "setex": resets, "psetex": resets, "del": resets, "unlink": resets,
	"hset": fills, "hmset": fills, "sadd": fills, "zadd": fills, "geoadd": fills, "setbit": fills, "setrange": fills,
	"hdel": empties, "srem": empties, "zrem": empties,
}

func (r Rules) effect(cmd redis.Cmder) effect {
	args := argv(cmd.Args())
	name, _ := args.text(0)
	name = resp.Lower(name)
	if _, declared := r.user[name]; declared {
		return anything // the user has spoken of the command alone
	}
	e := effectOf[name]
	unconditional := true
	switch name {
	case "set": // GET looks at the type, KEEPTTL at the time to live
		_, unconditional = expiryOptions.parse(args, 3)
	case "zadd", "geoadd":
		option, ok := args.text(2)
		if resp.Lower(option) == "ch" {
			option, ok = args.text(3)
		}
		_, err := strconv.ParseFloat(option, 64)
		unconditional = ok && err == nil
	}
	if !unconditional {
		return anything
	}
	return e
}

var expiryOptions = options{"ex": 1, "px": 1, "exat": 1, "pxat": 1}
