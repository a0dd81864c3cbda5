package pubsubwrap

import (
	"context"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/redistest"
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
