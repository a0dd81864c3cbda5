package multidb

import (
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/redistest"
)

// What a hook costs while nothing happens is what the README says: 2 goroutines, and for each database one more and one
// connection.
func TestIdleCost(t *testing.T) {
	const n = 3
	var opt Options
	var servers []*redistest.Redis
	for i := range n {
		servers = append(servers, redistest.Start(t))
		opt.Databases = append(opt.Databases, Database{Name: fmt.Sprint("db", i), URL: "redis://" + servers[i].Addr()})
		// The counting connection is there before, so that it does not count.
		require.NoError(t, servers[i].Client().Ping(t.Context()).Err())
	}
	opt.Logger = slog.New(slog.DiscardHandler)
	opt.Health = Health{Interval: 50 * time.Millisecond, ActiveInterval: 50 * time.Millisecond}
	before := runtime.NumGoroutine()
	hook, err := New(t.Context(), opt)
	require.NoError(t, err)
	defer hook.Close()

	time.Sleep(500 * time.Millisecond) // several rounds of health checks
	assert.EventuallyWithT(t, func(c *assert.CollectT) {
		// EventuallyWithT runs this in a goroutine of its own.
		assert.Equal(c, before+2+n+1, runtime.NumGoroutine())
	}, 2*time.Second, 20*time.Millisecond)
	for _, s := range servers {
		info, err := s.Client().Info(t.Context(), "clients").Result()
		require.NoError(t, err)
		assert.Contains(t, info, "connected_clients:2\r\n", "one of the hook, one that asks")
	}
}
