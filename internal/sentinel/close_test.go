package sentinel

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// Events: one sentinel accepts connections and is silent, the dialer of another one does not heed its context. The group is closed.
// Nobody waits for them.
func TestCloseWaitsForNoSilentSentinel(t *testing.T) {
	for _, dials := range []bool{true, false} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		var all sync.WaitGroup
		ctx, cancel := context.WithCancel(context.Background())
		hangs, dialing := make(chan struct{}), make(chan struct{}, 8)
		defer close(hangs)
		opt := &redis.FailoverOptions{MasterName: "group", SentinelAddrs: []string{l.Addr().String()}}
		if dials {
			opt.Dialer = func(context.Context, string, string) (net.Conn, error) {
				dialing <- struct{}{}
				<-hangs
				return nil, net.ErrClosed
			}
		} else {
			dialing <- struct{}{}
		}
		g := New(Config{Options: opt, Ctx: ctx, Go: func(f func()) bool { all.Go(f); return true }, Moved: func(string, string) {}})
		g.listen()
		<-dialing
		time.Sleep(100 * time.Millisecond)
		began := time.Now()
		cancel()
		all.Wait()
		require.Less(t, time.Since(began), 1500*time.Millisecond, "the dialer hangs: %v", dials)
	}
}
