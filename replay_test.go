package multidb

import (
	"bytes"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ladder is every rung, mildest first.
var ladder = []Replay{
	ReplayConnection, ReplayRead, ReplayChecked, ReplayLastWins, ReplayAccumulating, ReplayAdmin, ReplayAll,
}

// onRung has one command of each rung.
var onRung = map[Replay]string{
	ReplayConnection: "PING", ReplayRead: "GET k", ReplayChecked: "DEL k", ReplayLastWins: "SET k v",
	ReplayAccumulating: "INCR k", ReplayAdmin: "FLUSHALL", ReplayAll: "PUBLISH c m",
}

func newRules(t *testing.T, highest Replay, user map[string]Replay) replayRules {
	t.Helper()
	rules, err := newReplayRules(highest, user)
	require.NoError(t, err)
	return rules
}

func TestReplayNames(t *testing.T) {
	for r, want := range map[Replay]string{
		-7: "none", ReplayNone: "none", 0: "default", ReplayConnection: "connection", ReplayRead: "read",
		ReplayChecked: "checked", ReplayLastWins: "last-wins", ReplayAccumulating: "accumulating", ReplayAdmin: "admin",
		ReplayAll: "all", ReplayAll + 1: "Replay(8)",
	} {
		assert.Equal(t, want, r.String())
	}
}

// A rung includes those above it and no other.
func TestReplayHighestRung(t *testing.T) {
	for _, highest := range append([]Replay{-9, ReplayNone}, ladder...) {
		rules := newRules(t, highest, nil)
		for _, rung := range ladder {
			assert.Equal(t, rung <= highest, rules.may(t.Context(), command(onRung[rung])), "%v with %v", onRung[rung], highest)
		}
	}
}

func TestReplayDefaultIsLastWins(t *testing.T) {
	for name, rules := range map[string]replayRules{"zero value": {}, "compiled": newRules(t, 0, nil)} {
		assert.True(t, rules.may(t.Context(), command("SET k v")), name)
		assert.False(t, rules.may(t.Context(), command("INCR k")), name)
	}
}

func TestReplayUserCommands(t *testing.T) {
	rules := newRules(t, 0, map[string]Replay{
		"JSON.GET": ReplayRead, "json.numincrby": ReplayAccumulating, "EvalSha": ReplayLastWins,
		"get": ReplayNone, "set": -5, "publish": ReplayChecked,
	})
	for line, want := range map[string]bool{
		"JSON.GET doc": true, "json.get doc": true, "Json.Get doc": true, "JSON.NUMINCRBY doc $ 1": false, "JSON.SET doc $ 1": false,
		"EVALSHA sha 0": true, "EVAL script 0": false, "GET k": false, "SET k v": false, "PUBLISH c m": true,
		"HSET h f v": true, "MGET k": true,
	} {
		assert.Equal(t, want, rules.may(t.Context(), command(line)), line)
	}
	assert.True(t, rules.may(t.Context(), redis.NewCmd(t.Context(), []byte("Json.Get"), "doc")))

	all := WithReplay(t.Context(), ReplayAll)
	assert.True(t, rules.may(all, command("JSON.NUMINCRBY doc $ 1")))
	assert.False(t, rules.may(all, command("GET k")), "what the user never wants is not in ReplayAll either")
	assert.False(t, rules.may(all, commands("PING; GET k")...))
	assert.False(t, rules.may(all, commands("MULTI; GET k; EXEC")...))
}

func TestReplayUserCommandsAreCopied(t *testing.T) {
	user := map[string]Replay{"json.get": ReplayRead}
	rules := newRules(t, 0, user)
	delete(user, "json.get")
	assert.True(t, rules.may(t.Context(), command("JSON.GET doc")))
}

// All mistakes are reported at once, each with its name, in the same words each time.
func TestReplayRulesErrors(t *testing.T) {
	user := map[string]Replay{
		"": ReplayRead, "config get": ReplayRead, "config|get": ReplayRead, "a\tb": ReplayRead, "a\r\nb": ReplayRead,
		"Exec": ReplayRead, "multi": ReplayAll, "WATCH": ReplayNone, "discard": ReplayRead,
		"json.get": ReplayRead, "JSON.GET": ReplayRead, "zero": 0, "high": ReplayAll + 1, "fine": ReplayRead,
	}
	_, err := newReplayRules(ReplayAll+1, user)
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
		for _, option := range append([]Replay{ReplayNone, 0}, ladder...) {
			rules := newRules(t, option, nil)
			for _, override := range append([]Replay{-9, ReplayNone}, ladder...) {
				ctx := WithReplay(t.Context(), override)
				for _, rung := range ladder {
					assert.Equal(t, rung <= override, rules.may(ctx, command(onRung[rung])), "%v, %v over %v", rung, override, option)
				}
			}
		}
	})
	t.Run("0 leaves it to the option", func(t *testing.T) {
		ctx := WithReplay(t.Context(), 0)
		assert.True(t, newRules(t, ReplayAccumulating, nil).may(ctx, command("INCR k")))
		assert.False(t, newRules(t, ReplayNone, nil).may(ctx, command("GET k")))
	})
	t.Run("0 takes an outer override back", func(t *testing.T) {
		ctx := WithReplay(WithReplay(t.Context(), ReplayAll), 0)
		assert.False(t, replayRules{}.may(ctx, command("INCR k")))
	})
	t.Run("the innermost counts", func(t *testing.T) {
		ctx := WithReplay(WithReplay(t.Context(), ReplayAll), ReplayRead)
		assert.False(t, replayRules{}.may(ctx, command("SET k v")))
	})
	t.Run("what is no rung forbids", func(t *testing.T) {
		ctx := WithReplay(t.Context(), ReplayAll+1)
		assert.False(t, replayRules{}.may(ctx, command("PING")))
	})
	t.Run("holds for a pipeline as a whole", func(t *testing.T) {
		ctx := WithReplay(t.Context(), ReplayRead)
		assert.True(t, replayRules{}.may(ctx, commands("GET a; GET b")...))
		assert.False(t, replayRules{}.may(ctx, commands("GET a; SET b 1")...))
	})
}

// A command that go-redis forbids to retry is not run again, whatever anyone allows.
func TestReplayNoRetryIsAVeto(t *testing.T) {
	raw := redis.NewRawWriteToCmd(t.Context(), &bytes.Buffer{}, "get", "k")
	require.True(t, raw.NoRetry())
	rules := newRules(t, ReplayAll, map[string]Replay{"get": ReplayConnection})
	ctx := WithReplay(t.Context(), ReplayAll)
	assert.False(t, rules.may(ctx, raw))
	assert.False(t, rules.may(ctx, command("PING"), raw))
	assert.True(t, rules.may(ctx, command("GET k")))
}
