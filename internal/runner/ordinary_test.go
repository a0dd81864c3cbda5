package runner

import (
	"context"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/replay"
)

// TestNothingIsOrdinaryThatIsLookedAtCloser: of any name, in any case, that a closer look would find something in.
func TestNothingIsOrdinaryThatIsLookedAtCloser(t *testing.T) {
	names := append(replay.Blocking(), "hello", "auth", "select", "readonly", "reset", "quit", "client", "get", "set", "del", "incr", "hgetall")
	closer := 0
	for _, lower := range names {
		for _, name := range []string{lower, strings.ToUpper(lower)} {
			cmd := redis.NewCmd(context.Background(), name, "a", "b", "c")
			if goredis.IsHandshake(cmd) || replay.MayWait(cmd) {
				require.False(t, ordinary(cmd.Args()), name)
				closer++
			}
		}
	}
	require.Greater(t, closer, 30)
	for _, name := range []string{"get", "SET", "del", "incr", "a name that is longer than any"} {
		require.True(t, ordinary([]any{name, "k"}), name)
	}
	for _, args := range [][]any{nil, {""}, {[]byte("get")}, {1}} {
		require.False(t, ordinary(args), "%v", args)
	}
}
