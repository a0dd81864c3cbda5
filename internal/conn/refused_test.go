package conn

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// TestAHandshakeThatIsRefusedEndsAtOnce. Events: 1. HELLO is refused with an error that go-redis takes for one of the moment. 2. Its loop
// sends HELLO again, on the same connection, MaxRetries times with backoff; the connection takes that for a user's request, and the
// client's own credentials go to the database.
func TestAHandshakeThatIsRefusedEndsAtOnce(t *testing.T) {
	for _, refusal := range []string{
		"LOADING Redis is loading the dataset in memory", "MASTERDOWN Link with MASTER is down", "ERR max number of clients reached",
		"CLUSTERDOWN The cluster is down", "READONLY You can't write against a read only replica.", "TRYAGAIN later", "NOREPLICAS not enough",
	} {
		c, s, _ := dialed(t, redis.Options{}, func(args []string) string {
			if args[0] == "hello" {
				return "-" + refusal + "\r\n"
			}
			return standard(args)
		})
		hello := words("hello 3 auth client secret")
		_, err := c.Write(hello)
		require.NoError(t, err)
		_, err = read(c)
		require.ErrorContains(t, err, refusal)
		require.False(t, sent(t, err))
		_, err = c.Write(hello)
		require.ErrorContains(t, err, refusal, "the loop of go-redis")
		s.mu.Lock()
		require.Equal(t, []string{"hello 3"}, s.got)
		s.mu.Unlock()
	}
}

// TestAnOldServerThatKnowsNoHelloIsLoggedInTo: that refusal is none of the moment.
func TestAnOldServerThatKnowsNoHelloIsLoggedInTo(t *testing.T) {
	c, _, _ := dialed(t, redis.Options{Password: "p"}, func(args []string) string {
		if args[0] == "hello" {
			return "-ERR unknown command 'hello'\r\n"
		}
		return standard(args)
	})
	_, err := c.Write(words("hello 3 auth client secret"))
	require.NoError(t, err)
	reply, err := read(c)
	require.NoError(t, err)
	require.Contains(t, reply, "unknown command")
}
