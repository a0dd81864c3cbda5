package health

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/prober"
	"github.com/redishook/multidb/internal/testkit/testmain"
	"github.com/redishook/multidb/internal/testkit/virtual"
	"github.com/redishook/multidb/internal/traffic"
	"github.com/redishook/multidb/probes"
)

func TestMain(m *testing.M) {
	logging.Disable() // go-redis logs every failed dial
	testmain.Run(m)
}

// lone is the fleet of one database that has no others. It is a listener as well, and counts what it is told.
type lone struct {
	wg                 sync.WaitGroup
	active, down       atomic.Bool
	reviews, asked     atomic.Int64 // Review, and SuspectOthers
	alternative        atomic.Bool
	mu                 sync.Mutex
	changes            []State // Guarded by mu
	forbidden, nowhere atomic.Int64
}

func (l *lone) Role() (active, down bool)          { return l.active.Load(), l.down.Load() }
func (l *lone) Review()                            { l.reviews.Add(1) }
func (l *lone) SuspectOthers()                     { l.asked.Add(1) }
func (l *lone) BestAlternative() <-chan struct{}   { return nil }
func (l *lone) AlternativePasses(Act) bool         { return l.alternative.Load() }
func (l *lone) HasAlternative() bool               { return l.alternative.Load() }
func (l *lone) AmongReplicas() bool                { return false }
func (l *lone) Prefers() bool                      { return false }
func (l *lone) Failback(context.Context)           {}
func (l *lone) Recheck()                           {}
func (l *lone) Go(f func()) bool                   { l.wg.Go(f); return true }
func (l *lone) Suspected(error)                    {}
func (l *lone) Cleared(error, time.Duration)       {}
func (l *lone) Checked(error, time.Duration, bool) {}
func (l *lone) Forbidden(error)                    { l.forbidden.Add(1) }
func (l *lone) OwnFault(error)                     {}
func (l *lone) ProberCannotConnect(error)          {}
func (l *lone) NowhereBetter(error)                { l.nowhere.Add(1) }

func (l *lone) Changed(c Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes = append(l.changes, c.State)
}

func (l *lone) told() []State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]State(nil), l.changes...)
}

// bubble runs f in virtual time with the health of one database that is checked, usable and in use.
func bubble(t *testing.T, f func(h *Health, fleet *lone, db *virtual.DB)) {
	t.Helper()
	bubbleOf(t, func(*redis.Options) {}, f)
}

// bubbleOf is bubble for a database that is reached in another way.
func bubbleOf(t *testing.T, set func(*redis.Options), f func(h *Health, fleet *lone, db *virtual.DB)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		v := virtual.New(1)[0]
		ctx, cancel := context.WithCancel(context.Background())
		fleet := &lone{}
		fleet.active.Store(true)
		var h *Health
		opt := v.Options("a:6379")
		set(opt)
		p := prober.New(redis.NewClient(prober.Options(opt)), prober.Config{
			Name: "a", Timeout: 400 * time.Millisecond, Checks: probes.Checks{{Probe: probes.Ping(), Probes: 1, Timeout: time.Second}},
			Reached: func(net.Conn) {}, Go: fleet.Go, Late: func() { h.Late() }, Ctx: ctx, Usable: func() bool { return h.Usable() },
		})
		h = New(ctx, Config{
			Name: "a", Timeout: 400 * time.Millisecond, Interval: 5 * time.Second, ActiveInterval: time.Second, StallTimeout: 500 * time.Millisecond,
			BreakerDelay: time.Second, BreakerSuccesses: 1, Grace: GraceRule{Period: time.Second, Max: time.Minute, Factor: 2},
			Databases: 1, StartedAt: time.Now(), Locate: func(err error) error { return err },
		}, p, traffic.New(nil), fleet, fleet)
		fleet.Go(func() { h.Run(0) })
		<-h.FirstVerdict()
		synctest.Wait()
		require.True(t, h.Usable())
		f(h, fleet, v)
		cancel()
		require.NoError(t, p.Close())
		fleet.wg.Wait()
		v.Redis.Close()
	})
}
