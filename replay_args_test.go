package multidb

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
)

// An argument of any type that go-redis writes as text counts as that text.
func TestReplayArgumentTypes(t *testing.T) {
	five := "5-1"
	for _, c := range []struct {
		rung Replay
		args []any
	}{
		{ReplayChecked, []any{"set", "k", "v", []byte("NX")}},
		{ReplayChecked, []any{[]byte("SET"), []byte("k"), []byte("NX"), "xx"}},
		{ReplayLastWins, []any{"set", "k", []byte("NX")}},
		{ReplayLastWins, []any{"set", "k", nil}},
		{ReplayLastWins, []any{"set", "k", opaque("v")}},
		{ReplayLastWins, []any{"set", "k", opaque("v"), "px", opaque("5")}},
		{ReplayLastWins, []any{"set", opaque("k"), opaque("v"), "ex", 10 * time.Second}},
		{rungNever, []any{"set", "k", "v", nil}},
		{rungNever, []any{"set", "k", "v", opaque("NX")}},
		{rungNever, []any{"set", "k", "v", struct{}{}}},
		{rungNever, []any{opaque("GET"), "k"}},
		{rungNever, []any{nil, "k"}},
		{rungNever, []any{5, "k"}},
		{ReplayLastWins, []any{"xadd", "s", &five, "f", "v"}},
		{rungNever, []any{"xadd", "s", (*string)(nil), "f", "v"}},
		{rungNever, []any{"xadd", "s", "maxlen", opaque("~"), "1000", "*", "f", "v"}},
		{rungNever, []any{"xadd", "s", net.IP("*"), "f", "v"}},
		{ReplayLastWins, []any{"xadd", "s", uint64(5), "f", opaque("v")}},
		{ReplayChecked, []any{"ltrim", "l", 0, 9}},
		{ReplayChecked, []any{"ltrim", "l", int64(-9), int8(-1)}},
		{ReplayAccumulating, []any{"ltrim", "l", uint8(1), int16(-1)}},
		{ReplayAccumulating, []any{"ltrim", "l", uint16(1), int32(5)}},
		{ReplayAccumulating, []any{"ltrim", "l", uint32(1), uint(5)}},
		{ReplayChecked, []any{"ltrim", "l", false, 9}},
		{rungNever, []any{"ltrim", "l", 0.5, 9}},
		{ReplayChecked, []any{"ltrim", "l", float32(0), 9.0}},
		{rungNever, []any{"ltrim", "l", time.Unix(0, 0), 9}},
		{rungNever, []any{"ltrim", "l", new(int), 9}},
		{ReplayLastWins, []any{"zadd", "z", 1.5, "nx"}},
		{ReplayLastWins, []any{"zadd", "z", float32(1), opaque("nx")}},
		{ReplayLastWins, []any{"bitop", "not", []byte("d"), "k"}},
		{ReplayAccumulating, []any{"bitop", "not", []byte("k"), "k"}},
		{ReplayAccumulating, []any{"bitop", "not", "1", true}},
		{ReplayAccumulating, []any{"bitop", "not", "d", opaque("k")}},
		{ReplayAccumulating, []any{"sunionstore", opaque("d"), "k"}},
		{ReplayAccumulating, []any{"incr", opaque("k")}},
		{ReplayRead, []any{"get", opaque("k")}},
		{rungNever, []any{"\u212aeys", "*"}}, // the Kelvin sign is no k
	} {
		assert.Equal(t, c.rung, replayRules{}.rung(redis.NewCmd(t.Context(), c.args...)), "%v", c.args)
	}
}

// FuzzRung holds what is true of every command line, sense or none.
func FuzzRung(f *testing.F) {
	for _, group := range rungRows {
		for _, line := range linesOf(group.lines) {
			f.Add(line)
		}
	}
	f.Fuzz(func(t *testing.T, line string) {
		words := strings.Split(line, " ")
		args := make([]any, len(words))
		octets := make([]any, len(words))
		for i, word := range words {
			args[i], octets[i] = word, []byte(word)
		}
		rungOf := func(args []any) Replay {
			return replayRules{}.rung(redis.NewCmd(context.Background(), args...))
		}
		rung := rungOf(args)
		if rung < ReplayConnection || rung > ReplayAll {
			t.Fatalf("%q is on no rung: %v", words, rung)
		}
		if again := rungOf(args); again != rung {
			t.Fatalf("%q is %v, then %v", words, rung, again)
		}
		if b := rungOf(octets); b != rung {
			t.Fatalf("%q is %v, as bytes %v", words, rung, b)
		}
		octets[0] = strings.ToUpper(lower(words[0]))
		if up := rungOf(octets); up != rung && strings.ToUpper(words[0]) == octets[0] {
			t.Fatalf("%q is %v, in upper case %v", words, rung, up)
		}
		// What cannot be read may say anything, so it must not make a command milder.
		for i, word := range args {
			args[i] = opaque("*")
			if hidden := rungOf(args); hidden < rung {
				t.Fatalf("%q is %v, without argument %d only %v", words, rung, i, hidden)
			}
			args[i] = word
		}
		cmds := []redis.Cmder{redis.NewCmd(context.Background(), args...), command("SET k 1"), command("SREM k a")}
		rules := replayRules{max: ReplayLastWins}
		if rules.may(context.Background(), cmds...) && !rules.may(context.Background(), cmds[0]) {
			t.Fatalf("%q may run again with others, but not alone", words)
		}
	})
}
