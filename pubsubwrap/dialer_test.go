package pubsubwrap

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/redistest"
)

// TestADialerWithoutContextHoldsNoSubscriber. Events: a connection is lost; the dialer, which takes no context, does not return; the
// subscriber is closed.
func TestADialerWithoutContextHoldsNoSubscriber(t *testing.T) {
	p := &pair{east: redistest.Start(t), west: redistest.Start(t)}
	var hole atomic.Bool
	var hanging atomic.Int64
	release := make(chan struct{})
	p.dialer = func(_ context.Context, network, addr string) (net.Conn, error) {
		if !hole.Load() {
			return net.Dial(network, addr)
		}
		hanging.Add(1)
		defer hanging.Add(-1)
		<-release
		return nil, errors.New("no route")
	}
	p.attach(t)
	sub, err := Subscribe(t.Context(), p.rdb, "a")
	require.NoError(t, err)
	hole.Store(true)
	require.NoError(t, p.east.Client().ClientKillByFilter(t.Context(), "TYPE", "pubsub").Err())
	eventually(t, waitFor, "a dial", func() bool { return hanging.Load() > 0 })
	began := time.Now()
	require.NoError(t, sub.Close())
	require.Less(t, time.Since(began), 3*time.Second, "the dial has DialTimeout, which is 5 s, and never returns")
	close(release)
	eventually(t, waitFor, "the dials to return", func() bool { return hanging.Load() == 0 })
}
