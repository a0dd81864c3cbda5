package multidb

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// counted is a connection that is counted as long as it is open.
type counted struct {
	net.Conn
	open *atomic.Int64
	once sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return nil
}

// Events: a dial has succeeded and its connection is registered; a switch comes before the dial returns. It was repeated,
// and nobody had the first connection: it stayed open if the switch was planned and the database was returned to within
// DrainTimeout, and was counted among those of its database for ever.
func TestRegressionDialThatLostTheRaceLeaks(t *testing.T) {
	var open atomic.Int64
	specs := []Database{{Name: "a", Options: instantOptions("a:1")}, {Name: "b", Options: instantOptions("b:1")}}
	for i := range specs {
		specs[i].Options.Dialer = func(context.Context, string, string) (net.Conn, error) {
			open.Add(1)
			return &counted{Conn: &instant{}, open: &open}, nil
		}
	}
	h, err := New(t.Context(), Options{Databases: specs, Logger: testLog(t)})
	require.NoError(t, err)
	probing := open.Load()
	dial := h.DialHook(nil)
	var wg sync.WaitGroup
	var done atomic.Bool
	for range 4 {
		wg.Go(func() {
			for !done.Load() {
				nc, err := dial(context.Background(), "", "")
				if err == nil {
					_ = nc.Close()
				}
			}
		})
	}
	for i := range 500 {
		_ = h.ForceActive([]string{"b", "a"}[i%2], 0)
	}
	done.Store(true)
	wg.Wait()
	for _, db := range h.Stats().Databases {
		require.Zero(t, db.Connections, "registered on %s, and nobody has them", db.Name)
	}
	require.LessOrEqual(t, open.Load(), probing+2)
	require.NoError(t, h.Close())
}
