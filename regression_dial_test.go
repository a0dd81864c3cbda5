package multidb

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/redistest"
)

// Events: the active database stops while the client dials it over TLS. The dialer of go-redis does not end with its context,
// so the dials go on for DialTimeout after the switch and hold the client's pool.
func TestRegressionHangWhileDialingOverTLS(t *testing.T) {
	const dialTimeout = 30 * time.Second // or it is within what a busy machine takes for 60 handshakes
	p := newPair(t, func(o *Options, r *redis.Options) {
		r.DialTimeout = dialTimeout
		// As a user writes them, without a Dialer; and those of a ready client, which has go-redis' own.
		for i, db := range o.Databases {
			opt := *db.Options
			opt.Dialer, opt.DialTimeout = nil, dialTimeout
			if i == 1 {
				ready := redis.NewClient(&opt)
				t.Cleanup(func() { _ = ready.Close() })
				opt = *ready.Options()
			}
			o.Databases[i].Options = &opt
		}
	}, redistest.TLS())
	ctx := context.Background()
	hang := func(server *redistest.Redis, to string) {
		require.NoError(t, p.rdb.Set(ctx, "k", 1, 0).Err())
		server.Stop()
		defer server.Cont()
		var wg sync.WaitGroup
		for range 60 {
			wg.Go(func() {
				began := time.Now()
				if err := p.rdb.Set(ctx, "k", 1, 0).Err(); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took > dialTimeout/2 {
					t.Errorf("one SET took %v", took)
				}
			})
		}
		wg.Wait()
		require.Equal(t, to, p.hook.Active())
	}
	hang(p.east, "west")
	eventually(t, 20*time.Second, "the old one to be usable again", p.hook.usableAgain)
	hang(p.west, "east")
}

// Events: a server that is no sentinel stands in SentinelAddrs; it answers "unknown command 'SENTINEL'", or NOPERM, which as
// the reply of a database means that it is there and well. So a database that cannot be dialed is healthy.
func TestRegressionSentinelsReplyIsTakenForTheDatabases(t *testing.T) {
	for name, reply := range map[string]string{
		"no sentinel":  "-ERR unknown command 'SENTINEL', with args beginning with: 'get-master-addr-by-name'\r\n",
		"no rights":    "-NOPERM this user has no permissions to run the 'sentinel' command\r\n",
		"no password":  "-NOAUTH Authentication required.\r\n",
		"wrong secret": "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			server := regressionListen(t, func(_ net.Conn, args []string) (string, bool) {
				if strings.EqualFold(args[0], "sentinel") {
					return reply, true
				}
				return regressionDefault(args), true
			})
			west := redistest.Start(t)
			h := regressionHook(t, Options{
				Databases: []Database{
					{Name: "group", Failover: &redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{server.addr()}}},
					{Name: "west", Weight: 0.5, URL: "redis://" + west.Addr()},
				},
			})
			require.Equal(t, "west", h.Active())
			require.Equal(t, BreakerOpen, h.Stats().Databases[0].Breaker)
			require.ErrorContains(t, h.SetActive(t.Context(), "group"), reply[1:7], "and it says why")
		})
	}
}

// Events: a hook is added to a Ring, which it cannot route; its own databases die. From then on it refuses the commands of
// the Ring, which is well, and counts its failures as those of its databases.
func TestRegressionHookRefusesCommandsItDoesNotRoute(t *testing.T) {
	dead, ring := redistest.Start(t), redistest.Start(t)
	h := regressionHook(t, Options{Databases: []Database{{Name: "only", URL: "redis://" + dead.Addr()}}})
	other := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": ring.Addr()}})
	defer other.Close()
	other.AddHook(h)
	ctx := t.Context()
	dead.Kill()
	eventually(t, 10*time.Second, "the outage", func() bool { return h.Stats().Down })
	require.NoError(t, other.Set(ctx, "k", "v", 0).Err())
	_, err := other.Pipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Incr(ctx, "n").Err() })
	require.NoError(t, err)
	dead.Restart()
	eventually(t, 10*time.Second, "its end", func() bool { return !h.Stats().Down })
	ring.Kill()
	require.Error(t, other.Set(ctx, "k", "v", 0).Err())
	require.Zero(t, h.Stats().Databases[0].Failures)
}

// Events: callers subscribe with a deadline that is shorter than a dial takes. The socket's deadline fires before the
// context's own timer, so the failure looks like the database's.
func TestRegressionCallersDeadlineIsEvidence(t *testing.T) {
	server := redistest.Start(t)
	h := regressionHook(t, Options{Health: patient, Databases: []Database{{Name: "only", Options: &redis.Options{
		Addr: server.Addr(),
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < time.Second {
				time.Sleep(time.Until(deadline))
				return nil, &net.OpError{Op: "dial", Net: network, Err: context.DeadlineExceeded}
			}
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		},
	}}}})
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()
	rdb.AddHook(h)
	calmed := func() time.Time {
		db := h.selector.find("only")
		db.mu.Lock()
		defer db.mu.Unlock()
		if db.suspicion != nil {
			return time.Now()
		}
		return db.calmedAt
	}
	for range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		sub := rdb.Subscribe(ctx, "news")
		_ = sub.Close()
		cancel()
	}
	require.Zero(t, calmed(), "no suspicion was raised")
}
