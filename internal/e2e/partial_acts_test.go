package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/load"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// paced leaves the machine to others.
func paced(op func(context.Context, int, int) error) func(context.Context, int, int) error {
	return func(ctx context.Context, g, i int) error {
		time.Sleep(time.Millisecond)
		return op(ctx, g, i)
	}
}

// Events:
//  1. New connections to east are accepted and never answered. Connections that existed work, the prober's among them.
//  2. The client needs new ones: its own are closed once.
//
// A PING over the prober's connection clears nothing: the callers are on west within 2 s, and nobody gets an error.
func TestNewConnectionsThatAreNeverAnswered(t *testing.T) {
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprint("RESP", protocol), func(t *testing.T) {
			p := &pair.Pair{East: redistest.Start(t), West: redistest.Start(t)}
			far := startFar(t, p.East.Addr(), 0)
			east := p.East.Options()
			east.Addr = far.Addr().String()
			p.Attach(t, east, p.West.Options(), func(_ *multidb.Options, r *redis.Options) { r.Protocol = protocol })
			l := load.Start(20, paced(load.SetGet(p.RDB)))
			defer l.End()
			redistest.Eventually(t, 10*time.Second, "load to run", func() bool { return l.Ops.Load() > 200 })
			l.Strike(func() {
				far.silent.Store(true)
				cutClients(t, p.East)
			})
			_, last := l.AwaitRecovery(t, 6*time.Second)
			l.End()
			require.Less(t, last, 2*time.Second)
			require.Empty(t, l.Errs)
			require.Len(t, p.Switched(), 1)
		})
	}
}

// Events: this process has no descriptors left. Both databases are healthy, and no database is blamed: callers that need a new
// connection are told at once that nothing was sent.
func TestOwnDescriptorsAreNoEvidence(t *testing.T) {
	p := &pair.Pair{East: redistest.Start(t), West: redistest.Start(t)}
	var exhausted atomic.Bool
	with := func(s *redistest.Redis) *redis.Options {
		opt := s.Options()
		opt.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if exhausted.Load() {
				return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("socket", syscall.EMFILE)}
			}
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}
		return opt
	}
	p.Attach(t, with(p.East), with(p.West), nil)
	ctx := t.Context()
	require.NoError(t, p.RDB.Set(ctx, "k", 1, 0).Err())
	exhausted.Store(true)
	cutClients(t, p.East)
	for range 5 {
		began := time.Now()
		err := p.RDB.Set(ctx, "k", 1, 0).Err()
		require.ErrorIs(t, err, syscall.EMFILE)
		require.True(t, multidb.SafeToRetry(err))
		require.Less(t, time.Since(began), 3*time.Second)
	}
	time.Sleep(6 * time.Second) // a regular check of each
	require.Empty(t, p.Switched())
	require.Zero(t, p.Downs.Load())
	require.GreaterOrEqual(t, p.Hook.Stats().Databases[0].OwnFaults, uint64(5))
	exhausted.Store(false)
	require.NoError(t, p.RDB.Set(ctx, "k", 1, 0).Err())
}

// Events: the password of east is changed on the server, and the connections that were logged in before work on. Then those of
// the client are closed. There is one switch, without an error, and no return while the login is refused.
func TestNoReturnWhileALoginIsRefused(t *testing.T) {
	users := redistest.Users("app on >pw ~* &* +@all")
	p := &pair.Pair{East: redistest.Start(t, users), West: redistest.Start(t, users)}
	login := func(s *redistest.Redis) *redis.Options {
		opt := s.Options()
		opt.Username, opt.Password = "app", "pw"
		return opt
	}
	p.Attach(t, login(p.East), login(p.West), func(o *multidb.Options, _ *redis.Options) {
		o.Failback = multidb.Failback{GracePeriod: time.Second, MaxGracePeriod: 2 * time.Second}
		o.Breaker = multidb.Breaker{Delay: 200 * time.Millisecond, Successes: 1}
	})
	ctx := t.Context()
	l := load.Start(5, paced(load.SetGet(p.RDB)))
	defer l.End()
	redistest.Eventually(t, 10*time.Second, "load to run", func() bool { return l.Ops.Load() > 200 })
	require.NoError(t, p.East.Client().Do(ctx, "ACL", "SETUSER", "app", "resetpass", ">other").Err())
	began := time.Now()
	cutClients(t, p.East)
	redistest.Eventually(t, 5*time.Second, "the switch", func() bool { return p.Hook.Active() == "west" })
	require.Less(t, time.Since(began), 1500*time.Millisecond)
	time.Sleep(8 * time.Second)
	l.End()
	require.Empty(t, l.Errs)
	require.Len(t, p.Switched(), 1)
	require.True(t, redis.IsAuthError(p.Hook.Stats().Databases[0].LastError), "%v", p.Hook.Stats().Databases[0].LastError)
}

// Events: writes on east are paused, reads and PING pass, as in a shutdown with lagging replicas or a managed failover. A SET is on
// west within 2 s.
func TestPausedWritesAreLeft(t *testing.T) {
	p := pair.New(t, nil)
	l := load.Start(5, paced(load.SetGet(p.RDB)))
	defer l.End()
	redistest.Eventually(t, 10*time.Second, "load to run", func() bool { return l.Ops.Load() > 200 })
	l.Strike(func() {
		require.NoError(t, p.East.Client().Do(t.Context(), "CLIENT", "PAUSE", 60_000, "WRITE").Err())
	})
	_, last := l.AwaitRecovery(t, 8*time.Second)
	l.End()
	require.Less(t, last, 2*time.Second)
	require.Empty(t, l.Errs)
	require.Len(t, p.Switched(), 1)
	require.ErrorContains(t, p.Switched()[0].Cause, "writes are not")
	require.NoError(t, p.East.Client().Do(context.Background(), "CLIENT", "UNPAUSE").Err())
}

// Events: the service that hands out credentials is away. All connections work, and traffic over them is served. Then the one
// connection of the prober is closed. The database keeps its place, as long as its traffic is answered.
func TestProberThatCannotLogInMovesNobody(t *testing.T) {
	p := &pair.Pair{East: redistest.Start(t), West: redistest.Start(t)}
	var away atomic.Bool
	provided := func(s *redistest.Redis) *redis.Options {
		opt := s.Options()
		user, password := opt.Username, opt.Password
		opt.Username, opt.Password = "", ""
		opt.CredentialsProviderContext = func(context.Context) (string, string, error) {
			if away.Load() {
				return "", "", errors.New("vault: 503")
			}
			return user, password, nil
		}
		return opt
	}
	p.Attach(t, provided(p.East), provided(p.West), nil)
	l := load.Start(4, paced(load.SetGet(p.RDB)))
	defer l.End()
	redistest.Eventually(t, 10*time.Second, "load to run", func() bool { return l.Ops.Load() > 200 })
	away.Store(true)
	kill(t, p.East, func(line string) bool { return strings.Contains(line, " cmd=ping ") }) // the prober's
	time.Sleep(8 * time.Second)                                                             // more than a regular check
	l.End()
	require.Empty(t, l.Errs)
	require.Empty(t, p.Switched())
	require.Zero(t, p.Downs.Load())
}

// Events: the connections of a healthy database a long way away are reset once. New ones work at once, so it keeps its place.
func TestFarDatabaseKeepsItsPlaceAfterAReset(t *testing.T) {
	for _, c := range []struct {
		roundTrip time.Duration
		tls       bool
		index     int
	}{{100 * time.Millisecond, false, 1}, {150 * time.Millisecond, true, 0}, {300 * time.Millisecond, true, 1}} {
		t.Run(fmt.Sprintf("%v/TLS %v/index %d", c.roundTrip, c.tls, c.index), func(t *testing.T) {
			var options []redistest.Option
			if c.tls {
				options = append(options, redistest.TLS())
			}
			p := &pair.Pair{East: redistest.Start(t, options...), West: redistest.Start(t)}
			far := startFar(t, p.East.Addr(), c.roundTrip)
			east := p.East.Options()
			east.Addr, east.DB = far.Addr().String(), c.index
			east.Dialer = far.dialer(p.East)
			p.Attach(t, east, p.West.Options(), func(o *multidb.Options, r *redis.Options) {
				o.Initial = multidb.InitialAll
				r.TLSConfig = nil
			})
			l := load.Start(12, paced(load.SetGet(p.RDB))) // more commands in flight than a failure detector needs, of few
			defer l.End()
			redistest.Eventually(t, 20*time.Second, "load to run", func() bool { return l.Ops.Load() > 20 })
			require.Equal(t, "east", p.Hook.Active())
			far.reset()
			time.Sleep(4 * time.Second)
			l.End()
			require.Empty(t, p.Switched())
			require.Empty(t, l.Errs)
		})
	}
}

// Events: the way to both databases becomes longer, from a round trip of 1 ms to one of 150 or 400 ms, and all connections are
// reset. Nothing is down.
func TestWayThatBecomesLonger(t *testing.T) {
	for _, after := range []time.Duration{150 * time.Millisecond, 400 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			p := &pair.Pair{East: redistest.Start(t), West: redistest.Start(t)}
			toEast, toWest := startFar(t, p.East.Addr(), time.Millisecond), startFar(t, p.West.Addr(), time.Millisecond)
			east, west := p.East.Options(), p.West.Options()
			east.Addr, east.Dialer = toEast.Addr().String(), toEast.dialer(p.East)
			west.Addr, west.Dialer = toWest.Addr().String(), toWest.dialer(p.West)
			p.Attach(t, east, west, func(o *multidb.Options, _ *redis.Options) { o.Initial = multidb.InitialAll })
			l := load.Start(5, paced(load.SetGet(p.RDB)))
			defer l.End()
			redistest.Eventually(t, 10*time.Second, "load to run", func() bool { return l.Ops.Load() > 200 })
			for _, far := range []*farProxy{toEast, toWest} {
				far.distance.Store(int64(after))
				far.reset()
			}
			time.Sleep(8 * time.Second)
			l.End()
			require.Zero(t, p.Downs.Load())
			require.Empty(t, p.Switched())
			require.Empty(t, l.Errs)
		})
	}
}

// cutClients has a server close the connections of clients, and leave those of the prober.
func cutClients(t testing.TB, server *redistest.Redis) {
	kill(t, server, func(line string) bool { return !strings.Contains(line, " cmd=ping ") })
}

// kill has a server close the connections whose line of CLIENT LIST is wanted, but the one that asks.
func kill(t testing.TB, server *redistest.Redis, want func(line string) bool) {
	t.Helper()
	ctx := context.Background()
	list, err := server.Client().ClientList(ctx).Result()
	require.NoError(t, err)
	for line := range strings.Lines(list) {
		if id, _, ok := strings.Cut(strings.TrimPrefix(line, "id="), " "); ok && want(line) && !strings.Contains(line, " cmd=client|list ") {
			require.NoError(t, server.Client().Do(ctx, "CLIENT", "KILL", "ID", id).Err())
		}
	}
}
