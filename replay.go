package multidb

import (
	"context"

	"github.com/redishook/multidb/internal/replay"
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

// String returns the name of the rung: "none", "connection", "read", "checked", "last-wins", "accumulating", "admin",
// "all", or "default" for the zero value.
func (r Replay) String() string { return replay.Rung(r).String() }

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
	return replay.WithHighest(ctx, replay.Rung(r))
}
