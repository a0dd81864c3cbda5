package replay

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestHowLongACommandMayWait(t *testing.T) {
	for line, want := range map[string]time.Duration{
		"BLPOP a b 5":                                    5 * time.Second,
		"brpop a 0.25":                                   250 * time.Millisecond,
		"bzpopmin z 0":                                   0,
		"blmove a b LEFT RIGHT 3":                        3 * time.Second,
		"brpoplpush a b 7":                               7 * time.Second,
		"blmpop 1.5 1 a LEFT":                            1500 * time.Millisecond,
		"bzmpop 2 1 a MIN":                               2 * time.Second,
		"xread COUNT 3 BLOCK 100 STREAMS s $":            100 * time.Millisecond,
		"xreadgroup GROUP block c BLOCK 0 STREAMS s >":   0,
		"xreadgroup GROUP g c NOACK BLOCK 9 STREAMS s >": 9 * time.Millisecond,
		"blpop a":                              -1,
		"blpop a x":                            -1,
		"blpop a -1":                           -1,
		"blpop a nan":                          -1,
		"blpop a 1e300":                        -1,
		"xread STREAMS block 0":                -1,
		"xreadgroup GROUP g c STREAMS block >": -1,
		"wait 1 0":                             -1,
		"bitcount a 0 5":                       -1,
		"get blpop 5":                          -1,
	} {
		var args []any
		for _, word := range strings.Fields(line) {
			args = append(args, word)
		}
		cmd := redis.NewCmd(context.Background(), args...)
		wait, ok := WaitOf(cmd)
		require.Equal(t, want >= 0, ok, line)
		if ok {
			require.Equal(t, want, wait.Timeout, line)
			require.True(t, MayWait(cmd), line)
		}
	}
}

func TestWhatIsLeftOfAWaitIsNeverForEver(t *testing.T) {
	for line, want := range map[string]string{
		"blpop q 5":                    "blpop q 2.999",
		"xread block 5000 streams s $": "xread block 2999 streams s $",
		"blpop q 0":                    "blpop q 0",
	} {
		var args []any
		for _, word := range strings.Fields(line) {
			args = append(args, word)
		}
		cmd := redis.NewCmd(context.Background(), args...)
		wait, _ := WaitOf(cmd)
		left, ok := wait.Left(2001 * time.Millisecond)
		require.True(t, ok)
		restore := wait.Shorten(cmd, left)
		require.Equal(t, want, words(cmd))
		restore()
		require.Equal(t, line, words(cmd))
		_, ok = wait.Left(4999 * time.Millisecond)
		require.Equal(t, wait.Timeout == 0, ok, "a wait of less than its smallest part would be for ever")
	}
}

func words(cmd redis.Cmder) string {
	var texts []string
	for i := range cmd.Args() {
		text, _ := argv(cmd.Args()).text(i)
		texts = append(texts, text)
	}
	return strings.Join(texts, " ")
}
