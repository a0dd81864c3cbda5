package multidbprometheus_test

// The faults of docs/operations.md: a database that is away, or answers and cannot serve.

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

func init() {
	faults["The server has died"] = func(t *testing.T, s *stage) {
		s.start(t, nil)
		s.toEast.Refuse()
	}
	faults["The server hangs"] = func(t *testing.T, s *stage) {
		s.start(t, nil)
		s.east.Stop()
	}
	faults["New connections vanish"] = func(t *testing.T, s *stage) {
		var broken atomic.Pointer[func(context.Context) (net.Conn, error)]
		s.start(t, func(o *multidb.Options) { o.Databases[0].Options.Dialer = dialing(&broken) })
		vanish := func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
		broken.Store(&vanish)
		cut(t, s.east)
	}
	faults["New connections are accepted and never answered"] = func(t *testing.T, s *stage) {
		s.start(t, nil)
		s.toEast.Answer(func(args []string) (string, bool) { return "", strings.EqualFold(args[0], "hello") })
		cut(t, s.east)
	}
	faults["Every database is away"] = func(t *testing.T, s *stage) {
		s.start(t, nil)
		s.toEast.Refuse()
		s.toWest.Refuse()
	}
	faults["Every database was away, and one is back"] = func(t *testing.T, s *stage) {
		s.start(t, nil)
		s.toEast.Refuse()
		s.toWest.Refuse()
		redistest.Eventually(t, 10*time.Second, "the outage", func() bool { return s.hook.Stats().Down })
		s.toWest.Pass()
	}
	faults["The sentinels have made another master"] = func(t *testing.T, s *stage) {
		group := redistest.StartGroup(t)
		s.start(t, func(o *multidb.Options) {
			o.Databases[0] = multidb.Database{Name: "east", Failover: &redis.FailoverOptions{
				MasterName: redistest.GroupName, SentinelAddrs: []string{group.Sentinel},
			}}
		})
		group.Promote(t)
	}
	faults["The service does not start: New waits"] = func(t *testing.T, s *stage) {
		s.toEast.Refuse()
		s.toWest.Refuse()
		opt := s.options()
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
		defer cancel()
		_, err := multidb.New(ctx, opt)
		require.Error(t, err)
	}
	faults["The master has become a replica"] = func(t *testing.T, s *stage) {
		s.start(t, nil)
		host, port, _ := strings.Cut(s.west.Addr(), ":")
		require.NoError(t, s.east.Client().Do(t.Context(), "REPLICAOF", host, port).Err())
	}
	faults["A master is demoted while commands block"] = func(t *testing.T, s *stage) {
		s.start(t, nil)
		popped := make(chan error, 1)
		go func() { popped <- s.rdb.BLPop(context.Background(), 20*time.Second, "list").Err() }()
		redistest.Eventually(t, 10*time.Second, "BLPOP to wait", func() bool {
			clients, err := s.east.Client().Info(t.Context(), "clients").Result()
			return err == nil && strings.Contains(clients, "blocked_clients:1")
		})
		host, port, _ := strings.Cut(s.west.Addr(), ":")
		require.NoError(t, s.east.Client().Do(t.Context(), "REPLICAOF", host, port).Err())
		redistest.Eventually(t, 10*time.Second, "the switch", func() bool { return s.hook.Active() == "west" })
		require.NoError(t, s.west.Client().RPush(t.Context(), "list", "element").Err())
		require.NoError(t, <-popped)
	}
	faults["Writes are paused"] = func(t *testing.T, s *stage) {
		s.start(t, nil)
		require.NoError(t, s.east.Client().Do(t.Context(), "CLIENT", "PAUSE", 60_000, "WRITE").Err())
	}
	faults["A script runs too long"] = func(t *testing.T, s *stage) {
		s.start(t, nil)
		s.toEast.Answer(refusing("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."))
	}
	faults["A proxy has lost its server"] = func(t *testing.T, s *stage) {
		s.start(t, nil)
		s.toEast.Answer(refusing("upstream failure", "PING"))
	}
	faults["The database is full"] = func(t *testing.T, s *stage) {
		s.start(t, nil)
		require.NoError(t, s.east.Client().ConfigSet(t.Context(), "maxmemory", "1").Err())
	}
	faults["The database is loading"] = func(t *testing.T, s *stage) {
		s.start(t, nil)
		s.toEast.Answer(refusing("LOADING Redis is loading the dataset in memory"))
	}
	faults["No database can save"] = func(t *testing.T, s *stage) {
		s.start(t, nil)
		misconf := func(args []string) (string, bool) {
			return "-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.\r\n",
				faultproxy.Named("SET", "PUBLISH")(args)
		}
		s.toEast.Answer(misconf)
		s.toWest.Answer(misconf)
	}
	faults["The way to a database has become longer"] = func(t *testing.T, s *stage) {
		s.start(t, nil)
		s.toEast.Delay(60 * time.Millisecond)
	}
}

// Sent and not answered, and not harmless to run twice: nobody but the database knows.
func init() {
	faults["Commands of unknown outcome"] = func(t *testing.T, s *stage) {
		s.start(t, nil)
		s.toEast.DropReplies(faultproxy.Named("INCR"))
		err := s.rdb.Incr(t.Context(), "n").Err()
		require.Error(t, err)
		require.False(t, multidb.SafeToRetry(err))
		require.NotErrorIs(t, err, redis.Nil)
	}
}
