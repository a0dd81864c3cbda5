package e2e_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/internal/testkit/virtual"
	"github.com/redishook/multidb/window"
)

// What the log says, line by line.

// lines keeps what is logged, as text without the time.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, strings.TrimSpace(string(p)))
	return len(p), nil
}

// with returns the lines that have a text in them.
func (l *lines) with(text string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.all {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// requireClean fails on an attribute that says nothing.
func (l *lines) requireClean(t testing.TB) {
	t.Helper()
	for _, nothing := range []string{"<nil>", "dry_run=false"} {
		require.Empty(t, l.with(nothing))
	}
}

// logTo returns a logger that writes to l. Debug lines are left out.
func logTo(l *lines) *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// never does not fail back.
var never = multidb.Failback{GracePeriod: -1}

func TestLogSaysThatADatabaseIsUnusableAndUsableAgain(t *testing.T) {
	log := &lines{}
	startBubble(t, 2, multidb.Options{Logger: logTo(log), Failback: never}, func([]*virtual.DB, []multidb.Database) {}, func(h *multidb.Hook, dbs []*virtual.DB) {
		synctest.Wait()
		assert.Equal(t, []string{
			`level=INFO msg="multidb: database usable" database=a addr=a:6379`,
			`level=INFO msg="multidb: database usable" database=b addr=b:6379`,
		}, sorted(log.with("database usable")))
		assert.Equal(t, []string{`level=INFO msg="multidb: started" database=a addr=a:6379`}, log.with("started"))
		dbs[0].Up.Store(false)
		time.Sleep(10 * time.Second)
		dbs[0].Up.Store(true)
		time.Sleep(20 * time.Second)
		assert.NoError(t, h.SetActive(context.Background(), "a"))
	})
	require.Equal(t, []string{
		`level=WARN msg="multidb: database UNUSABLE" database=a addr=a:6379 cause="a:6379: dial tcp: connection refused"`,
	}, stripped(log.with("UNUSABLE")))
	again := log.with("usable again")
	require.Len(t, again, 1)
	require.Contains(t, again[0], `level=INFO msg="multidb: database usable again" database=a addr=a:6379 unusable_for=10.5s`)
	switches := log.with("multidb: switched")
	require.Len(t, switches, 2)
	require.Contains(t, switches[0], "level=WARN")
	require.Contains(t, switches[0], "from=a to=b reason=health_check planned=false took=")
	require.Equal(t, `level=WARN msg="multidb: switched" from=b to=a reason=manual planned=true`, switches[1])
	log.requireClean(t)
}

// stripped takes the parts out of a cause that depend on which probe has failed first.
func stripped(all []string) (out []string) {
	for _, line := range all {
		out = append(out, strings.ReplaceAll(line, `cause="a:6379: connection refused"`, `cause="a:6379: dial tcp: connection refused"`))
	}
	return out
}

func sorted(all []string) []string {
	for i := range all {
		for j := i; j > 0 && all[j] < all[j-1]; j-- {
			all[j], all[j-1] = all[j-1], all[j]
		}
	}
	return all
}

func TestLogRepeatsAnOutageOfAllEveryMinute(t *testing.T) {
	for _, dry := range []bool{false, true} {
		log := &lines{}
		opt := multidb.Options{Logger: logTo(log), Failback: never, DryRun: dry}
		startBubble(t, 2, opt, func([]*virtual.DB, []multidb.Database) {}, func(_ *multidb.Hook, dbs []*virtual.DB) {
			for _, db := range dbs {
				db.Up.Store(false)
			}
			time.Sleep(5*time.Minute + 30*time.Second)
			dbs[1].Up.Store(true)
			time.Sleep(5 * time.Second)
		})
		require.Len(t, log.with(`level=ERROR msg="multidb: no database is usable"`), 1)
		still := log.with(`level=ERROR msg="multidb: still no database is usable"`)
		require.Len(t, still, 5)
		require.Contains(t, still[4], "for=5m")
		require.Contains(t, still[4], `unusable.a="a:6379: `)
		require.Contains(t, still[4], `unusable.b="b:6379: `)
		recovered := log.with("multidb: recovered")
		require.Len(t, recovered, 1)
		require.Contains(t, recovered[0], "level=INFO")
		require.Contains(t, recovered[0], "database=b down_for=5m30")
		require.Equal(t, dry, strings.Contains(still[0], "dry_run=true"))
		require.Equal(t, dry, strings.Contains(recovered[0], "dry_run=true"))
		log.requireClean(t)
	}
}

// Redundancy is gone, and that is said at once, after 1, 3, 7, 15, 31 and 63 minutes, and every hour from then on.
func TestLogRepeatsThatADatabaseIsUnusable(t *testing.T) {
	log := &lines{}
	down := func(dbs []*virtual.DB, _ []multidb.Database) { dbs[1].Up.Store(false) }
	startBubble(t, 2, multidb.Options{Logger: logTo(log)}, down, func(_ *multidb.Hook, dbs []*virtual.DB) {
		time.Sleep(time.Second)
		assert.Len(t, log.with(`level=WARN msg="multidb: database UNUSABLE" database=b`), 1, "at New")
		time.Sleep(2*time.Hour + 30*time.Minute)
		dbs[1].Up.Store(true)
		time.Sleep(time.Hour)
	})
	still := log.with(`level=WARN msg="multidb: database still UNUSABLE" database=b addr=b:6379 for=`)
	require.Len(t, still, 6+1, still)
	require.Contains(t, still[5], "for=1h3m")
	require.Contains(t, still[6], "for=2h3m")
	require.Contains(t, still[0], "cause=")
}

// A passive database with another password is no redundancy.
func TestLogSaysThatThePasswordOfAPassiveDatabaseIsWrong(t *testing.T) {
	log := &lines{}
	pair.New(t, func(opt *multidb.Options, client *redis.Options) {
		opt.Logger = logTo(log)
		opt.Databases[1].Options.Password = "wrong"
		client.Password = "secret"
	}, redistest.Password("secret"))
	var unusable []string
	redistest.Eventually(t, 5*time.Second, "the line", func() bool {
		unusable = log.with("level=WARN msg=\"multidb: database UNUSABLE\" database=west")
		return len(unusable) > 0
	})
	require.Contains(t, unusable[0], "WRONGPASS")
	require.Contains(t, unusable[0], "addr=127.0.0.1:")
}

// A check that has no right to ask passes always: who has written it believes to be protected by it.
func TestLogSaysThatACheckIsNotPermitted(t *testing.T) {
	log := &lines{}
	p := pair.New(t, func(opt *multidb.Options, client *redis.Options) {
		opt.Logger = logTo(log)
		for i := range opt.Databases {
			opt.Databases[i].Options.Username, opt.Databases[i].Options.Password = "app", "secret"
		}
		opt.Health.Interval, opt.Health.ActiveInterval = 50*time.Millisecond, 50*time.Millisecond
		client.Username, client.Password = "app", "secret"
	}, redistest.Users("app on >secret ~* &* +@all -ping"))
	require.NoError(t, p.RDB.Set(t.Context(), "k", 1, 0).Err())
	forbidden := func() []string { return log.with(`level=WARN msg="multidb: a health check is not permitted"`) }
	redistest.Eventually(t, 5*time.Second, "the lines", func() bool { return len(forbidden()) == 2 })
	require.Contains(t, forbidden()[0], "NOPERM")
	time.Sleep(500 * time.Millisecond) // ten more checks
	require.Len(t, forbidden(), 2, "once for each database, not for each check")
}

func TestLogAndEventsTellEveryChangeByHand(t *testing.T) {
	log := &lines{}
	var told []string
	opt := multidb.Options{Logger: logTo(log), Failback: never}
	opt.Events.OnChange = func(c multidb.Change) {
		told = append(told, strings.TrimSpace(fmt.Sprintf("%s %s %v %v %v %s", c.Kind, c.Database, c.Weight, c.Before, c.For, c.Why)))
	}
	startBubble(t, 3, opt, func(_ []*virtual.DB, specs []multidb.Database) {}, func(h *multidb.Hook, dbs []*virtual.DB) {
		ctx := context.Background()
		assert.NoError(t, h.SetWeight("b", 0.7))
		assert.NoError(t, h.SetActive(ctx, "b"))
		h.Release()
		h.Release() // there is nothing to end
		assert.NoError(t, h.ForceActive("b", time.Minute))
		assert.NoError(t, h.ForceActive("b", 2*time.Minute)) // goes on
		time.Sleep(3 * time.Minute)
		assert.NoError(t, h.SetActive(ctx, "a"))
		assert.NoError(t, h.SetActive(ctx, "c"))
		dbs[2].Up.Store(false) // the pin ends with its database
		time.Sleep(10 * time.Second)
		assert.NoError(t, h.Remove(ctx, "c"))
		assert.NoError(t, h.Add(ctx, multidb.Database{Name: "d", Weight: 0.1, Options: dbs[0].Options("d:6379")}))
		assert.Error(t, h.SetWeight("nobody", 1))
		assert.Error(t, h.Remove(ctx, "nobody"))
		time.Sleep(time.Second)
	})
	require.Equal(t, []string{
		"weight b 0.7 2 0s", "pinned b 0.7 0 0s", "unpinned b 0.7 0 0s released",
		"pinned b 0.7 0 1m0s", "pinned b 0.7 0 2m0s", "unpinned b 0.7 0 0s over",
		"pinned a 3 0 0s", "unpinned a 3 0 0s replaced", "pinned c 1 0 0s", "unpinned c 1 0 0s left",
		"removed c 1 0 0s", "added d 0.1 0 0s",
	}, told)
	for _, line := range []string{
		`level=INFO msg="multidb: weight changed" database=b from=2 to=0.7`,
		`level=INFO msg="multidb: pinned by hand" database=b until=released`,
		`level=INFO msg="multidb: pinned by hand" database=b for=1m0s`,
		`level=INFO msg="multidb: no longer pinned" database=b why=over`,
		`level=INFO msg="multidb: no longer pinned" database=c why=left`,
		`level=INFO msg="multidb: database removed" database=c addr=c:6379`,
		`level=INFO msg="multidb: database added" database=d addr=d:6379 weight=0.1`,
	} {
		require.Len(t, log.with(line), 1, line)
	}
}

func TestLogSaysWhatNewWaitsFor(t *testing.T) {
	log := &lines{}
	synctest.Test(t, func(t *testing.T) {
		dbs, specs := newVirtuals(t, 2)
		for _, db := range dbs {
			db.Up.Store(false)
		}
		time.AfterFunc(13*time.Second, func() { dbs[1].Up.Store(true) })
		h, err := multidb.New(context.Background(), multidb.Options{Databases: specs, Logger: logTo(log)})
		require.NoError(t, err)
		require.NoError(t, h.Close())
		for _, db := range dbs {
			db.Redis.Close()
		}
	})
	waits := log.with(`level=WARN msg="multidb: New waits for databases" healthy=0 needed=1`)
	require.Len(t, waits, 2, "every five seconds")
	require.Contains(t, waits[1], "for=10s")
	require.Contains(t, waits[1], `unusable.a="a:6379: `)
	require.Contains(t, waits[1], `unusable.b="b:6379: `)
}

// "5 of 5 commands failed" does not say what to do; MISCONF does.
func TestCauseOfADetectorHasTheLastReplyAndTheAddress(t *testing.T) {
	log := &lines{}
	p := pair.NewProxied(t, func(opt *multidb.Options, client *redis.Options) {
		opt.Logger, opt.Retry.MaxAttempts, client.MaxRetries = logTo(log), -1, -1
		opt.Detectors = []window.Factory{window.NewFailureRate(window.Config{})}
	})
	p.ToEast.Answer(func(args []string) (string, bool) {
		return "-MISCONF Errors writing to the AOF file: No space left on device\r\n", strings.EqualFold(args[0], "set")
	})
	for i := 0; p.Hook.Active() == "east" && i < 20; i++ {
		require.Error(t, p.RDB.Set(t.Context(), "k", i, 0).Err())
	}
	require.Equal(t, "west", p.Hook.Active())
	redistest.Eventually(t, 5*time.Second, "the event", func() bool { return len(p.Switched()) == 1 })
	cause := p.Switched()[0].Cause.Error()
	require.Contains(t, cause, p.ToEast.Addr()+": failure detector: ")
	require.Contains(t, cause, "the last one: MISCONF Errors writing to the AOF file")
	require.ErrorContains(t, p.Hook.Stats().Databases[0].LastError, p.ToEast.Addr())
	require.Len(t, log.with("the last one: MISCONF"), 2, "in the line of the database and in that of the switch")
}

// Took is what users have felt. A command is refused, and refused again, for 250 ms before the database is left: the decision
// itself took next to nothing.
func TestTookIsWhatUsersHaveFelt(t *testing.T) {
	t.Run("READONLY", func(t *testing.T) {
		p := pair.NewProxied(t, func(_ *multidb.Options, client *redis.Options) { client.MaxRetries = -1 })
		require.NoError(t, p.RDB.Ping(t.Context()).Err())
		p.ToEast.Answer(func(args []string) (string, bool) {
			return "-READONLY You can't write against a read only replica.\r\n", strings.EqualFold(args[0], "set")
		})
		requireTook(t, &p.Pair, 50*time.Millisecond)
	})
	t.Run("hang", func(t *testing.T) {
		p := pair.NewProxied(t, nil)
		require.NoError(t, p.RDB.Ping(t.Context()).Err())
		p.ToEast.Hang()
		requireTook(t, &p.Pair, 150*time.Millisecond) // silence is counted with a resolution of 50 ms
	})
	t.Run("planned", func(t *testing.T) {
		p := pair.New(t, nil)
		require.NoError(t, p.Hook.SetActive(t.Context(), "west"))
		redistest.Eventually(t, 5*time.Second, "the event", func() bool { return len(p.Switched()) == 1 })
		require.Zero(t, p.Switched()[0].Took)
		require.Zero(t, p.Switched()[0].Decided)
	})
}

// requireTook runs the first command after a fault and compares its time with that of the event.
func requireTook(t *testing.T, p *pair.Pair, slack time.Duration) {
	t.Helper()
	began := time.Now()
	require.NoError(t, p.RDB.Set(t.Context(), "k", 1, 0).Err())
	felt := time.Since(began)
	redistest.Eventually(t, 5*time.Second, "the event", func() bool { return len(p.Switched()) == 1 })
	s := p.Switched()[0]
	t.Logf("felt %v, took %v, decided in %v", felt, s.Took, s.Decided)
	require.GreaterOrEqual(t, s.Took, felt-slack)
	require.LessOrEqual(t, s.Took, felt)
	require.LessOrEqual(t, s.Decided, s.Took)
}
