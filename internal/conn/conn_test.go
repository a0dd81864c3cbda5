package conn

import (
	"net"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

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
