package faultproxy_test

import (
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/faultproxy"
)

func TestResetHitsEveryConnectionAndNoLaterOne(t *testing.T) {
	t.Parallel()
	p, _ := start(t)
	conns := []*raw{dial(t, p), dial(t, p)}
	for _, conn := range conns {
		conn.send("PING\r\n")
		conn.expect("+PONG\r\n")
	}
	p.Reset()
	assert.Zero(t, p.Stats().Open)
	for _, conn := range conns {
		conn.expectEnd(syscall.ECONNRESET)
	}
	conn := dial(t, p)
	conn.send("PING\r\n")
	conn.expect("+PONG\r\n")
}

func TestDelayIsAddedToEachReplyAndOncePerPipeline(t *testing.T) {
	t.Parallel()
	const delay = 100 * time.Millisecond
	p, _ := start(t)
	c := client(t, p)
	require.NoError(t, c.Ping(t.Context()).Err())

	p.Delay(delay)
	begin := time.Now()
	require.NoError(t, c.Ping(t.Context()).Err())
	require.NoError(t, c.Ping(t.Context()).Err())
	assert.GreaterOrEqual(t, time.Since(begin), 2*delay)

	const n = 100
	begin = time.Now()
	_, err := c.Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
		for range n {
			pipe.Set(t.Context(), "k", strings.Repeat("x", 10000), 0)
			pipe.Get(t.Context(), "k")
		}
		return nil
	})
	require.NoError(t, err)
	assert.GreaterOrEqual(t, time.Since(begin), delay)
	assert.Less(t, time.Since(begin), n*delay/2, "the delays of a pipeline must overlap")

	p.Delay(0)
	begin = time.Now()
	for range n {
		require.NoError(t, c.Ping(t.Context()).Err())
	}
	assert.Less(t, time.Since(begin), n*delay/2)
}

func TestEachReplyWaitsForItsOwnDelay(t *testing.T) {
	t.Parallel()
	const delay = 200 * time.Millisecond
	p, _ := start(t)
	p.Delay(delay)
	conn := dial(t, p)
	conn.send("PING\r\n")
	time.Sleep(delay / 2)
	begin := time.Now()
	conn.send("ECHO x\r\n")
	conn.expect("+PONG\r\n$1\r\nx\r\n")
	assert.GreaterOrEqual(t, time.Since(begin), delay)
}

func TestResetOneInIsExact(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		when     faultproxy.When
		executed int64
		seed     uint64
	}{
		{"before execution", faultproxy.BeforeExecution, 90, 1},
		{"after execution", faultproxy.AfterExecution, 100, 2},
		{"other requests", faultproxy.AfterExecution, 100, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, r := start(t, faultproxy.Seed(tt.seed))
			// With RESP3, go-redis reports EOF: it looks for push messages first, and a socket says only once that it was reset.
			c := client(t, p, func(opt *redis.Options) { opt.Protocol = 2 })
			p.ResetOneIn(10, tt.when, faultproxy.Session)
			failed := 0
			for range 100 {
				if err := c.Incr(t.Context(), "n").Err(); err != nil {
					require.ErrorIs(t, err, syscall.ECONNRESET)
					failed++
				}
				require.NoError(t, c.Ping(t.Context()).Err())
			}
			assert.Equal(t, 10, failed)
			n, err := r.Client().Get(t.Context(), "n").Int64()
			require.NoError(t, err)
			assert.Equal(t, tt.executed, n)

			p.ResetOneIn(0, tt.when, nil)
			for range 20 {
				require.NoError(t, c.Incr(t.Context(), "n").Err())
			}
		})
	}
}

func TestResetsDoNotFollowAPattern(t *testing.T) {
	t.Parallel()
	hits := func(seed uint64) string {
		p, _ := start(t, faultproxy.Seed(seed))
		c := client(t, p)
		p.ResetOneIn(10, faultproxy.BeforeExecution, faultproxy.Session)
		var s strings.Builder
		for range 100 {
			if c.Incr(t.Context(), "n").Err() != nil {
				s.WriteByte('x')
			} else {
				s.WriteByte('.')
			}
		}
		return s.String()
	}
	one, two, again := hits(1), hits(2), hits(1)
	assert.NotEqual(t, one, two)
	assert.Equal(t, one, again)
	assert.NotEqual(t, strings.Repeat(one[:10], 10), one)
}

func TestResetComesInTheOrderOfThePipeline(t *testing.T) {
	t.Parallel()
	for when, sum := range map[faultproxy.When]string{faultproxy.BeforeExecution: "1", faultproxy.AfterExecution: "3"} {
		p, r := start(t)
		p.ResetOneIn(1, when, func(args []string) bool { return args[len(args)-1] != "2" })
		conn := dial(t, p)
		conn.send("INCRBY n 1\r\nINCRBY n 2\r\nINCRBY n 4\r\n")
		conn.expect(":1\r\n")
		conn.expectEnd(syscall.ECONNRESET)
		assert.Equal(t, sum, r.Client().Get(t.Context(), "n").Val())
	}
}

func TestDropRepliesExecutesAndCloses(t *testing.T) {
	t.Parallel()
	p, r := start(t)
	c := client(t, p)
	p.DropReplies(faultproxy.First(1, faultproxy.Named("incr")))
	require.ErrorIs(t, c.Incr(t.Context(), "n").Err(), io.EOF)
	assert.Equal(t, "1", r.Client().Get(t.Context(), "n").Val())
	require.NoError(t, c.Incr(t.Context(), "n").Err(), "the first one only")

	p.DropReplies(faultproxy.Named("INCR"))
	conn := dial(t, p)
	conn.send("SET k v\r\nINCR n\r\nINCR n\r\n")
	conn.expect("+OK\r\n")
	conn.expectEnd(io.EOF)
	assert.Equal(t, "3", r.Client().Get(t.Context(), "n").Val())

	p.DropReplies(nil)
	require.NoError(t, c.Incr(t.Context(), "n").Err())
}

func TestPartialReplyIsCut(t *testing.T) {
	t.Parallel()
	p, r := start(t)
	require.NoError(t, r.Client().Set(t.Context(), "k", "0123456789", 0).Err())
	p.PartialReply(8, faultproxy.Named("GET"))
	c := client(t, p)
	require.ErrorIs(t, c.Get(t.Context(), "k").Err(), io.ErrUnexpectedEOF)

	conn := dial(t, p)
	conn.send("PING\r\nGET k\r\n")
	conn.expect("+PONG\r\n$10\r\n012")
	conn.expectEnd(io.EOF)
	conn = dial(t, p)
	conn.send("GET none\r\n")
	conn.expect("$-1\r\n") // shorter
	conn.expectEnd(io.EOF)

	p.PartialReply(0, nil)
	require.NoError(t, c.Get(t.Context(), "k").Err())
}

func TestAnswerStandsInForTheServer(t *testing.T) {
	t.Parallel()
	p, r := start(t)
	c := client(t, p)
	p.Answer(func(args []string) (string, bool) {
		switch strings.ToLower(args[0]) {
		case "set":
			return "-READONLY You can't write against a read only replica.\r\n", true
		case "get":
			return "-LOADING Redis is loading the dataset in memory\r\n", true
		}
		return "", false
	})
	require.True(t, redis.IsReadOnlyError(c.Set(t.Context(), "k", "v", 0).Err()))
	require.True(t, redis.IsLoadingError(c.Get(t.Context(), "k").Err()))
	require.NoError(t, c.Incr(t.Context(), "n").Err())
	require.EqualValues(t, 0, r.Client().Exists(t.Context(), "k").Val())

	p.Answer(nil)
	require.NoError(t, c.Set(t.Context(), "k", "v", 0).Err())
}

func TestAnswersKeepTheirPlaceInAPipeline(t *testing.T) {
	t.Parallel()
	p, r := start(t)
	require.NoError(t, r.Client().SAdd(t.Context(), "s", "a").Err())
	p.Answer(func(args []string) (string, bool) {
		return "+" + args[len(args)-1] + "\r\n", args[0] == "ECHO"
	})
	conn := dial(t, p)
	conn.send("ECHO first\r\nDEBUG SLEEP 0.05\r\nECHO second\r\nECHO third\r\nGET none\r\nECHO fourth\r\n")
	conn.expect("+first\r\n+OK\r\n+second\r\n+third\r\n$-1\r\n+fourth\r\n")
	conn.send("HELLO 3\r\n")
	_, err := conn.br.Discard(len("%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n"))
	require.NoError(t, err)
	conn.send("ECHO a\r\nECHO b\r\n")
	for line := ""; line != "+b\r\n"; {
		line, err = conn.br.ReadString('\n')
		require.NoError(t, err)
	}
	conn.send("SMEMBERS s\r\nECHO a\r\nGET none\r\nCONFIG GET maxclients\r\nECHO b\r\nMULTI\r\nINCR n\r\nEXEC\r\nECHO c\r\n")
	conn.expect("~1\r\n$1\r\na\r\n+a\r\n_\r\n%1\r\n$10\r\nmaxclients\r\n$5\r\n10000\r\n+b\r\n+OK\r\n+QUEUED\r\n*1\r\n:1\r\n+c\r\n")
}

func TestEmptyAnswerIsSilence(t *testing.T) {
	t.Parallel()
	p, r := start(t)
	p.Answer(func(args []string) (string, bool) { return "", args[0] == "BLPOP" })
	conn := dial(t, p)
	conn.send("INCR n\r\nBLPOP l 0\r\nINCR n\r\n")
	conn.expect(":1\r\n")
	conn.expectSilence()
	assert.Equal(t, "2", r.Client().Get(t.Context(), "n").Val(), "later requests are executed")
	p.Reset()
	conn.expectEnd(syscall.ECONNRESET)
}
