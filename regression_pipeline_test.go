package multidb

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/redistest"
)

// Events: a pipeline [SET, INCR]; the server answers LOADING to the first and executes the second (it finished loading
// in between; the same with READONLY for a write and OK for a PUBLISH). The batch error is that of the first command, so
// judgeBatch resets from to 0 and runs the whole pipeline again, answered commands included.
func TestRegressionAnsweredCommandsOfPipelineAreRunAgain(t *testing.T) {
	var set, incr atomic.Int64
	server := regressionListen(t, func(_ net.Conn, args []string) (string, bool) {
		switch strings.ToLower(args[0]) {
		case "set":
			if set.Add(1) == 1 {
				return "-LOADING Redis is loading the dataset in memory\r\n", true
			}
		case "incr":
			return fmt.Sprintf(":%d\r\n", incr.Add(1)), true
		}
		return regressionDefault(args), true
	})
	h := regressionHook(t, Options{Databases: []Database{{Name: "only", URL: "redis://" + server.addr()}}})
	rdb := redis.NewClient(&redis.Options{Addr: server.addr(), MaxRetries: -1})
	defer rdb.Close()
	rdb.AddHook(h)
	cmds, err := rdb.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		p.Set(t.Context(), "k", "v", 0)
		p.Incr(t.Context(), "n")
		return nil
	})
	t.Log(err, cmds)
	require.EqualValues(t, 1, incr.Load(), "the INCR was answered, and run again by the hook (go-redis' retries are off)")
}

// Events: the active database was demoted to a replica; the application uses transactions only. READONLY comes as
// the answer to a queued command and EXEC answers EXECABORT, which counts as success: no failure, no switch, for ever.
func TestRegressionDemotedDatabaseIsNotLeftByTransactions(t *testing.T) {
	east, west := regressionPair(t)
	h := regressionHook(t, Options{Databases: regressionURLs(east.Addr(), west.Addr())})
	rdb := redis.NewClient(&redis.Options{Addr: east.Addr()})
	defer rdb.Close()
	rdb.AddHook(h)
	require.NoError(t, east.Client().SlaveOf(t.Context(), "127.0.0.1", "1").Err())
	var last error
	end := time.Now().Add(20 * time.Second)
	for time.Now().Before(end) && h.Active() == "east" {
		_, last = rdb.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
			p.Incr(t.Context(), "n")
			return nil
		})
		time.Sleep(time.Millisecond)
	}
	s := h.Stats().Databases[0]
	require.Equalf(t, "west", h.Active(), "after 20 s of nothing but %v; east: %d successes, %d failures", last, s.Successes, s.Failures)
}

// Events: 100 idle TLS connections in the pool (go-redis cannot check them); a planned switch; then one command at a
// time. Each attempt takes one more old connection out of the pool and is refused by its gate: go-redis' 4 attempts times
// the hook's 8, with the backoff of both, and then an error although both databases are well.
func TestRegressionPlannedSwitchWithIdleTLSConnections(t *testing.T) {
	east, west := redistest.Start(t, redistest.TLS()), redistest.Start(t, redistest.TLS())
	h := regressionHook(t, Options{Health: patient, Databases: []Database{
		{Name: "east", Options: east.Options()}, {Name: "west", Weight: 0.5, Options: west.Options()},
	}})
	opt := east.Options()
	opt.PoolSize = 100
	rdb := redis.NewClient(opt)
	defer rdb.Close()
	rdb.AddHook(h)
	var conns []*redis.Conn
	for range 100 {
		conn := rdb.Conn()
		require.NoError(t, conn.Ping(t.Context()).Err())
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		require.NoError(t, conn.Close())
	}
	require.NoError(t, h.SetActive(t.Context(), "west"))
	began := time.Now()
	err := rdb.Incr(t.Context(), "n").Err()
	t.Logf("took %v", time.Since(began))
	require.NoError(t, err)
	require.Less(t, time.Since(began), 5*time.Second)
}

// The same for a crash: 100 idle TLS connections, the active database dies, one caller.
func TestRegressionCrashWithIdleTLSConnections(t *testing.T) {
	east, west := redistest.Start(t, redistest.TLS()), redistest.Start(t, redistest.TLS())
	h := regressionHook(t, Options{Health: patient, Databases: []Database{
		{Name: "east", Options: east.Options()}, {Name: "west", Weight: 0.5, Options: west.Options()},
	}})
	opt := east.Options()
	opt.PoolSize = 100
	rdb := redis.NewClient(opt)
	defer rdb.Close()
	rdb.AddHook(h)
	var conns []*redis.Conn
	for range 100 {
		conn := rdb.Conn()
		require.NoError(t, conn.Ping(t.Context()).Err())
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		require.NoError(t, conn.Close())
	}
	east.Kill()
	require.True(t, regressionEventually(t, "switch", 20*time.Second, func() bool { return h.Active() == "west" }))
	began := time.Now()
	err := rdb.Set(t.Context(), "n", 1, 0).Err()
	t.Logf("took %v", time.Since(began))
	require.NoError(t, err)
	require.Less(t, time.Since(began), 5*time.Second)
}
