package conn

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// asked is an owner that is asked whether its database is in use.
type asked struct {
	owner
	open func() bool
}

func (a *asked) Open() (here, somewhere bool) { return a.open(), true }

// lent reports whether go-redis' pool would lend an idle connection.
func lent(c *Conn) bool {
	_ = c.SetDeadline(longAgo.AddDate(200, 0, 0))
	_, err := tcpConn{c}.SyscallConn()
	return err == nil
}

// TestTheEndOfADrainLendsNothingThatIsCut. Events: 1. The drain of a database ends. 2. In that instant the database is in use again, and
// the pool lends a connection. 3. What the drain has left over is closed, and that connection with it.
func TestTheEndOfADrainLendsNothingThatIsCut(t *testing.T) {
	if !poolChecks {
		t.Skip("nobody asks before it lends")
	}
	for name, back := range map[string]bool{"back before": true, "back after": false} {
		t.Run(name, func(t *testing.T) {
			c, _, _ := dialed(t, redis.Options{}, standard)
			greet(t, c)
			_, err := ask(t, c, "get k")
			require.NoError(t, err)
			inUse := false
			o := &asked{open: func() bool { return inUse }}
			c.set.owner = o
			c.set.Leave(1, true)
			o.open = func() bool { // asked by the end of the drain
				o.open = func() bool { return true } // and in use from here on
				require.False(t, lent(c), "what is about to be closed")
				return back
			}
			c.set.EndDrain(1)
			require.Equal(t, back, lent(c))
			if back {
				reply, err := ask(t, c, "get k")
				require.NoError(t, err, "the database was in use again")
				require.Equal(t, "$1\r\nv\r\n", reply)
			}
		})
	}
}
