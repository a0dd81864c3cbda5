package health

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/virtual"
)

// frozenConn writes later what is written while its server is frozen.
type frozenConn struct {
	net.Conn
	until *atomic.Int64
}

func (c frozenConn) Write(p []byte) (int, error) {
	time.Sleep(time.Until(time.Unix(0, c.until.Load())))
	return c.Conn.Write(p)
}

// Events:
//  1. One request, or one dial, has waited for ten seconds. All others are answered.
//  2. The server freezes for 300 ms, which is no hang.
//  3. It is asked meanwhile because of 1. Its time was halved, as if the server had been silent for ten seconds, and it was left.
func TestOneSlowRequestLeavesAServerItsTime(t *testing.T) {
	for _, slow := range []error{Stall(10 * time.Second), slowConnect{"a dial was", 10 * time.Second}} {
		var until atomic.Int64
		thawed := func(opt *redis.Options) {
			dial := opt.Dialer
			opt.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
				nc, err := dial(ctx, network, addr)
				return frozenConn{nc, &until}, err
			}
		}
		bubbleOf(t, thawed, func(h *Health, fleet *lone, _ *virtual.DB) {
			fleet.alternative.Store(true)
			time.Sleep(time.Second)
			h.Served(time.Now())
			until.Store(time.Now().Add(300 * time.Millisecond).UnixNano())
			<-h.Suspect(slow)
			require.True(t, h.Usable(), "%v", slow)
		})
	}
}
