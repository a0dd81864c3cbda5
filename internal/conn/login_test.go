package conn

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

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

// Events: a pool dials ahead. The password changes, and the connection is taken.
func TestAConnectionDialedAheadLogsInWithTheCredentialsOfNow(t *testing.T) {
	password := "old"
	c, s, _ := dialed(t, redis.Options{CredentialsProvider: func() (string, string) { return "u", password }}, standard)
	password = "new"
	c.hello.resolved = c.hello.resolved.Add(-time.Minute)
	greet(t, c)
	require.Equal(t, []string{"hello 3 auth u new"}, s.requests())
}
