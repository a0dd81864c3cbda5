package multidbprometheus_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	multidbprometheus "github.com/redishook/multidb/extra/prometheus"
	"github.com/redishook/multidb/internal/testkit/testmain"
)

func TestMain(m *testing.M) {
	logging.Disable() // go-redis logs every failed dial
	testmain.Run(m)
}

// newHook makes a hook over n servers inside the process.
func newHook(t testing.TB, n int, change func(*multidb.Options)) (*multidb.Hook, []*miniredis.Miniredis) {
	t.Helper()
	var servers []*miniredis.Miniredis
	opt := multidb.Options{Initial: multidb.InitialAll, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	for i := range n {
		server := miniredis.RunT(t)
		servers = append(servers, server)
		opt.Databases = append(opt.Databases, multidb.Database{
			Name: fmt.Sprintf("db%02d", i), Weight: 1 / float64(i+1), Options: &redis.Options{Addr: server.Addr()},
		})
	}
	if change != nil {
		change(&opt)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	hook, err := multidb.New(ctx, opt)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, hook.Close()) })
	return hook, servers
}

// value returns the value of one series, written as name{label="value",...}.
func value(t testing.TB, g prometheus.Gatherer, series string) float64 {
	t.Helper()
	families, err := g.Gather()
	require.NoError(t, err)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if nameOf(family, m) == series {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("there is no %s", series)
	return 0
}

func nameOf(family *dto.MetricFamily, m *dto.Metric) string {
	var labels []string
	for _, pair := range m.GetLabel() {
		labels = append(labels, fmt.Sprintf("%s=%q", pair.GetName(), pair.GetValue()))
	}
	return family.GetName() + "{" + strings.Join(labels, ",") + "}"
}

func TestCollectorTellsAFailoverAndAnOutage(t *testing.T) {
	hook, servers := newHook(t, 2, func(opt *multidb.Options) { opt.Name = "sessions" })
	registry := prometheus.NewPedanticRegistry() // it checks each sample against its description
	require.NoError(t, registry.Register(multidbprometheus.NewCollector(hook)))
	rdb := redis.NewClient(&redis.Options{Addr: servers[0].Addr(), MaxRetries: -1}) // or go-redis answers for itself
	defer rdb.Close()
	rdb.AddHook(hook)
	ctx := t.Context()
	require.NoError(t, rdb.Set(ctx, "k", 1, 0).Err())
	require.EqualValues(t, 1, value(t, registry, `redis_multidb_active{database="db00",hook="sessions"}`))
	require.EqualValues(t, 0, value(t, registry, `redis_multidb_active{database="db01",hook="sessions"}`))
	require.EqualValues(t, 0, value(t, registry, `redis_multidb_down{hook="sessions"}`))
	require.EqualValues(t, 0, value(t, registry, `redis_multidb_switches_total{hook="sessions",reason="health_check"}`))
	require.EqualValues(t, 0, value(t, registry, `redis_multidb_replies_total{code="READONLY",database="db00",hook="sessions"}`))
	require.EqualValues(t, 0.5, value(t, registry, `redis_multidb_weight{database="db01",hook="sessions"}`))
	require.GreaterOrEqual(t, value(t, registry, `redis_multidb_successes_total{database="db00",hook="sessions"}`), 1.0)

	servers[0].SetError("READONLY You can't write against a read only replica.")
	_ = rdb.Set(ctx, "k", 1, 0).Err()
	require.GreaterOrEqual(t, value(t, registry, `redis_multidb_replies_total{code="READONLY",database="db00",hook="sessions"}`), 1.0)

	servers[0].Close()
	require.NoError(t, rdb.Set(ctx, "k", 2, 0).Err())
	require.EqualValues(t, 1, value(t, registry, `redis_multidb_active{database="db01",hook="sessions"}`))
	require.EqualValues(t, 0, value(t, registry, `redis_multidb_usable{database="db00",hook="sessions"}`))

	require.NoError(t, hook.ForceActive("db01", 0))
	require.EqualValues(t, 1, value(t, registry, `redis_multidb_pinned{database="db01",hook="sessions"}`))

	servers[1].Close()
	require.Error(t, rdb.Set(ctx, "k", 3, 0).Err())
	require.Eventually(t, hookIsDown(hook), 10*time.Second, time.Millisecond)
	require.EqualValues(t, 1, value(t, registry, `redis_multidb_down{hook="sessions"}`))
	require.EqualValues(t, 0, value(t, registry, `redis_multidb_active{database="db01",hook="sessions"}`))
}

func hookIsDown(hook *multidb.Hook) func() bool { return func() bool { return hook.Stats().Down } }

// The names keep the rules of Prometheus.
func TestMetricNamesAreClean(t *testing.T) {
	hook, _ := newHook(t, 1, nil)
	problems, err := testutil.CollectAndLint(multidbprometheus.NewCollector(hook))
	require.NoError(t, err)
	require.Empty(t, problems)
}

// Two hooks of one name have series of their own.
func TestHooksOfOneNameAreToldApart(t *testing.T) {
	one, _ := newHook(t, 1, nil)
	two, _ := newHook(t, 1, nil)
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(multidbprometheus.NewCollector(one, two)))
	require.EqualValues(t, 1, value(t, registry, `redis_multidb_usable{database="db00",hook="default"}`))
	require.EqualValues(t, 1, value(t, registry, `redis_multidb_usable{database="db00",hook="default-2"}`))
	require.PanicsWithValue(t, "multidbprometheus: NewCollector: a hook is nil", func() { multidbprometheus.NewCollector(nil) })
}

// The number of series depends on the number of databases, whatever happens to them.
func TestCardinalityIsBounded(t *testing.T) {
	hook, servers := newHook(t, 3, nil)
	collector := multidbprometheus.NewCollector(hook)
	before := testutil.CollectAndCount(collector)
	rdb := redis.NewClient(&redis.Options{Addr: servers[0].Addr(), MaxRetries: -1})
	defer rdb.Close()
	rdb.AddHook(hook)
	for i := range 300 {
		servers[0].SetError(fmt.Sprintf("CODE%d key:%d is not right", i, i))
		require.Error(t, rdb.Get(t.Context(), fmt.Sprint("key:", i)).Err())
	}
	servers[0].Close()
	_ = rdb.Get(t.Context(), "k").Err()
	require.Equal(t, before, testutil.CollectAndCount(collector))
	perDatabase := float64(before-7) / 3
	t.Logf("%v series for each database", perDatabase)
	require.LessOrEqual(t, perDatabase, 40.0)
}

// Labels of databases that were removed do not pile up.
func TestRemovedDatabasesAreForgotten(t *testing.T) {
	hook, servers := newHook(t, 1, nil)
	collector := multidbprometheus.NewCollector(hook)
	before := testutil.CollectAndCount(collector)
	for i := range 10 {
		name := fmt.Sprint("extra", i)
		require.NoError(t, hook.Add(t.Context(), multidb.Database{Name: name, Weight: 0.1, Options: &redis.Options{Addr: servers[0].Addr(), DB: 1}}))
		require.Greater(t, testutil.CollectAndCount(collector), before)
		require.NoError(t, hook.Remove(t.Context(), name))
		require.Equal(t, before, testutil.CollectAndCount(collector))
	}
	require.LessOrEqual(t, multidbprometheus.CachedLabels(collector), 5)
}

// A scrape of 64 databases takes less than a millisecond.
func TestCollectOf64Databases(t *testing.T) {
	hook, _ := newHook(t, 64, nil)
	collector := multidbprometheus.NewCollector(hook)
	best := time.Hour
	for range 20 { // the best of them: the machine has other work, the collector does not
		if took := collect(collector); took < best {
			best = took
		}
	}
	t.Logf("Collect of 64 databases: %v", best)
	if !raceEnabled {
		require.LessOrEqual(t, best, time.Millisecond)
	}
}

func collect(c prometheus.Collector) time.Duration {
	ch := make(chan prometheus.Metric, 1000) // as a registry makes it
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range ch {
			continue
		}
	}()
	began := time.Now()
	c.Collect(ch)
	took := time.Since(began)
	close(ch)
	<-done
	return took
}

// A command pays nothing for the collector, not even while it is registered and has been asked.
func TestCollectorCostsACommandNothing(t *testing.T) {
	hook, _ := newHook(t, 2, nil)
	registry := prometheus.NewRegistry()
	registry.MustRegister(multidbprometheus.NewCollector(hook))
	process := hook.ProcessHook(func(context.Context, redis.Cmder) error { return nil })
	ctx, cmd := t.Context(), redis.NewStatusCmd(t.Context(), "set", "k", "v")
	_, err := registry.Gather()
	require.NoError(t, err)
	require.Zero(t, testing.AllocsPerRun(1000, func() { _ = process(ctx, cmd) }))
	_, err = registry.Gather()
	require.NoError(t, err)
}

func BenchmarkCollect64(b *testing.B) {
	hook, _ := newHook(b, 64, nil)
	collector := multidbprometheus.NewCollector(hook)
	b.ReportAllocs()
	for b.Loop() {
		collect(collector)
	}
}
