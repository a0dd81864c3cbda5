package replay

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"

	"github.com/redishook/multidb/internal/resp"
)

// An argument of any type that go-redis writes as text counts as that text.
func TestReplayArgumentTypes(t *testing.T) {
	five := "5-1"
	for _, c := range []struct {
		rung Rung
		args []any
	}{
		{Checked, []any{"set", "k", "v", []byte("NX")}},
		{Checked, []any{[]byte("SET"), []byte("k"), []byte("NX"), "xx"}},
		{LastWins, []any{"set", "k", []byte("NX")}},
		{LastWins, []any{"set", "k", nil}},
		{LastWins, []any{"set", "k", opaque("v")}},
		{LastWins, []any{"set", "k", opaque("v"), "px", opaque("5")}},
		{LastWins, []any{"set", opaque("k"), opaque("v"), "ex", 10 * time.Second}},
		{never, []any{"set", "k", "v", nil}},
		{never, []any{"set", "k", "v", opaque("NX")}},
		{never, []any{"set", "k", "v", struct{}{}}},
		{never, []any{opaque("GET"), "k"}},
		{never, []any{nil, "k"}},
		{never, []any{5, "k"}},
		{LastWins, []any{"xadd", "s", &five, "f", "v"}},
		{never, []any{"xadd", "s", (*string)(nil), "f", "v"}},
		{never, []any{"xadd", "s", "maxlen", opaque("~"), "1000", "*", "f", "v"}},
		{never, []any{"xadd", "s", net.IP("*"), "f", "v"}},
		{LastWins, []any{"xadd", "s", uint64(5), "f", opaque("v")}},
		{Checked, []any{"ltrim", "l", 0, 9}},
		{Checked, []any{"ltrim", "l", int64(-9), int8(-1)}},
		{Accumulating, []any{"ltrim", "l", uint8(1), int16(-1)}},
		{Accumulating, []any{"ltrim", "l", uint16(1), int32(5)}},
		{Accumulating, []any{"ltrim", "l", uint32(1), uint(5)}},
		{Checked, []any{"ltrim", "l", false, 9}},
		{never, []any{"ltrim", "l", 0.5, 9}},
		{Checked, []any{"ltrim", "l", float32(0), 9.0}},
		{never, []any{"ltrim", "l", time.Unix(0, 0), 9}},
		{never, []any{"ltrim", "l", new(int), 9}},
		{LastWins, []any{"zadd", "z", 1.5, "nx"}},
		{LastWins, []any{"zadd", "z", float32(1), opaque("nx")}},
		{LastWins, []any{"bitop", "not", []byte("d"), "k"}},
		{Accumulating, []any{"bitop", "not", []byte("k"), "k"}},
		{Accumulating, []any{"bitop", "not", "1", true}},
		{Accumulating, []any{"bitop", "not", "d", opaque("k")}},
		{Accumulating, []any{"sunionstore", opaque("d"), "k"}},
		{Accumulating, []any{"incr", opaque("k")}},
		{Read, []any{"get", opaque("k")}},
		{never, []any{"\u212aeys", "*"}}, // the Kelvin sign is no k
	} {
		assert.Equal(t, c.rung, Rules{}.Rung(redis.NewCmd(t.Context(), c.args...)), "%v", c.args)
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
		rungOf := func(args []any) Rung {
			return Rules{}.Rung(redis.NewCmd(context.Background(), args...))
		}
		rung := rungOf(args)
		if rung < Connection || rung > All {
			t.Fatalf("%q is on no rung: %v", words, rung)
		}
		if again := rungOf(args); again != rung {
			t.Fatalf("%q is %v, then %v", words, rung, again)
		}
		if b := rungOf(octets); b != rung {
			t.Fatalf("%q is %v, as bytes %v", words, rung, b)
		}
		octets[0] = strings.ToUpper(resp.Lower(words[0]))
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
		rules := Rules{max: LastWins}
		if rules.May(context.Background(), cmds...) && !rules.May(context.Background(), cmds[0]) {
			t.Fatalf("%q may run again with others, but not alone", words)
		}
	})
}
