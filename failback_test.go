package multidb

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// Tests in virtual time: databases are miniredis instances reached through pipes, and minutes pass in milliseconds.

// virtual is a database that can be taken away and given back.
type virtual struct {
	redis *miniredis.Miniredis
	up    atomic.Bool
}

var errUnreachable = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}

func (v *virtual) dial(context.Context, string, string) (net.Conn, error) {
	if !v.up.Load() {
		return nil, errUnreachable
	}
	nc, err := v.redis.Dial()
	if err != nil {
		return nil, err
	}
	return &virtualConn{nc, v}, nil
}

// virtualConn dies with its database: the next use of it fails.
type virtualConn struct {
	net.Conn
	of *virtual
}

func (c *virtualConn) Write(p []byte) (int, error) {
	if !c.of.up.Load() {
		return 0, errUnreachable
	}
	return c.Conn.Write(p)
}

func (c *virtualConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.of.up.Load() {
		return 0, errUnreachable
	}
	return n, err
}

func (v *virtual) options(addr string) *redis.Options {
	return &redis.Options{
		Addr: addr, Dialer: v.dial, DisableIdentity: true, MaintNotificationsConfig: maintenanceOff(), Protocol: 2,
	}
}

// newVirtuals starts n databases, all up, named a, b, c, ... with falling weights. Call it inside a bubble.
func newVirtuals(t testing.TB, n int) ([]*virtual, []Database) {
	t.Helper()
	var dbs []*virtual
	var specs []Database
	for i := range n {
		v := &virtual{redis: miniredis.NewMiniRedis()}
		v.up.Store(true)
		name := string(rune('a' + i))
		dbs = append(dbs, v)
		specs = append(specs, Database{Name: name, Weight: float64(n - i), Options: v.options(name + ":6379")})
	}
	return dbs, specs
}

// bubble runs f in virtual time with a hook over n databases and closes everything before the bubble ends.
func bubble(t *testing.T, n int, opt Options, f func(h *Hook, dbs []*virtual)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		dbs, specs := newVirtuals(t, n)
		opt.Databases, opt.Logger = specs, testLog(t)
		h, err := New(t.Context(), opt)
		require.NoError(t, err)
		f(h, dbs)
		require.NoError(t, h.Close())
		for _, v := range dbs {
			v.redis.Close()
		}
	})
}

// switchLog records the switches of a hook.
type switchLog struct {
	mu  sync.Mutex
	all []Switch
}

func recordSwitches(o *Options) *switchLog {
	l := &switchLog{}
	o.Events.OnSwitch = func(s Switch) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all = append(l.all, s)
	}
	return l
}

func (l *switchLog) list() []Switch {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Switch(nil), l.all...)
}

func TestFailbackAfterGrace(t *testing.T) {
	opt := Options{Failback: Failback{GracePeriod: 30 * time.Second, Jitter: -1}}
	switches := recordSwitches(&opt)
	bubble(t, 2, opt, func(h *Hook, dbs []*virtual) {
		dbs[0].up.Store(false)
		time.Sleep(3 * time.Second)
		require.Equal(t, "b", h.Active())
		dbs[0].up.Store(true)
		time.Sleep(30 * time.Second)
		require.Equal(t, "b", h.Active(), "it has been back for less than its grace period: recovery takes probes too")
		time.Sleep(15 * time.Second)
		require.Equal(t, "a", h.Active())
		time.Sleep(time.Second)
		require.Len(t, switches.list(), 2)
		require.Equal(t, ReasonFailback, switches.list()[1].Reason)
		require.True(t, switches.list()[1].Planned)
	})
}

func TestFailbackOff(t *testing.T) {
	bubble(t, 2, Options{Failback: Failback{GracePeriod: -1}}, func(h *Hook, dbs []*virtual) {
		dbs[0].up.Store(false)
		time.Sleep(3 * time.Second)
		dbs[0].up.Store(true)
		time.Sleep(time.Hour)
		require.Equal(t, "b", h.Active())
	})
}

// TestTiesStayWhereTheyAre: failback wants a strictly heavier database.
func TestTiesStayWhereTheyAre(t *testing.T) {
	bubble(t, 2, Options{Failback: Failback{GracePeriod: time.Second}}, func(h *Hook, dbs []*virtual) {
		require.NoError(t, h.SetWeight("b", 2))
		dbs[0].up.Store(false)
		time.Sleep(3 * time.Second)
		dbs[0].up.Store(true)
		time.Sleep(time.Hour)
		require.Equal(t, "b", h.Active())
	})
}

// TestFailbackLeavesManualChoiceAlone until it is released.
func TestFailbackLeavesManualChoiceAlone(t *testing.T) {
	bubble(t, 2, Options{Failback: Failback{GracePeriod: time.Second}}, func(h *Hook, _ []*virtual) {
		require.NoError(t, h.SetActive(context.Background(), "b"))
		time.Sleep(time.Hour)
		require.Equal(t, "b", h.Active())
		require.Equal(t, "b", h.Stats().Held)
		h.Release()
		time.Sleep(time.Minute)
		require.Equal(t, "a", h.Active())

		require.NoError(t, h.ForceActive("b", 10*time.Minute))
		time.Sleep(9 * time.Minute)
		require.Equal(t, "b", h.Active())
		time.Sleep(2 * time.Minute)
		require.Equal(t, "a", h.Active(), "the time of the manual choice is over")
	})
}

// TestManualChoiceEndsWithItsDatabase: a manual choice stands until released or dead.
func TestManualChoiceEndsWithItsDatabase(t *testing.T) {
	bubble(t, 3, Options{Failback: Failback{GracePeriod: time.Second}}, func(h *Hook, dbs []*virtual) {
		require.NoError(t, h.ForceActive("c", 0))
		dbs[2].up.Store(false)
		time.Sleep(5 * time.Second)
		require.Equal(t, "a", h.Active())
		require.Empty(t, h.Stats().Held)
	})
}

// TestFlapping: a database that is up for a second and down for a second, for two minutes. Without the growing grace it
// would be returned to each time.
func TestFlapping(t *testing.T) {
	run := func(t *testing.T, factor float64) int {
		opt := Options{
			Failback: Failback{GracePeriod: 300 * time.Millisecond, Factor: factor, Jitter: -1},
			Breaker:  Breaker{Delay: 50 * time.Millisecond, Successes: 1},
			Health:   Health{Interval: 100 * time.Millisecond, ActiveInterval: 100 * time.Millisecond},
		}
		switches := recordSwitches(&opt)
		bubble(t, 2, opt, func(h *Hook, dbs []*virtual) {
			for range 60 {
				dbs[0].up.Store(false)
				time.Sleep(time.Second)
				dbs[0].up.Store(true)
				time.Sleep(time.Second)
			}
		})
		return len(switches.list())
	}
	steady, growing := run(t, 1), run(t, 2)
	t.Logf("switches in two minutes: %d without growth, %d with", steady, growing)
	require.Greater(t, steady, 60, "the test must be able to see flapping")
	// Grace 0.3, 0.6, 1.2 s: from there on a second of health is not enough.
	require.LessOrEqual(t, growing, 6)
}

// TestGraceDecays: a database that has behaved for MaxGracePeriod is trusted as before.
func TestGraceDecays(t *testing.T) {
	g := newGrace(Failback{GracePeriod: time.Second, Factor: 2, MaxGracePeriod: time.Minute})
	now := time.Now()
	var periods []time.Duration
	for _, wait := range []time.Duration{0, time.Second, time.Second, time.Second, time.Hour, time.Second} {
		now = now.Add(wait)
		g.relapsed(now)
		periods = append(periods, g.period)
	}
	require.Equal(t, []time.Duration{1, 2, 4, 8, 1, 2}, scale(periods, time.Second))
	for range 20 {
		g.relapsed(now)
	}
	require.Equal(t, time.Minute, g.period, "capped")
}

func scale(ds []time.Duration, unit time.Duration) []time.Duration {
	for i := range ds {
		ds[i] /= unit
	}
	return ds
}

// TestSetWeightMoves: a weight that makes another database preferred moves there as planned.
func TestSetWeightMoves(t *testing.T) {
	opt := Options{}
	switches := recordSwitches(&opt)
	bubble(t, 2, opt, func(h *Hook, _ []*virtual) {
		require.NoError(t, h.SetWeight("b", 5))
		time.Sleep(time.Second)
		require.Equal(t, "b", h.Active())
		require.Len(t, switches.list(), 1)
		require.Equal(t, ReasonWeight, switches.list()[0].Reason)
		for _, bad := range []float64{-1, 0} {
			require.ErrorContains(t, h.SetWeight("b", bad), "must be")
		}
		require.ErrorIs(t, h.SetWeight("z", 1), ErrUnknownDatabase)
	})
}

// TestAddAndRemove at run time.
func TestAddAndRemove(t *testing.T) {
	opt := Options{}
	switches := recordSwitches(&opt)
	bubble(t, 2, opt, func(h *Hook, _ []*virtual) {
		more, specs := newVirtuals(t, 1)
		defer more[0].redis.Close()
		specs[0].Name, specs[0].Weight = "new", 10
		require.NoError(t, h.Add(context.Background(), specs[0]))
		require.Error(t, h.Add(context.Background(), specs[0]), "the name is taken")
		time.Sleep(10 * time.Second)
		require.Equal(t, "new", h.Active(), "it is heavier and has never failed")
		require.NoError(t, h.Remove(context.Background(), "new"))
		require.Equal(t, "a", h.Active())
		require.ErrorIs(t, h.Remove(context.Background(), "new"), ErrUnknownDatabase)
		require.NoError(t, h.Remove(context.Background(), "b"))
		require.ErrorContains(t, h.Remove(context.Background(), "a"), "last")
		time.Sleep(time.Minute)
		require.Equal(t, ReasonRemoved, switches.list()[1].Reason)
		require.Len(t, h.Stats().Databases, 1)
	})
}

// TestDryRun decides, counts and reports, and switches nothing.
func TestDryRun(t *testing.T) {
	opt := Options{DryRun: true, Failback: Failback{GracePeriod: time.Second}}
	switches := recordSwitches(&opt)
	bubble(t, 2, opt, func(h *Hook, dbs []*virtual) {
		dbs[0].up.Store(false)
		time.Sleep(time.Minute)
		require.Equal(t, "a", h.Active())
		require.Len(t, switches.list(), 1)
		require.True(t, switches.list()[0].DryRun)
		require.EqualValues(t, 1, h.Stats().Switches[ReasonHealthCheck])
		require.False(t, h.Stats().Down)
		require.NoError(t, h.SetActive(context.Background(), "b"), "a manual switch is no automatic one")
		require.Equal(t, "b", h.Active())
	})
}
