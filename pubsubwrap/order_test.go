package pubsubwrap

import (
	"context"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/redistest"
)

// farAway is a connection on which everything arrives late.
type farAway struct{ net.Conn }

const distance = 30 * time.Millisecond

func (c farAway) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	time.Sleep(distance) // what is being tested: no condition to wait for
	return n, err
}

// TestOrderAcrossTheSwitch: a publisher moves while the old database is far from the subscriber and the new one is near.
func TestOrderAcrossTheSwitch(t *testing.T) {
	p := &pair{east: redistest.Start(t), west: redistest.Start(t)}
	p.dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return farAway{nc}, nil
	}
	p.attach(t)
	ctx := t.Context()
	sub, err := Subscribe(ctx, p.rdb, "a")
	require.NoError(t, err)
	closing(t, sub)
	require.NoError(t, p.hook.SetActive(ctx, "west"))
	require.NotNil(t, next(t, sub).Switched)
	for i := 0; i < 20; i += 2 {
		require.NoError(t, p.east.Client().Publish(ctx, "a", i).Err())
		require.NoError(t, p.west.Client().Publish(ctx, "a", i+1).Err())
		require.Equal(t, strconv.Itoa(i), message(t, sub).Payload)
		require.Equal(t, strconv.Itoa(i+1), message(t, sub).Payload)
	}
	require.Equal(t, "west", p.hook.Active())
	began := time.Now()
	eventually(t, waitFor, "the old database to be left", func() bool {
		return len(p.east.Client().PubSubChannels(ctx, "a").Val()) == 0
	})
	require.Less(t, time.Since(began), 5*time.Second)
}

// TestAnswerIsNotForgotten. Events: a's reader delivers what b has held, slowly; meanwhile b comes back into use,
// takes its place behind c, and asks c for an answer.
func TestAnswerIsNotForgotten(t *testing.T) {
	s := &Subscriber{opt: Options{Buffer: 1}.withDefaults()}
	s.ctx, s.cancel = context.WithCancel(t.Context())
	s.buf = newBuffer(&s.opt, s.ctx.Done(), s.wg.Go)
	k := s.newLink(noSlot)
	defer s.wg.Wait()
	defer k.wg.Wait()
	defer s.cancel()
	add := func() *subConn {
		l := &subConn{link: k}
		l.wake = make(chan struct{}, 1)
		k.queue(l)
		l.promote()
		return l
	}
	a := add()
	a.drain()
	b := add()
	say := func(payload string) Event { return Event{Message: &redis.Message{Payload: payload}} }
	b.deliver(say("1"))
	a.release()
	b.deliver(say("2"))
	released := make(chan struct{})
	k.wg.Go(func() { defer close(released); a.release() })
	eventually(t, waitFor, "a's reader to wait", a.blocked.Load)
	c := add()
	require.True(t, b.comeBack())
	require.True(t, b.stepBehind())
	b.promote(say("3"))
	require.Equal(t, "1", next(t, s).Message.Payload)
	<-released
	require.Equal(t, "2", next(t, s).Message.Payload)
	c.release() // the answer that b has asked for
	a.release() // and the one that c has asked for then
	require.Equal(t, "3", next(t, s).Message.Payload)
}
