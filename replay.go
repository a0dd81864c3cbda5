package multidb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Replay is a rung of the replay ladder: what running a command twice does to the data. As an option it is the highest
// rung that is run again.
//
// The question is asked only for a command whose request was sent, even in part, and whose reply never came. Such a
// command has been executed or it has not, and nothing the client can see tells which. A command that was certainly not
// applied (it was never written, or the server answered that it cannot serve now) is run again whatever its rung.
//
// The rung speaks of the data, not of the reply. A second run may answer differently from the lost first one:
//
//   - SET … NX and SETNX answer "not set" although it was their first run that set the key;
//   - GETDEL, GETSET and SET … GET answer with what their first run left behind: the old value is lost;
//   - DEL, SADD, ZADD and the like report that nothing changed;
//   - RENAME, XADD with an explicit id and XGROUP CREATE answer with an error;
//   - in a pipeline, a read before a write answers with what the first run wrote: GET k, SET k 1 with 1;
//   - XREAD from "$" misses what arrived between the two runs, and a SCAN cursor of one database means nothing
//     precise on another.
//
// Considered are all commands of Redis 7.0, by the server's own table and by their arguments, and those of Redis 8 by their
// documentation. Commands of modules (JSON, search, time series, vector sets), unknown ones, and forms that the library
// does not understand are never run again, unless Options.ReplayCommands declares them. Of a pipeline the unanswered tail is
// run again if that may be said of all of it together, in order, after any part of it; a MULTI … EXEC, also one of the
// caller's own commands in a pipeline, is one unit that only [ReplayAll] runs again.
//
// A second run on a database that has not yet received the first one converges with it when replication catches up,
// up to [ReplayLastWins]; from [ReplayAccumulating] on the effect is doubled.
//
// The zero value is the default, [ReplayLastWins]. Negative values are off: nothing that was sent is run again.
type Replay int

const (
	replayDefault Replay = 0

	// ReplayNone runs nothing again that was sent, not even a read.
	ReplayNone Replay = -1
)

// The rungs, mildest first. Each includes those above it.
const (
	// ReplayConnection is the rung of commands that do not touch the data: PING, INFO, TIME, CLIENT ID, CONFIG GET.
	ReplayConnection Replay = iota + 1

	// ReplayRead is the rung of commands that only read: every command with the server's readonly flag, a bare GETEX,
	// SORT without STORE, XREAD, the read-only scripts (EVAL_RO, FCALL_RO).
	ReplayRead

	// ReplayChecked is the rung of writes whose second run does nothing or fails: DEL, SADD, HSETNX, SET with NX or XX,
	// EXPIRE with a condition, COPY without REPLACE.
	ReplayChecked

	// ReplayLastWins is the rung of writes that end in the same state unless another client wrote in between, whose
	// write is then overwritten: SET, HSET, ZADD, EXPIRE, RENAME, SUNIONSTORE. A relative time to live counts anew from
	// the second run. XCLAIM and XAUTOCLAIM may count a delivery twice, and XAUTOCLAIM may claim more than its COUNT.
	//
	// This is the default.
	ReplayLastWins

	// ReplayAccumulating is the rung of writes that are applied twice: INCR, APPEND, LPUSH, LPOP, SPOP, XADD with a
	// generated id, EVAL. It also holds forms of milder commands that build on their own result, such as LTRIM k 1 -1,
	// ZREMRANGEBYRANK k 0 0, BITOP NOT k k or XTRIM k MAXLEN ~ 9.
	ReplayAccumulating

	// ReplayAdmin is the rung of commands that change the server: FLUSHALL, CONFIG SET, SAVE, SCRIPT LOAD, MIGRATE.
	ReplayAdmin

	// ReplayAll runs everything again, what is on no other rung included: MULTI … EXEC as a whole, WATCH, PUBLISH,
	// XREADGROUP, blocking pops and moves, WAIT, commands of Redis modules and unknown ones. A second run of these is a
	// different act: a message is published twice, a second element is popped, another connection's writes are waited
	// for. Two things are still never run again: commands that go-redis itself forbids to retry (they stream the reply
	// to a writer), and a part of a transaction without the rest of it.
	ReplayAll
)

// rungNever is the rung of commands that only [ReplayAll] runs again.
const rungNever = ReplayAll

var replayNames = [...]string{
	replayDefault:      "default",
	ReplayConnection:   "connection",
	ReplayRead:         "read",
	ReplayChecked:      "checked",
	ReplayLastWins:     "last-wins",
	ReplayAccumulating: "accumulating",
	ReplayAdmin:        "admin",
	ReplayAll:          "all",
}

// String returns the name of the rung: "none", "connection", "read", "checked", "last-wins", "accumulating", "admin",
// "all", or "default" for the zero value.
func (r Replay) String() string {
	switch {
	case r < 0:
		return "none"
	case int(r) < len(replayNames):
		return replayNames[r]
	default:
		return fmt.Sprintf("Replay(%d)", int(r))
	}
}

// resolve applies the house rule for option values: 0 is the default, negative is off. A value above the ladder is no
// rung and ok is false.
func (r Replay) resolve() (resolved Replay, ok bool) {
	switch {
	case r == replayDefault:
		return ReplayLastWins, true
	case r < 0:
		return ReplayNone, true
	case r > ReplayAll:
		return ReplayNone, false
	default:
		return r, true
	}
}

type replayKey struct{}

// WithReplay returns a context for which r, and not the option, is the highest rung that is run again. It holds for
// every command run with that context, and for a pipeline or transaction as a whole, whose context is that of Exec or
// Pipelined and not those that its commands were queued with. A transaction takes [ReplayAll].
//
//	// The script sets absolute values, so a second run changes nothing.
//	ctx := multidb.WithReplay(ctx, multidb.ReplayAccumulating)
//	err := script.Run(ctx, rdb, keys, args...).Err()
//
// Through an autopipeliner it has no effect, in either direction: go-redis runs a batch of many callers with a context of
// its own.
//
// [ReplayNone] forbids every second run. The zero value leaves the decision to the option. A value that is no rung
// counts as [ReplayNone]. The context is safe for concurrent use, as every context is.
func WithReplay(ctx context.Context, r Replay) context.Context {
	return context.WithValue(ctx, replayKey{}, r)
}

// replayFrom returns the override that [WithReplay] put in ctx, resolved.
func replayFrom(ctx context.Context) (Replay, bool) {
	r, _ := ctx.Value(replayKey{}).(Replay)
	if r == replayDefault {
		return replayDefault, false
	}
	r, _ = r.resolve()
	return r, true
}

// replayRules are the compiled replay options. They are immutable and safe for concurrent use. The zero value is the
// default.
type replayRules struct {
	max  Replay
	user map[string]Replay // by lower-case command name
}

// newReplayRules compiles the highest rung and the commands the user declared. It reports all bad entries at once, each
// by its name.
func newReplayRules(highest Replay, user map[string]Replay) (replayRules, error) {
	var errs []error
	rules := replayRules{}
	var ok bool
	if rules.max, ok = highest.resolve(); !ok {
		errs = append(errs, fmt.Errorf("Replay: %d is no rung (ReplayAll is the highest)", int(highest)))
	}
	names := make([]string, 0, len(user))
	for name := range user {
		names = append(names, name)
	}
	slices.Sort(names) // the same mistakes give the same message
	spelling := make(map[string]string, len(user))
	for _, name := range names {
		lower, rung := lower(name), user[name]
		first, twice := spelling[lower]
		switch {
		case name == "" || strings.ContainsAny(name, " \t\r\n|"):
			errs = append(errs, fmt.Errorf("ReplayCommands[%q]: want the name of one command, without its arguments", name))
		case transactional(lower):
			errs = append(errs, fmt.Errorf("ReplayCommands[%q]: a transaction is decided as a whole; "+
				"use WithReplay(ctx, ReplayAll) for one that may run twice", name))
		case rung == replayDefault:
			errs = append(errs, fmt.Errorf("ReplayCommands[%q]: 0 is no rung; name one, "+
				"or ReplayNone to never run it again", name))
		case rung > ReplayAll:
			errs = append(errs, fmt.Errorf("ReplayCommands[%q]: %d is no rung (ReplayAll is the highest)", name, int(rung)))
		case twice:
			errs = append(errs, fmt.Errorf("ReplayCommands[%q]: declared twice, also as %q", name, first))
		default:
			if rules.user == nil {
				rules.user = make(map[string]Replay, len(user))
			}
			rules.user[lower], _ = rung.resolve()
			spelling[lower] = name
		}
	}
	return rules, errors.Join(errs...)
}

// may says whether cmds, sent in this order over one connection and not answered, may all be run again, in order. It
// is what the hook asks, for one command or for the unanswered tail of a pipeline.
//
// The answer for several commands is stricter than the answers for each: see [replayRules.composes].
func (r replayRules) may(ctx context.Context, cmds ...redis.Cmder) bool {
	highest, ok := replayFrom(ctx)
	if !ok {
		highest, _ = r.max.resolve()
	}
	if !wholeTransactions(cmds) {
		return false
	}
	for _, cmd := range cmds {
		if cmd.NoRetry() {
			return false
		}
		// A negative rung is the user's veto on that command, below every highest rung yet never run again.
		if rung := r.rung(cmd); rung < 0 || rung > highest {
			return false
		}
	}
	return len(cmds) < 2 || highest >= ReplayAccumulating || r.composes(cmds)
}

// rung returns what the user declared for the command, or else what is known of it.
func (r replayRules) rung(cmd redis.Cmder) Replay {
	args := argv(cmd.Args())
	if r.user != nil {
		if name, ok := args.text(0); ok {
			if rung, ok := r.user[lower(name)]; ok {
				return rung
			}
		}
	}
	return args.rung()
}
