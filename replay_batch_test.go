package multidb

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// The unanswered tail of a pipeline, by whether all of it may be run again by default.
var tails = map[bool][]string{
	true: {
		"", "GET a; GET b; PING; SELECT 1", "GET a; INFO; XREAD BLOCK 0 STREAMS s $",
		"GET a; LSET l 0 x; GET b", "RENAME a b; GET b", "SETNX k 1; TTL k", "SELECT 1; COPY a b; PING",
		"SET a 1; SET a 2; SET b 3; GET a", "MSET a 1 b 2; SET a 3 EX 100; SETEX b 9 x; PSETEX c 9 x; DEL a b; UNLINK c",
		"HSET h f 1; HSET h f 2; HMSET h g 1", "ZADD z 1 m; ZADD z CH 2 m; GEOADD g 1 2 m; GEOADD g CH 1 2 m",
		"SADD s a; SADD s b; SADD t a", "SREM s a; SREM s a; HDEL h f; ZREM z m", "SADD s a; SREM t a",
		"SETBIT k 1 1; SETRANGE k 0 x", "SET s x; DEL s; SADD s a", "SREM s a; DEL s; SET s 1",
	},
	false: {
		"INCR k", "GET a; INCR k", "SET a 1; PUBLISH c m", "BLPOP l 0; PING", "JSON.GET doc; PING",
		"RENAME a b; SET a 1", "SET k 2 XX; SETNX k 1", "SET k 2 XX; SET k 1 NX", "DEL k; SETNX k 1; SET k 2 XX",
		"EXPIRE k 100; SET k 1 KEEPTTL", "EXPIRE k 100; HSET k f v", "LTRIM l 0 1; LTRIM l 0 5", "LSET l 0 x; DEL l",
		"COPY a b; SET a 1", "SUNIONSTORE d a; SADD a x", "SMOVE a b m; SADD a m", "SET k v GET; SREM k a",
		"ZADD z XX 5 m; ZADD z GT 3 m", "ZADD z XX 1 m; ZADD z 1 m", "ZADD z 1 m; ZADD z CH LT 1 m", "GEOADD g XX 1 1 m; GEOADD g NX 2 2 m",
		"SADD s a; SREM s a", "SREM s a; SADD s a; SREM s b", "HSET k f 1; SREM k a; SADD k b",
		"SADD … a; SET k 1", "SREM s a; HDEL … f", "GETDEL k; SET k 1", "XADD s 5-1 f v; XADD s 6-1 f v",
		"XGROUP CREATE s g $; XADD s 5-1 f v", "SETNX a 1; SETNX b 1",
	},
}

func TestReplayOfPipelines(t *testing.T) {
	for want, lines := range tails {
		for _, line := range lines {
			assert.Equal(t, want, replayRules{}.may(t.Context(), commands(line)...), "%s", line)
		}
	}
}

func TestReplayOfPipelinesByRung(t *testing.T) {
	for _, c := range []struct {
		highest Replay
		line    string
		want    bool
	}{
		{ReplayNone, "PING; PING", false},
		{ReplayConnection, "PING; TIME", true}, {ReplayConnection, "PING; GET k", false},
		{ReplayRead, "GET a; GET b", true}, {ReplayRead, "GET a; DEL b", false},
		{ReplayChecked, "DEL a; SADD b x", true}, {ReplayChecked, "DEL a; SET b x", false}, {ReplayChecked, "SETNX a 1; SETNX a 2", false},
		// Who lets commands be applied twice lets these be, too.
		{ReplayAccumulating, "RENAME a b; SET a 1", true}, {ReplayAccumulating, "INCR a; INCR b", true},
		{ReplayAccumulating, "INCR a; FLUSHALL", false}, {ReplayAdmin, "INCR a; FLUSHALL", true}, {ReplayAdmin, "PUBLISH c m; PING", false},
		{ReplayAll, "PUBLISH c m; BLPOP l 0; NOSUCHCOMMAND", true},
	} {
		assert.Equal(t, c.want, newRules(t, c.highest, nil).may(t.Context(), commands(c.line)...), "%s with %v", c.line, c.highest)
	}
}

// What the user declares of a command is said of it alone, not of a sequence.
func TestReplayOfPipelinesWithUserCommands(t *testing.T) {
	rules := newRules(t, 0, map[string]Replay{"json.get": ReplayRead, "json.set": ReplayLastWins, "SET": ReplayLastWins})
	assert.True(t, rules.may(t.Context(), commands("JSON.GET a; SET k 1; JSON.GET b")...))
	assert.True(t, rules.may(t.Context(), commands("JSON.SET a $ 1; GET b")...))
	assert.False(t, rules.may(t.Context(), commands("JSON.SET a $ 1; HSET h f v")...))
	assert.False(t, rules.may(t.Context(), commands("SET a 1; HSET h f v")...))
}

// A transaction is one unit, on no rung; a part of one is not run again by anyone.
func TestReplayOfTransactions(t *testing.T) {
	for line, want := range map[string]bool{
		"MULTI; GET k; EXEC": true, "multi; incr k; exec": true, "MULTI; EXEC": true, "MULTI; INCR k; DISCARD": true,
		"GET a; MULTI; SET a 1; EXEC; GET a; MULTI; EXEC": true,
		"MULTI": false, "EXEC": false, "DISCARD": false, "MULTI; GET k": false, "GET k; EXEC": false, "INCR k; EXEC; GET k": false,
		"MULTI; MULTI; EXEC": false, "MULTI; EXEC; EXEC": false, "MULTI; EXEC; MULTI": false, "Exec; Multi": false, "WATCH k": true,
	} {
		for _, highest := range append([]Replay{ReplayNone}, ladder...) {
			got := newRules(t, highest, nil).may(t.Context(), commands(line)...)
			assert.Equal(t, want && highest == ReplayAll, got, "%s with %v", line, highest)
		}
	}
}
