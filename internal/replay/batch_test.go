package replay

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
			assert.Equal(t, want, Rules{}.May(t.Context(), commands(line)...), "%s", line)
		}
	}
}

func TestReplayOfPipelinesByRung(t *testing.T) {
	for _, c := range []struct {
		highest Rung
		line    string
		want    bool
	}{
		{None, "PING; PING", false},
		{Connection, "PING; TIME", true}, {Connection, "PING; GET k", false},
		{Read, "GET a; GET b", true}, {Read, "GET a; DEL b", false},
		{Checked, "DEL a; SADD b x", true}, {Checked, "DEL a; SET b x", false}, {Checked, "SETNX a 1; SETNX a 2", false},
		// Who lets commands be applied twice lets these be, too.
		{Accumulating, "RENAME a b; SET a 1", true}, {Accumulating, "INCR a; INCR b", true},
		{Accumulating, "INCR a; FLUSHALL", false}, {Admin, "INCR a; FLUSHALL", true}, {Admin, "PUBLISH c m; PING", false},
		{All, "PUBLISH c m; BLPOP l 0; NOSUCHCOMMAND", true},
	} {
		assert.Equal(t, c.want, newRules(t, c.highest, nil).May(t.Context(), commands(c.line)...), "%s with %v", c.line, c.highest)
	}
}

// What the user declares of a command is said of it alone, not of a sequence.
func TestReplayOfPipelinesWithUserCommands(t *testing.T) {
	rules := newRules(t, 0, map[string]Rung{"json.get": Read, "json.set": LastWins, "SET": LastWins})
	assert.True(t, rules.May(t.Context(), commands("JSON.GET a; SET k 1; JSON.GET b")...))
	assert.True(t, rules.May(t.Context(), commands("JSON.SET a $ 1; GET b")...))
	assert.False(t, rules.May(t.Context(), commands("JSON.SET a $ 1; HSET h f v")...))
	assert.False(t, rules.May(t.Context(), commands("SET a 1; HSET h f v")...))
}

// A transaction is one unit, on no rung; a part of one is not run again by anyone.
func TestReplayOfTransactions(t *testing.T) {
	for line, want := range map[string]bool{
		"MULTI; GET k; EXEC": true, "multi; incr k; exec": true, "MULTI; EXEC": true, "MULTI; INCR k; DISCARD": true,
		"GET a; MULTI; SET a 1; EXEC; GET a; MULTI; EXEC": true,
		"MULTI": false, "EXEC": false, "DISCARD": false, "MULTI; GET k": false, "GET k; EXEC": false, "INCR k; EXEC; GET k": false,
		"MULTI; MULTI; EXEC": false, "MULTI; EXEC; EXEC": false, "MULTI; EXEC; MULTI": false, "Exec; Multi": false, "WATCH k": true,
	} {
		for _, highest := range append([]Rung{None}, ladder...) {
			got := newRules(t, highest, nil).May(t.Context(), commands(line)...)
			assert.Equal(t, want && highest == All, got, "%s with %v", line, highest)
		}
	}
}
