package sentinel

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

const oldMaster, newMaster = "10.0.0.1:1", "10.0.0.2:2"

// says is a sentinel that says who the master is.
type says struct {
	*server.Server
	master atomic.Pointer[string]
}

func startSays(t *testing.T, master string) *says {
	srv, err := server.NewServer("127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(srv.Close)
	s := &says{Server: srv}
	s.master.Store(&master)
	require.NoError(t, srv.Register("SENTINEL", func(c *server.Peer, _ string, args []string) {
		if args[0] != "get-master-addr-by-name" {
			c.WriteLen(0)
			return
		}
		host, port, _ := net.SplitHostPort(*s.master.Load())
		c.WriteStrings([]string{host, port})
	}))
	return s
}

// groupOf is the group of some sentinels. It returns how often it has moved.
func groupOf(t *testing.T, sentinels ...*says) (*Group, *atomic.Int64) {
	var all sync.WaitGroup
	var moves atomic.Int64
	opt := &redis.FailoverOptions{MasterName: "group"}
	for _, s := range sentinels {
		opt.SentinelAddrs = append(opt.SentinelAddrs, s.Addr().String())
	}
	ctx, cancel := context.WithCancel(context.Background())
	g := New(Config{Options: opt, Ctx: ctx, Go: func(f func()) bool { all.Go(f); return true }, Moved: func(string, string) { moves.Add(1) }})
	t.Cleanup(func() { cancel(); all.Wait() })
	return g, &moves
}

// Events: 1. A sentinel is away during a failover. 2. It comes back, and its file names the master of before. 3. It is listened to
// again, and asked what was missed. It was believed for ten seconds: the connections to a healthy master were cut, and new ones led to
// a replica. What most sentinels say is believed.
func TestSentinelThatComesBackMovesNobodyToTheMasterOfBefore(t *testing.T) {
	back, others := startSays(t, oldMaster), []*says{startSays(t, newMaster), startSays(t, newMaster)}
	g, moves := groupOf(t, append(others, back)...)
	require.True(t, g.leadsTo(newMaster))
	g.catchUp(g.sentinels[2])
	require.Zero(t, moves.Load())
	require.True(t, g.leadsTo(newMaster))

	moved := oldMaster
	for _, s := range others {
		s.master.Store(&moved)
	}
	g.catchUp(g.sentinels[2])
	require.EqualValues(t, 1, moves.Load(), "all say so by now")
	require.False(t, g.leadsTo(newMaster))
}

// Events: 1. A sentinel tells of a new master. 2. The old one becomes the master again, and nobody hears of it. 3. It is dialed, because
// all sentinels name it. 4. A sentinel tells of the new master again. That was no news, and all stayed on the old one.
func TestMasterThatIsToldOfTwiceIsNews(t *testing.T) {
	g, moves := groupOf(t)
	require.True(t, g.leadsTo(oldMaster))
	const news = "group 10.0.0.1 1 10.0.0.2 2"
	g.heard(news)
	g.heard(news) // by another sentinel
	require.EqualValues(t, 1, moves.Load())
	g.mu.Lock()
	g.toldAt = time.Now().Add(-2 * fresh)
	g.mu.Unlock()
	require.True(t, g.leadsTo(oldMaster))
	g.heard(news)
	require.EqualValues(t, 2, moves.Load())
}
