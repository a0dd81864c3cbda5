package e2e_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/fakeserver"
	"github.com/redishook/multidb/internal/testkit/pair"
)

// Events: 1. full duplex speaks RESP3 and has INCRs under way, which are executed. 2. The connection ends in the middle of a push. 3.
// go-redis calls that a stream that cannot be read any more, and sends again all that it holds, whatever the error says.
func TestAPushThatIsCutDoublesNothingInFullDuplex(t *testing.T) {
	push := ">2\r\n$10\r\ninvalidate\r\n*2\r\n$3\r\nkey\r\n$5\r\nother\r\n"
	for cut := range len(push) {
		executed := map[string]int{}
		var server *fakeserver.Server
		done := make(chan struct{})
		server = fakeserver.Listen(t, func(c net.Conn, args []string) (string, bool) {
			switch strings.ToLower(args[0]) {
			case "hello":
				return "%3\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:1\r\n", true
			case "incr":
				executed[args[1]]++ // one connection at a time: full duplex has no second one
				if args[1] == "b" && executed["b"] == 1 {
					fmt.Fprint(c, push[:cut])
					return "", false
				}
				if args[1] == "a" && executed["a"] == 1 {
					close(done)
					return "", true
				}
				return ":1\r\n", true
			}
			return fakeserver.Default(args), true
		})
		h := pair.Hook(t, multidb.Options{Databases: []multidb.Database{{Name: "only", URL: "redis://" + server.Addr()}}, Health: pair.Patient})
		rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), Protocol: 3})
		rdb.AddHook(h)
		ap, err := rdb.AutoPipelineWithOptions(&redis.AutoPipelineOptions{FullDuplex: true})
		require.NoError(t, err)
		errs := make(chan error, 2)
		go func() { errs <- ap.Incr(context.Background(), "a").Err() }()
		<-done
		go func() { errs <- ap.Incr(context.Background(), "b").Err() }()
		for range 2 {
			require.False(t, multidb.SafeToRetry(<-errs), "cut after %d bytes", cut)
		}
		require.NoError(t, ap.Close())
		require.NoError(t, rdb.Close())
		require.NoError(t, h.Close())
		require.Equal(t, map[string]int{"a": 1, "b": 1}, executed, "cut after %d bytes", cut)
	}
}
