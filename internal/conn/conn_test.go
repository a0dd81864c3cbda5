package conn

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/goredis"
)

// owner is one whose database is in use until it is left.
type owner struct{ left atomic.Bool }

func (o *owner) Open() (here, somewhere bool)                 { return !o.left.Load(), true }
func (*owner) Outstanding()                                   {}
func (*owner) LateRequest()                                   {}
func (*owner) Replied(time.Duration)                          {}
func (*owner) Suspect(error)                                  {}
func (*owner) IndexConflict(int, string)                      {}
func (*owner) WatchConnect(string, func() bool) (stop func()) { return func() {} }

func (*owner) Fail(_ string, sent bool, cause error) error { return failure{sent, cause} }

// failure is what owner.Fail makes.
type failure struct {
	sent bool
	error
}

func (f failure) Unwrap() error { return f.error }

// sent reports whether an error says that a request was sent.
func sent(t *testing.T, err error) bool {
	t.Helper()
	var f failure
	require.ErrorAs(t, err, &f)
	return f.sent
}

// server is the other side of a connection. It answers each request with what answer says.
type server struct {
	mu     sync.Mutex
	got    []string
	answer func(args []string) string
}

func (s *server) serve(nc net.Conn) {
	rd := bufio.NewReader(nc)
	for {
		line, err := rd.ReadString('\n')
		if err != nil {
			return
		}
		var n int
		_, _ = fmt.Sscanf(line, "*%d", &n)
		args := make([]string, n)
		for i := range args {
			_, _ = rd.ReadString('\n')
			arg, _ := rd.ReadString('\n')
			args[i] = strings.ToLower(strings.TrimSpace(arg))
		}
		s.mu.Lock()
		s.got = append(s.got, strings.Join(args, " "))
		s.mu.Unlock()
		if _, err := io.WriteString(nc, s.answer(args)); err != nil {
			return
		}
	}
}

func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.got...)
}

const helloReply = "%3\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:4711\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"

// standard answers as a server does.
func standard(args []string) string {
	switch args[0] {
	case "hello":
		return helloReply
	case "get":
		return "$1\r\nv\r\n"
	}
	return "+OK\r\n"
}

// dialed is a connection to a server of its own.
func dialed(t *testing.T, opt redis.Options, answer func([]string) string) (*Conn, *server, *owner) {
	s := &server{answer: answer}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer nc.Close(); s.serve(nc) })
		}
	})
	o := &owner{}
	opt.Dialer = func(context.Context, string, string) (net.Conn, error) { return net.Dial("tcp", ln.Addr().String()) }
	set := NewSet(Config{Options: &opt, NoDatabase: errors.New("none")}, o)
	nc, err := set.Dial(t.Context(), &Term{Number: 1, Ctx: t.Context()}, NewClient(), Place{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close(); _ = ln.Close(); wg.Wait() })
	switch nc := nc.(type) {
	case tcpConn:
		return nc.Conn, s, o
	default:
		return nc.(*Conn), s, o
	}
}

// read reads one piece.
func read(c *Conn) (string, error) {
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	return string(buf[:n]), err
}

// greet runs the handshake of a client.
func greet(t *testing.T, c *Conn) {
	t.Helper()
	_, err := c.Write(words("hello 3"))
	require.NoError(t, err)
	reply, err := read(c)
	require.NoError(t, err)
	require.Equal(t, helloReply, reply)
}

// ask writes a request and returns what is read.
func ask(t *testing.T, c *Conn, line string) (string, error) {
	t.Helper()
	p := words(line)
	n, err := c.Write(p)
	require.NoError(t, err, "a write never fails")
	require.Len(t, p, n)
	return read(c)
}

func TestHandshakeIsTheDatabasesOwn(t *testing.T) {
	c, s, _ := dialed(t, redis.Options{Username: "u", Password: "p", DB: 5}, standard)
	greet(t, c)
	reply, err := ask(t, c, "get k")
	require.NoError(t, err)
	require.Equal(t, "$1\r\nv\r\n", reply)
	require.Equal(t, []string{"hello 3 auth u p", "select 5", "get k"}, s.requests())
	require.EqualValues(t, 4711, c.id.Load())
	require.Equal(t, "master", c.set.Role())
	require.True(t, c.ledger.Neutral())
}

// Events: a push comes before, between and behind the replies to HELLO and SELECT, in one piece or in several.
func TestPushesInTheHandshakeShiftNoReply(t *testing.T) {
	const push = ">2\r\n$10\r\ninvalidate\r\n_\r\n"
	for _, pieces := range []bool{false, true} {
		c, _, _ := dialed(t, redis.Options{DB: 5}, func(args []string) string {
			switch args[0] {
			case "hello":
				if pieces {
					time.Sleep(5 * time.Millisecond)
				}
				return push + helloReply + push
			case "select":
				return push + "+OK\r\n"
			}
			return standard(args)
		})
		greet(t, c)
		reply, err := ask(t, c, "get k")
		require.NoError(t, err)
		require.Equal(t, "$1\r\nv\r\n", reply)
		require.Zero(t, c.ledger.Owed())
	}
}

// Events: the reply to HELLO comes together with the beginning of a push, whose end comes later.
func TestAPushThatIsCutBehindTheHandshakeShiftsNoReply(t *testing.T) {
	const push = ">2\r\n$10\r\ninvalidate\r\n_\r\n"
	for cut := range len(push) {
		for _, login := range []string{"", "p"} {
			refused := login != ""
			c, _, _ := dialed(t, redis.Options{Password: login}, func(args []string) string {
				switch {
				case args[0] == "hello" && refused:
					return "-ERR unknown command\r\n" + push[:cut]
				case args[0] == "auth":
					return push[cut:] + "+OK\r\n" + push[:cut]
				case args[0] == "hello":
					return helloReply + push[:cut]
				case args[0] == "get":
					return push[cut:] + standard(args)
				}
				return standard(args)
			})
			_, err := c.Write(words("hello 3"))
			require.NoError(t, err)
			got, err := read(c)
			require.NoError(t, err)
			reply, err := ask(t, c, "get k")
			require.NoError(t, err)
			want := helloReply
			if refused {
				want = "-ERR unknown command\r\n"
			}
			require.Equal(t, want+push+"$1\r\nv\r\n", got+reply, "cut at %d", cut)
			require.Zero(t, c.ledger.Owed())
		}
	}
}

// Events: a server that has no room for one more client says so and hangs up, and does not wait for what is asked of it.
func TestAServerThatRefusesAConnectionIsQuoted(t *testing.T) {
	const full = "max number of clients reached"
	for _, opt := range []redis.Options{{DB: 5}, {DB: 5, Password: "p"}, {Password: "p"}} {
		ours, theirs := net.Pipe()
		opt.Dialer = func(context.Context, string, string) (net.Conn, error) { return ours, nil }
		nc, err := NewSet(Config{Options: &opt}, &owner{}).Dial(t.Context(), &Term{Number: 1, Ctx: t.Context()}, NewClient(), Place{})
		require.NoError(t, err)
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _ = theirs.Read(make([]byte, 512))
			_, _ = io.WriteString(theirs, "-ERR "+full+"\r\n")
			_ = theirs.Close()
		})
		_, err = nc.Write(words("hello 3"))
		require.NoError(t, err)
		_, err = nc.Read(make([]byte, 512))
		require.ErrorContains(t, err, full)
		require.False(t, sent(t, err))
		wg.Wait()
		_ = nc.Close()
	}
}

// Events: somebody has sent RESET, after which replies cannot be counted, and nothing more.
func TestAConnectionThatCannotCountIsNoStall(t *testing.T) {
	c, _, _ := dialed(t, redis.Options{}, standard)
	greet(t, c)
	_, err := ask(t, c, "reset")
	require.NoError(t, err)
	_, outstanding := c.set.Progress()
	require.False(t, outstanding)
	now := time.Now()
	require.Zero(t, c.set.Oldest(now).Age)
	require.Zero(t, c.set.Oldest(now.Add(time.Hour)).Age)
}

func TestLoginOfAServerWithoutHello(t *testing.T) {
	c, s, _ := dialed(t, redis.Options{Password: "p", DB: 5}, func(args []string) string {
		if args[0] == "hello" {
			return "-ERR unknown command\r\n"
		}
		return standard(args)
	})
	reply, err := ask(t, c, "hello 2")
	require.NoError(t, err)
	require.Equal(t, "-ERR unknown command\r\n", reply)
	reply, err = ask(t, c, "auth the-clients-own")
	require.NoError(t, err)
	require.Equal(t, "+OK\r\n", reply)
	_, err = ask(t, c, "get k")
	require.NoError(t, err)
	require.Equal(t, []string{"hello 2 auth default p", "select 5", "auth p", "select 5", "get k"}, s.requests())
}

func TestALoginThatIsRefusedIsNotSentAndSaysWhy(t *testing.T) {
	c, _, _ := dialed(t, redis.Options{Password: "p"}, func([]string) string { return "-WRONGPASS invalid\r\n" })
	_, err := ask(t, c, "hello 3")
	require.False(t, sent(t, err))
	require.ErrorContains(t, err, "WRONGPASS")
	c, _, _ = dialed(t, redis.Options{DB: 99}, func(args []string) string {
		if args[0] == "select" {
			return "-ERR DB index is out of range\r\n"
		}
		return standard(args)
	})
	_, err = ask(t, c, "hello 3")
	require.False(t, sent(t, err))
	require.ErrorContains(t, err, "out of range")
}

func TestAHandshakeThatIsNotAnsweredIsNotSent(t *testing.T) {
	c, _, _ := dialed(t, redis.Options{}, func([]string) string { return "" })
	require.NoError(t, c.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	_, err := ask(t, c, "hello 3")
	require.False(t, sent(t, err))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	_, err = c.Write(words("hello 3"))
	require.Error(t, err, "it is sticky")
}

func TestARequestIsSentIfItIsOwed(t *testing.T) {
	c, s, _ := dialed(t, redis.Options{}, func(args []string) string {
		if args[0] == "incr" {
			return ""
		}
		return standard(args)
	})
	greet(t, c)
	_, err := ask(t, c, "get k")
	require.NoError(t, err)
	c.cut()
	_, err = ask(t, c, "incr n")
	require.False(t, sent(t, err), "others were written before it, and it was not")
	require.NotContains(t, s.requests(), "incr n")

	c, s, _ = dialed(t, redis.Options{}, s.answer)
	greet(t, c)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err = ask(t, c, "incr n")
	require.True(t, sent(t, err))
	require.Contains(t, s.requests(), "incr n")
	_, err = ask(t, c, "get k")
	require.True(t, sent(t, err), "what is owed stays owed")
	require.NotContains(t, s.requests(), "get k", "and nothing is written behind it")
}

func TestALookForMessagesIsNoFailure(t *testing.T) {
	c, _, _ := dialed(t, redis.Options{}, standard)
	greet(t, c)
	for range 3 {
		_ = c.Conn.SetReadDeadline(time.Now().Add(time.Millisecond))
		_, err := read(c)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		_ = c.Conn.SetReadDeadline(time.Time{})
	}
	reply, err := ask(t, c, "get k")
	require.NoError(t, err)
	require.Equal(t, "$1\r\nv\r\n", reply)
}

// Events: two requests are in flight when the database loses its place, and a third is refused. The two have their replies,
// and what follows is "not sent".
func TestRepliesOwedAreReadAfterARefusal(t *testing.T) {
	c, _, o := dialed(t, redis.Options{}, standard)
	greet(t, c)
	_, err := c.Write(words("get a", "get b"))
	require.NoError(t, err)
	o.left.Store(true)
	_, err = c.Write(words("incr n"))
	require.NoError(t, err)
	got := ""
	for len(got) < len("$1\r\nv\r\n")*2 {
		piece, err := read(c)
		require.NoError(t, err)
		got += piece
	}
	_, err = read(c)
	require.False(t, sent(t, err))
	require.ErrorIs(t, err, errNotActive)
}

// Events: a reader waits, as in full duplex, when the write that it waits for is refused.
func TestARefusalWakesTheReader(t *testing.T) {
	c, _, o := dialed(t, redis.Options{}, standard)
	greet(t, c)
	_, err := ask(t, c, "get k")
	require.NoError(t, err)
	woken := make(chan error, 1)
	go func() {
		_, err := read(c)
		woken <- err
	}()
	time.Sleep(5 * time.Millisecond)
	o.left.Store(true)
	_, err = c.Write(words("incr n"))
	require.NoError(t, err)
	select {
	case err := <-woken:
		require.False(t, sent(t, err))
	case <-time.After(5 * time.Second):
		t.Fatal("the reader waits")
	}
}

func TestWhoseHandsAConnectionIsIn(t *testing.T) {
	for _, c := range []struct {
		requests string
		goesOn   bool // although the pool has handed it out since
	}{{"get k", false}, {"watch k", true}, {"watch k|unwatch", false}, {"multi", true}, {"get k|select 3", true}, {"get k|select 3|get k", true}} {
		conn, _, o := dialed(t, redis.Options{}, standard)
		greet(t, conn)
		for line := range strings.SplitSeq(c.requests, "|") {
			_, err := ask(t, conn, line)
			require.NoError(t, err)
		}
		o.left.Store(true)
		conn.set.Leave(1, true)
		if poolChecks {
			_, err := ask(t, conn, "get k")
			require.NoError(t, err, "the pool has not handed it out since")
			require.NoError(t, conn.SetDeadline(time.Time{}))
		}
		_, err := ask(t, conn, "get k")
		require.Equal(t, c.goesOn, err == nil, "%s: %v", c.requests, err)
		if err != nil {
			require.False(t, sent(t, err))
		}
	}
}

// Events: the database loses its place between the handshake and the first request, which is a transaction. Were the write to
// fail, go-redis would run it again by itself and leave the error of the first run on the MULTI of the second.
func TestAFirstRequestThatIsRefusedFailsAtItsRead(t *testing.T) {
	c, s, o := dialed(t, redis.Options{}, standard)
	greet(t, c)
	o.left.Store(true)
	_, err := ask(t, c, "multi")
	require.False(t, sent(t, err))
	require.NotContains(t, s.requests(), "multi")
	require.NotNil(t, goredis.Find(err), "go-redis must not run it again")
}

func TestASubscribeIsNotWrittenToADatabaseThatDrains(t *testing.T) {
	c, s, o := dialed(t, redis.Options{}, standard)
	greet(t, c)
	o.left.Store(true)
	c.set.Leave(1, true)
	_, err := ask(t, c, "subscribe news")
	require.False(t, sent(t, err))
	require.NotContains(t, s.requests(), "subscribe news")
	require.False(t, c.ledger.Subscribed())
}

// tornConn takes a part of the last request only, because its write deadline is over, and then nothing comes any more.
type tornConn struct {
	net.Conn
	takes int
}

func (c *tornConn) Write(p []byte) (int, error) {
	return min(c.takes, len(p)), &net.OpError{Op: "write", Net: "tcp", Err: os.ErrDeadlineExceeded}
}

// Events: a write times out in the middle of a large SET. Its reply cannot come, so the caller, who may have no ReadTimeout, does
// not wait for one. The reply to what was written before it comes first.
func TestARequestThatWasWrittenInPartIsNotWaitedFor(t *testing.T) {
	for _, before := range []bool{false, true} {
		c, _, _ := dialed(t, redis.Options{}, standard)
		greet(t, c)
		lines := []string{"set k vvvvvvvvvvvvvvvv"}
		if before {
			lines = []string{"get k", lines[0]}
			_, err := c.Conn.Write(words(lines[0]))
			require.NoError(t, err)
		}
		p := words(lines...)
		c.ready.Store(true)
		c.Conn = &tornConn{c.Conn, len(p) - 4}
		_, err := c.Write(p)
		require.NoError(t, err, "a write never fails")
		got := make(chan error, 1)
		go func() {
			if before {
				_, _ = read(c)
			}
			_, err := read(c)
			got <- err
		}()
		select {
		case err := <-got:
			require.True(t, sent(t, err), "a part of it was")
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			require.ErrorContains(t, err, "write")
		case <-time.After(5 * time.Second):
			c.cut()
			t.Fatal("the reader waits for a reply to a part of a request")
		}
	}
}

// Events: a pool dials ahead. The password changes, and the connection is taken.
func TestAConnectionDialedAheadLogsInWithTheCredentialsOfNow(t *testing.T) {
	password := "old"
	c, s, _ := dialed(t, redis.Options{CredentialsProvider: func() (string, string) { return "u", password }}, standard)
	password = "new"
	c.hello.resolved = c.hello.resolved.Add(-time.Minute)
	greet(t, c)
	require.Equal(t, []string{"hello 3 auth u new"}, s.requests())
}

// TestAConnOfTheHealthyPathAllocatesNothing counts both directions.
func TestAConnOfTheHealthyPathAllocatesNothing(t *testing.T) {
	c := &Conn{Conn: &loopConn{reply: []byte("$1\r\nv\r\n")}, set: NewSet(Config{}, &owner{}), ledger: NewLedger(nil)}
	c.ready.Store(true)
	p, buf := words("get k"), make([]byte, 64)
	require.Zero(t, testing.AllocsPerRun(200, func() {
		_, _ = c.Write(p)
		_, _ = c.Read(buf)
	}))
}

// loopConn takes everything and answers each read with the same.
type loopConn struct {
	net.Conn
	reply []byte
}

func (c *loopConn) Write(p []byte) (int, error)     { return len(p), nil }
func (c *loopConn) Read(p []byte) (int, error)      { return copy(p, c.reply), nil }
func (c *loopConn) SetReadDeadline(time.Time) error { return nil }

func BenchmarkConn(b *testing.B) {
	c := &Conn{Conn: &loopConn{reply: []byte("$1\r\nv\r\n")}, set: NewSet(Config{}, &owner{}), ledger: NewLedger(nil)}
	c.ready.Store(true)
	p, buf := words("get key:12345"), make([]byte, 64)
	for b.Loop() {
		_, _ = c.Write(p)
		_, _ = c.Read(buf)
	}
}
