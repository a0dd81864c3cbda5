package replay

import (
	"bytes"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ladder is every rung, mildest first.
var ladder = []Rung{
	Connection, Read, Checked, LastWins, Accumulating, Admin, All,
}

// onRung has one command of each rung.
var onRung = map[Rung]string{
	Connection: "PING", Read: "GET k", Checked: "DEL k", LastWins: "SET k v",
	Accumulating: "INCR k", Admin: "FLUSHALL", All: "PUBLISH c m",
}

func newRules(t *testing.T, highest Rung, user map[string]Rung) Rules {
	t.Helper()
	rules, err := New(highest, user)
	require.NoError(t, err)
	return rules
}

func TestReplayNames(t *testing.T) {
	for r, want := range map[Rung]string{
		-7: "none", None: "none", 0: "default", Connection: "connection", Read: "read",
		Checked: "checked", LastWins: "last-wins", Accumulating: "accumulating", Admin: "admin",
		All: "all", All + 1: "Replay(8)",
	} {
		assert.Equal(t, want, r.String())
	}
}

// A rung includes those above it and no other.
func TestReplayHighestRung(t *testing.T) {
	for _, highest := range append([]Rung{-9, None}, ladder...) {
		rules := newRules(t, highest, nil)
		for _, rung := range ladder {
			assert.Equal(t, rung <= highest, rules.May(t.Context(), command(onRung[rung])), "%v with %v", onRung[rung], highest)
		}
	}
}

func TestReplayDefaultIsLastWins(t *testing.T) {
	for name, rules := range map[string]Rules{"zero value": {}, "compiled": newRules(t, 0, nil)} {
		assert.True(t, rules.May(t.Context(), command("SET k v")), name)
		assert.False(t, rules.May(t.Context(), command("INCR k")), name)
	}
}

func TestReplayUserCommands(t *testing.T) {
	rules := newRules(t, 0, map[string]Rung{
		"JSON.GET": Read, "json.numincrby": Accumulating, "EvalSha": LastWins,
		"get": None, "set": -5, "publish": Checked,
	})
	for line, want := range map[string]bool{
		"JSON.GET doc": true, "json.get doc": true, "Json.Get doc": true, "JSON.NUMINCRBY doc $ 1": false, "JSON.SET doc $ 1": false,
		"EVALSHA sha 0": true, "EVAL script 0": false, "GET k": false, "SET k v": false, "PUBLISH c m": true,
		"HSET h f v": true, "MGET k": true,
	} {
		assert.Equal(t, want, rules.May(t.Context(), command(line)), line)
	}
	assert.True(t, rules.May(t.Context(), redis.NewCmd(t.Context(), []byte("Json.Get"), "doc")))

	all := WithHighest(t.Context(), All)
	assert.True(t, rules.May(all, command("JSON.NUMINCRBY doc $ 1")))
	assert.False(t, rules.May(all, command("GET k")), "what the user never wants is not in All either")
	assert.False(t, rules.May(all, commands("PING; GET k")...))
	assert.False(t, rules.May(all, commands("MULTI; GET k; EXEC")...))
}

func TestReplayUserCommandsAreCopied(t *testing.T) {
	user := map[string]Rung{"json.get": Read}
	rules := newRules(t, 0, user)
	delete(user, "json.get")
	assert.True(t, rules.May(t.Context(), command("JSON.GET doc")))
}

// All mistakes are reported at once, each with its name, in the same words each time.
func TestReplayRulesErrors(t *testing.T) {
	user := map[string]Rung{
		"": Read, "config get": Read, "config|get": Read, "a\tb": Read, "a\r\nb": Read,
		"Exec": Read, "multi": All, "WATCH": None, "discard": Read,
		"json.get": Read, "JSON.GET": Read, "zero": 0, "high": All + 1, "fine": Read,
	}
	_, err := New(All+1, user)
	require.Error(t, err)
	assert.Equal(t, `Replay: 8 is no rung (ReplayAll is the highest)
ReplayCommands[""]: want the name of one command, without its arguments
ReplayCommands["Exec"]: a transaction is decided as a whole; use WithReplay(ctx, ReplayAll) for one that may run twice
ReplayCommands["WATCH"]: a transaction is decided as a whole; use WithReplay(ctx, ReplayAll) for one that may run twice
ReplayCommands["a\tb"]: want the name of one command, without its arguments
ReplayCommands["a\r\nb"]: want the name of one command, without its arguments
ReplayCommands["config get"]: want the name of one command, without its arguments
ReplayCommands["config|get"]: want the name of one command, without its arguments
ReplayCommands["discard"]: a transaction is decided as a whole; use WithReplay(ctx, ReplayAll) for one that may run twice
ReplayCommands["high"]: 8 is no rung (ReplayAll is the highest)
ReplayCommands["json.get"]: declared twice, also as "JSON.GET"
ReplayCommands["multi"]: a transaction is decided as a whole; use WithReplay(ctx, ReplayAll) for one that may run twice
ReplayCommands["zero"]: 0 is no rung; name one, or ReplayNone to never run it again`, err.Error())
}

func TestReplayOverride(t *testing.T) {
	t.Run("overrules the option, up and down", func(t *testing.T) {
		for _, option := range append([]Rung{None, 0}, ladder...) {
			rules := newRules(t, option, nil)
			for _, override := range append([]Rung{-9, None}, ladder...) {
				ctx := WithHighest(t.Context(), override)
				for _, rung := range ladder {
					assert.Equal(t, rung <= override, rules.May(ctx, command(onRung[rung])), "%v, %v over %v", rung, override, option)
				}
			}
		}
	})
	t.Run("0 leaves it to the option", func(t *testing.T) {
		ctx := WithHighest(t.Context(), 0)
		assert.True(t, newRules(t, Accumulating, nil).May(ctx, command("INCR k")))
		assert.False(t, newRules(t, None, nil).May(ctx, command("GET k")))
	})
	t.Run("0 takes an outer override back", func(t *testing.T) {
		ctx := WithHighest(WithHighest(t.Context(), All), 0)
		assert.False(t, Rules{}.May(ctx, command("INCR k")))
	})
	t.Run("the innermost counts", func(t *testing.T) {
		ctx := WithHighest(WithHighest(t.Context(), All), Read)
		assert.False(t, Rules{}.May(ctx, command("SET k v")))
	})
	t.Run("what is no rung forbids", func(t *testing.T) {
		ctx := WithHighest(t.Context(), All+1)
		assert.False(t, Rules{}.May(ctx, command("PING")))
	})
	t.Run("holds for a pipeline as a whole", func(t *testing.T) {
		ctx := WithHighest(t.Context(), Read)
		assert.True(t, Rules{}.May(ctx, commands("GET a; GET b")...))
		assert.False(t, Rules{}.May(ctx, commands("GET a; SET b 1")...))
	})
}

// A command that go-redis forbids to retry is not run again, whatever anyone allows.
func TestReplayNoRetryIsAVeto(t *testing.T) {
	raw := redis.NewRawWriteToCmd(t.Context(), &bytes.Buffer{}, "get", "k")
	require.True(t, raw.NoRetry())
	rules := newRules(t, All, map[string]Rung{"get": Connection})
	ctx := WithHighest(t.Context(), All)
	assert.False(t, rules.May(ctx, raw))
	assert.False(t, rules.May(ctx, command("PING"), raw))
	assert.True(t, rules.May(ctx, command("GET k")))
}
