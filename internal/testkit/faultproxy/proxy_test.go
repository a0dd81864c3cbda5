package faultproxy_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

const errReset = syscall.ECONNRESET

func TestServerThatDiesIsSeenThroughTheProxy(t *testing.T) {
	t.Parallel()
	p, r := start(t)
	conn := dial(t, p)
	conn.send("BLPOP l 0\r\n")
	require.Eventually(t, func() bool { return p.Count("blpop") == 1 }, patience, time.Millisecond)
	r.Kill()
	_, err := conn.br.ReadByte()
	require.Error(t, err)
	require.False(t, isTimeout(err))

	again, err := net.Dial("tcp", p.Addr())
	if err == nil { // otherwise the reset came before net.Dial had a look
		_, err = again.Read(make([]byte, 1))
		_ = again.Close()
	}
	require.ErrorIs(t, err, errReset)
	require.Eventually(t, func() bool { return p.Stats().Open == 0 }, patience, time.Millisecond)

	r.Restart()
	require.NoError(t, client(t, p).Ping(t.Context()).Err())
}

func TestWhatTheServerSaysLastIsPassedOn(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t, redistest.Lines("maxclients 2"))
	p := faultproxy.Start(t, r.Addr())
	first := dial(t, p)
	first.send("PING\r\n")
	first.expect("+PONG\r\n")
	second := dial(t, p)
	second.send("PING\r\n")
	second.expect("+PONG\r\n")
	third := dial(t, p)
	third.expect("-ERR max number of clients reached\r\n")
	third.expectEnd(io.EOF)
}

func TestHalfClosedConnectionIsAnswered(t *testing.T) {
	t.Parallel()
	p, _ := start(t)
	p.Delay(20 * time.Millisecond)
	conn := dial(t, p)
	conn.send("PING\r\nECHO x\r\n")
	require.NoError(t, conn.CloseWrite())
	conn.expect("+PONG\r\n$1\r\nx\r\n")
	conn.expectEnd(io.EOF)
}

func TestGarbageIsLeftToTheServer(t *testing.T) {
	t.Parallel()
	p, _ := start(t)
	conn := dial(t, p)
	conn.send("PING\r\n*1\r\n:1\r\nPING\r\n")
	conn.expect("+PONG\r\n-ERR Protocol error: expected '$', got ':'\r\n")
	assert.EqualValues(t, 1, p.Stats().Garbled)
}

func TestSwitchedOffRepliesAreNotWaitedFor(t *testing.T) {
	t.Parallel()
	p, r := start(t)
	p.Answer(func(args []string) (string, bool) { return "+own\r\n", args[0] == "ECHO" })
	conn := dial(t, p)
	conn.send("CLIENT REPLY OFF\r\nINCR n\r\nECHO x\r\nCLIENT REPLY ON\r\nECHO x\r\nINCR n\r\nECHO x\r\n")
	conn.expect("+OK\r\n+own\r\n:2\r\n+own\r\n")
	conn.send("CLIENT REPLY SKIP\r\nINCR n\r\nINCR n\r\nECHO x\r\n")
	conn.expect(":4\r\n+own\r\n")

	p.DropReplies(faultproxy.Named("INCR"))
	conn.send("CLIENT REPLY OFF\r\nINCR n\r\n")
	conn.expectEnd(io.EOF)
	require.Eventually(t, func() bool { return r.Client().Get(t.Context(), "n").Val() == "5" }, patience, time.Millisecond)
}

func TestPipelineOfAnswersDoesNotWaitForItsReader(t *testing.T) {
	t.Parallel()
	p, _ := start(t)
	reply := "+" + strings.Repeat("x", 64<<10) + "\r\n"
	p.Answer(func(args []string) (string, bool) { return reply, args[0] == "ECHO" })
	conn := dial(t, p)
	const n = 400
	conn.send(strings.Repeat("PING\r\nECHO "+strings.Repeat("y", 40<<10)+"\r\n", n)) // 16 MiB, answered by 25: more than sockets buffer
	conn.expect(strings.Repeat("+PONG\r\n"+reply, n))
}

func TestChunkChangesNothingButThePieces(t *testing.T) {
	t.Parallel()
	p, _ := start(t)
	for _, n := range []int{1, 2, 7, 1000} {
		p.Chunk(n)
		c := client(t, p)
		value := strings.Repeat("0123456789\r\n", 20)
		require.NoError(t, c.HSet(t.Context(), "h", "f", value).Err())
		got, err := c.Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
			for range 10 {
				pipe.HGetAll(t.Context(), "h")
				pipe.Get(t.Context(), "none")
			}
			return nil
		})
		require.ErrorIs(t, err, redis.Nil)
		require.Len(t, got, 20)
		for i := 0; i < len(got); i += 2 {
			require.Equal(t, map[string]string{"f": value}, got[i].(*redis.MapStringStringCmd).Val())
			require.ErrorIs(t, got[i+1].Err(), redis.Nil)
		}
	}
	conn := dial(t, p)
	p.Chunk(1)
	// A reader that is starved finds several pieces at once, so it has several tries.
	most := 0
	for range 20 {
		conn.send("ECHO " + strings.Repeat("x", 1000) + "\r\n")
		reads, buf := 0, make([]byte, 2000)
		for got := 0; got < len("$1000\r\n")+1000+2; reads++ {
			n, err := conn.Read(buf)
			require.NoError(t, err)
			got += n
		}
		if most = max(most, reads); most > 5 {
			break
		}
	}
	assert.Greater(t, most, 5, "the reader is to see pieces")
}

func TestSubscribersAndAnswersShareAConnection(t *testing.T) {
	t.Parallel()
	p, r := start(t)
	for _, protocol := range []int{2, 3} {
		c := client(t, p, func(opt *redis.Options) { opt.Protocol = protocol })
		sub := c.Subscribe(t.Context(), "a", "b")
		defer sub.Close()
		require.NoError(t, sub.PSubscribe(t.Context(), "p*"))
		for range 3 {
			_, err := sub.ReceiveTimeout(t.Context(), patience)
			require.NoError(t, err)
		}
		for _, channel := range []string{"a", "b", "px"} {
			require.NoError(t, r.Client().Publish(t.Context(), channel, channel+"!").Err())
			msg, err := sub.ReceiveMessage(t.Context())
			require.NoError(t, err)
			assert.Equal(t, channel+"!", msg.Payload)
		}
		require.NoError(t, sub.Ping(t.Context(), "hi"))
		_, err := sub.ReceiveTimeout(t.Context(), patience)
		require.NoError(t, err)
		require.NoError(t, sub.Unsubscribe(t.Context()))
		require.NoError(t, sub.Close())
	}

	p.Answer(func(args []string) (string, bool) { return "+own\r\n", args[0] == "ECHO" })
	conn := dial(t, p)
	conn.send("SUBSCRIBE a b\r\nECHO x\r\nUNSUBSCRIBE\r\nECHO x\r\nGET none\r\nECHO x\r\n")
	got, err := io.ReadAll(io.LimitReader(conn.br, int64(len("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n")*2)))
	require.NoError(t, err)
	assert.Equal(t, "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n", string(got))
	conn.expect("+own\r\n*3\r\n$11\r\nunsubscribe\r\n")
	for _, want := range []string{"$-1\r\n", "+own\r\n"} { // each one after everything that was asked before
		for line := ""; line != want; {
			line, err = conn.br.ReadString('\n')
			require.NoError(t, err)
		}
	}
}

func TestNewListensWhereItIsToldAndReportsWhatItCannot(t *testing.T) {
	t.Parallel()
	p, err := faultproxy.New("127.0.0.1:1")
	require.NoError(t, err)
	defer p.Close()
	_, err = faultproxy.New("127.0.0.1:1", faultproxy.Listen(p.Addr()))
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	p.Close()
	p.Close()
	require.NoError(t, p.SetMode(faultproxy.Hang))
	_, err = net.Dial("tcp", p.Addr())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	refusing, err := faultproxy.New("127.0.0.1:1")
	require.NoError(t, err)
	refusing.Refuse()
	refusing.Close()
	require.NoError(t, refusing.SetMode(faultproxy.Pass), "which must not open it again")
	_, err = net.Dial("tcp", refusing.Addr())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)

	again, err := faultproxy.New("127.0.0.1:1", faultproxy.Listen(p.Addr()))
	require.NoError(t, err)
	defer again.Close()
	again.Refuse()
	squatter, err := net.Listen("tcp", p.Addr())
	require.NoError(t, err)
	freed := time.AfterFunc(100*time.Millisecond, func() { _ = squatter.Close() })
	defer freed.Stop()
	again.Hang() // not Pass: that resets at once, for want of a server, and net.Dial may notice it
	conn, err := net.Dial("tcp", p.Addr())
	require.NoError(t, err)
	require.NoError(t, conn.Close())
}

// TestEverythingAtOnce changes modes and faults under load. Whatever happens, a client never gets another request's reply,
// every acknowledged write was executed, and in the end the proxy passes.
func TestEverythingAtOnce(t *testing.T) { // not parallel: its requests time out soon
	p, r := start(t)
	p.Record(true)
	var stop atomic.Bool
	var done, tried atomic.Int64
	var clients, chaos sync.WaitGroup
	for i := range 4 {
		c := client(t, p, readTimeout(50*time.Millisecond), func(opt *redis.Options) {
			opt.Protocol = 2 + i%2
			// After so many failed dials in all its life, a pool dials once a second only.
			opt.PoolSize, opt.PipelinePoolSize = 10_000, 10_000
		})
		clients.Go(func() {
			for n := 0; !stop.Load(); n++ {
				tried.Add(1)
				if c.Incr(t.Context(), "n").Err() == nil {
					done.Add(1)
				} else {
					time.Sleep(time.Millisecond)
				}
				want := fmt.Sprint(i, "/", n)
				got, err := c.Echo(t.Context(), want).Result()
				if err == nil {
					assert.Equal(t, want, got)
				}
				cmds, _ := c.Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
					for k := range 5 {
						pipe.Echo(t.Context(), fmt.Sprint(want, "/", k))
					}
					return nil
				})
				for k, cmd := range cmds {
					if cmd.Err() == nil {
						assert.Equal(t, fmt.Sprint(want, "/", k), cmd.(*redis.StringCmd).Val())
					}
				}
			}
		})
	}
	incr := faultproxy.Named("INCR")
	calm := func() {
		p.Pass()
		p.Chunk(0)
		p.Delay(0)
		p.ResetOneIn(0, 0, nil)
		p.DropReplies(nil)
		p.PartialReply(0, nil)
		p.Answer(nil)
	}
	changes := []func(){
		calm, calm, calm, calm, p.Pass, p.Hang, p.Refuse, p.Reset,
		func() { p.Chunk(rand.IntN(5)) },
		func() { p.Delay(rand.N(3 * time.Millisecond)) },
		func() { p.ResetOneIn(5+rand.IntN(20), faultproxy.AfterExecution, nil) },
		func() { p.ResetOneIn(2+rand.IntN(20), faultproxy.BeforeExecution, faultproxy.Session) },
		func() { p.DropReplies(faultproxy.First(1, incr)) },
		func() { p.PartialReply(rand.IntN(5), faultproxy.First(1, faultproxy.Named("echo"))) },
		func() { p.Answer(func([]string) (string, bool) { return "-LOADING\r\n", rand.IntN(10) == 0 }) },
		func() { p.Answer(nil) },
		func() { _, _, _ = p.Stats(), p.Commands(), p.Mode() },
	}
	for range 2 {
		chaos.Go(func() {
			for !stop.Load() {
				changes[rand.IntN(len(changes))]()
				time.Sleep(rand.N(10 * time.Millisecond))
			}
		})
	}
	time.Sleep(2 * time.Second)
	stop.Store(true)
	chaos.Wait()
	clients.Wait()

	calm()
	p.Reset()
	require.NoError(t, client(t, p).Ping(t.Context()).Err())
	require.Positive(t, done.Load())
	n, err := r.Client().Get(t.Context(), "n").Int64()
	require.NoError(t, err)
	assert.GreaterOrEqual(t, n, done.Load(), "an acknowledged INCR was not executed")
	assert.LessOrEqual(t, n, tried.Load(), "an INCR was executed twice")
	t.Logf("%d of %d acknowledged, %d executed", done.Load(), tried.Load(), n)
}
