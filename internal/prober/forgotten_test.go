package prober

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// asked is a prober with a connection that has stood. It returns how often connections were taken for forgotten while question was
// put, each time with its number.
func asked(t *testing.T, dials bool, question func(ctx context.Context, number int64) error) (forgotten int64) {
	var all sync.WaitGroup
	var count, number atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := New(redis.NewClient(Options(&redis.Options{Addr: miniredis.RunT(t).Addr()})), Config{
		Timeout: 400 * time.Millisecond, Go: func(f func()) bool { all.Go(f); return true }, Ctx: ctx,
		Late: func() {}, Reached: func(net.Conn) {}, Forgotten: func() { count.Add(1) },
	})
	defer p.Close()
	require.NoError(t, p.Ping(ctx))
	require.NotZero(t, p.quick.PoolStats().IdleConns)
	ask := p.Ask
	if dials {
		ask = p.AskNew
	}
	require.NoError(t, ask(ctx, 3, func(ctx context.Context) error { return question(ctx, number.Add(1)) }))
	all.Wait()
	return count.Load()
}

// Events: 1. A question is put over a connection that has stood, and is slow to be answered. 2. A second one is put, over a new
// connection. 3. The first one is answered. The second one is not, because its connection is not made yet. That is nothing that
// was forgotten: the connection that has stood has answered.
func TestWhatHasAnsweredIsNotForgotten(t *testing.T) {
	second := make(chan struct{})
	require.Zero(t, asked(t, false, func(ctx context.Context, number int64) error {
		if number == 1 {
			<-second
			return nil
		}
		if number == 2 {
			close(second)
		}
		<-ctx.Done()
		return ctx.Err()
	}))
}

// Events: 1. A new connection is asked for, and the packet that begins it is lost. 2. Another one is made and answers. No connection
// that had stood was asked at all.
func TestNewConnectionThatIsLostIsNotForgotten(t *testing.T) {
	require.Zero(t, asked(t, true, firstSilentFor(time.Minute)))
}

// Events: 1. A question is put over a connection that has stood, and its packet is lost. 2. Another connection answers. 3. The packet
// is sent again and answered. Only if that does not happen, the connection was forgotten.
func TestOneLostPacketIsNotForgotten(t *testing.T) {
	var answered atomic.Bool
	require.EqualValues(t, 1, asked(t, false, firstSilentFor(time.Minute)))
	forgotten := asked(t, false, func(ctx context.Context, number int64) error {
		began := time.Now()
		err := firstSilentFor(210*time.Millisecond)(ctx, number)
		if number == 1 {
			answered.Store(time.Since(began) < 250*time.Millisecond)
		}
		return err
	})
	if answered.Load() { // this machine was not too busy
		require.Zero(t, forgotten)
	}
}

func firstSilentFor(d time.Duration) func(context.Context, int64) error {
	return func(ctx context.Context, number int64) error {
		if number > 1 {
			return nil
		}
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
