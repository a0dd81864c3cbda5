package cluster_test

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/cluster"
	"github.com/redishook/multidb/internal/testkit/clustertest"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// TestRedirectToAStrangerIsNotFollowed: a node names an address that belongs to neither cluster, in the moment of switches too. Nobody
// dials it, so it learns no password, and no command is lost.
func TestRedirectToAStrangerIsNotFollowed(t *testing.T) {
	t.Parallel()
	stranger, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var dialed atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := stranger.Accept()
			if err != nil {
				return
			}
			dialed.Add(1)
			_ = conn.Close() // it is counted, which is all
		}
	}()
	t.Cleanup(func() { _ = stranger.Close(); <-done })
	p := proxied(t, setup{
		a: []clustertest.Option{clustertest.Masters(3, 0), clustertest.Nodes(redistest.Password("pa"))},
		b: []clustertest.Option{clustertest.Masters(3, 0), clustertest.Nodes(redistest.Password("pb"))},
	})
	var asked, misled atomic.Int64
	for _, n := range p.a.Nodes {
		p.a.Proxy(n).Answer(func(args []string) (string, bool) {
			if !isIncr(args) || asked.Add(1)%20 != 0 {
				return "", false
			}
			misled.Add(1)
			return fmt.Sprintf("-MOVED %d %s\r\n", cluster.KeySlot(args[1]), stranger.Addr()), true
		})
	}
	l := start(8, incr(p.rdb))
	p.storm(t, switches, 40*time.Millisecond)
	l.end(t)
	require.Positive(t, misled.Load())
	require.Zero(t, dialed.Load(), "the stranger was dialed")
	require.Zero(t, p.a.Denied()+p.b.Denied())
	require.Zero(t, l.unknown.Load())
	require.Equal(t, l.confirmed.Load(), p.sum("n:"))
	for text := range l.errs {
		require.True(t, strings.Contains(text, stranger.Addr().String()), "%s", text)
	}
}
