package multidb

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/resp"
)

// fakeSentinel is a fake Sentinel whose master can be changed; subscribers are told, as real ones are.
type fakeSentinel struct {
	*regressionServer
	mu     sync.Mutex
	master *regressionServer
	subs   []net.Conn
}

func newFakeSentinel(t *testing.T, master *regressionServer) *fakeSentinel {
	s := &fakeSentinel{master: master}
	s.regressionServer = regressionListen(t, func(c net.Conn, args []string) (string, bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch strings.ToLower(args[0]) {
		case "sentinel":
			if strings.EqualFold(args[1], "get-master-addr-by-name") {
				host, port, _ := net.SplitHostPort(s.master.addr())
				return string(resp.Encode(host, port)), true
			}
			return "*0\r\n", true
		case "subscribe":
			s.subs = append(s.subs, c)
			var b strings.Builder
			for i, ch := range args[1:] {
				fmt.Fprintf(&b, ">3\r\n$9\r\nsubscribe\r\n$%d\r\n%s\r\n:%d\r\n", len(ch), ch, i+1)
			}
			return b.String(), true
		}
		return regressionDefault(args), true
	})
	return s
}

func (s *fakeSentinel) failover(to *regressionServer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h1, p1, _ := net.SplitHostPort(s.master.addr())
	h2, p2, _ := net.SplitHostPort(to.addr())
	s.master = to
	msg := fmt.Sprintf("m %s %s %s %s", h1, p1, h2, p2)
	for _, c := range s.subs {
		_, _ = io.WriteString(c, fmt.Sprintf(">3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n$%d\r\n%s\r\n", len(msg), msg))
	}
}

// Events: Sentinel promotes another node while the old master is alive (a partition, or a replica that answers reads).
// go-redis closes the connections of the pool that asks Sentinel, which is that of the probes; the client's stay where they
// are, with every write that goes there.
func TestRegressionConnectionsStayWithTheOldMaster(t *testing.T) {
	node := func() *regressionServer {
		return regressionListen(t, func(_ net.Conn, args []string) (string, bool) { return regressionDefault(args), true })
	}
	first, second := node(), node()
	sentinel := newFakeSentinel(t, first)
	h := regressionHook(t, Options{
		Databases: []Database{{Name: "group", Failover: &redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{sentinel.addr()}}}},
		Health:    Health{Interval: 200 * time.Millisecond},
	})
	rdb := redis.NewClient(&redis.Options{Addr: "elsewhere:6379"})
	defer rdb.Close()
	rdb.AddHook(h)
	ctx := t.Context()
	require.NoError(t, rdb.Set(ctx, "k", "v", 0).Err())
	require.Equal(t, 1, first.count("set k"))
	sentinel.failover(second)
	eventually(t, 10*time.Second, "the new master", func() bool {
		require.NoError(t, rdb.Set(ctx, "k", "v", 0).Err())
		return second.count("set k") > 0
	})
	before := first.count("set k")
	for range 20 {
		require.NoError(t, rdb.Set(ctx, "k", "v", 0).Err())
	}
	require.Equal(t, before, first.count("set k"))
}
