package multidb

import (
	"context"

	"github.com/redishook/multidb/internal/replay"
)

// Replay is a rung of the replay ladder: what running a command twice does to the data. As an option it is the highest
// rung that is run again.
//
// The question is asked only for a command whose request was sent, even in part, and whose reply never came. Such a
// command has been executed or it has not, and nothing the client can see tells which. A command that was
// certainly not applied is run again whatever its rung. It was never written, or the server answered that it
// cannot serve now.
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
// documentation. Commands of modules (JSON, search, time series, vector sets) and unknown ones are never run
// again, unless Options.ReplayCommands declares them. So it is with forms that the library does not understand.
// The unanswered tail of a pipeline is run again if all of it together may be: in order, after any part of it. A
// MULTI … EXEC is one unit that only [ReplayAll] runs again, also where a caller has written it into a pipeline.
//
// A second run may be on a database that has not yet received the first one. Up to [ReplayLastWins] the two
// converge when replication catches up. From [ReplayAccumulating] on the effect is doubled.
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

	// ReplayRead is the rung of commands that only read. These are all commands with the server's readonly flag, a
	// bare GETEX, SORT without STORE, XREAD, and read-only scripts (EVAL_RO, FCALL_RO).
	ReplayRead

	// ReplayChecked is the rung of writes whose second run does nothing or fails. Examples are DEL, SADD, HSETNX,
	// SET with NX or XX, EXPIRE with a condition, and COPY without REPLACE.
	ReplayChecked

	// ReplayLastWins is the rung of writes that end in the same state: SET, HSET, ZADD, EXPIRE, RENAME,
	// SUNIONSTORE. If another client wrote in between, its write is overwritten. A relative time to live counts
	// anew from the second run. XCLAIM and XAUTOCLAIM may count a delivery twice, and XAUTOCLAIM may claim more
	// than its COUNT.
	//
	// This is the default.
	ReplayLastWins

	// ReplayAccumulating is the rung of writes that are applied twice: INCR, APPEND, LPUSH, LPOP, SPOP, XADD with a
	// generated id, EVAL. It also holds forms of milder commands that build on their own result. Examples are
	// LTRIM k 1 -1, ZREMRANGEBYRANK k 0 0, BITOP NOT k k, and XTRIM k MAXLEN ~ 9.
	ReplayAccumulating

	// ReplayAdmin is the rung of commands that change the server: FLUSHALL, CONFIG SET, SAVE, SCRIPT LOAD, MIGRATE.
	ReplayAdmin

	// ReplayAll runs everything again, what is on no other rung included. That is MULTI … EXEC as a whole, WATCH,
	// PUBLISH, XREADGROUP, blocking pops and moves, WAIT, and unknown commands. A second run of these is a
	// different act: a message is published twice, a second element is popped, another connection's writes are
	// waited for. Two things are still never run again. One is a command that go-redis itself forbids to retry,
	// because it streams the reply to a writer. The other is a part of a transaction without the rest of it.
	ReplayAll
)

// String returns the name of the rung: "none", "connection", "read", "checked", "last-wins", "accumulating", "admin",
// "all", or "default" for the zero value.
func (r Replay) String() string { return replay.Rung(r).String() }

// WithReplay returns a context for which r, and not the option, is the highest rung that is run again. It holds
// for every command run with that context, and for a pipeline or transaction as a whole. The context of those is
// that of Exec or Pipelined, and not those that its commands were queued with. A transaction takes [ReplayAll].
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
