package conn

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/goredis"
)

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
