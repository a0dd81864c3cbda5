package multidbotel_test

import (
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/redishook/multidb"
	multidbotel "github.com/redishook/multidb/extra/otel"
)

// reading is what a reader of the SDK has collected: points by the name of the instrument and its attributes.
type reading struct {
	unit   map[string]string
	values map[string]float64 // of histograms the count
	sums   map[string]float64 // of histograms
}

func read(t *testing.T, reader metric.Reader) reading {
	t.Helper()
	var data metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &data))
	r := reading{make(map[string]string), make(map[string]float64), make(map[string]float64)}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			r.unit[m.Name] = m.Unit
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					r.values[m.Name+text(p.Attributes)] = float64(p.Value)
				}
			case metricdata.Gauge[int64]:
				for _, p := range d.DataPoints {
					r.values[m.Name+text(p.Attributes)] = float64(p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					r.values[m.Name+text(p.Attributes)] = float64(p.Count)
					r.sums[m.Name+text(p.Attributes)] = p.Sum
				}
			default:
				t.Fatalf("%s is a %T", m.Name, d)
			}
		}
	}
	return r
}

func text(set attribute.Set) string {
	var pairs []string
	for _, a := range set.ToSlice() {
		pairs = append(pairs, string(a.Key)+"="+a.Value.String())
	}
	sort.Strings(pairs)
	return "{" + strings.Join(pairs, ",") + "}"
}

func TestMetricsTellAFailoverAndAReturn(t *testing.T) {
	f := start(t, func(opt *multidb.Options) { opt.Failback.GracePeriod = 100 * time.Millisecond })
	reader := metric.NewManualReader()
	provider := metric.NewMeterProvider(metric.WithReader(reader))
	stop, err := multidbotel.InstrumentMetrics(f.hook, multidbotel.MetricsOptions{MeterProvider: provider, Geofailover: true})
	require.NoError(t, err)
	rdb := f.client(t)
	rdb.AddHook(f.hook)
	require.NoError(t, rdb.Set(t.Context(), "k", 1, 0).Err())

	f.toEast.Refuse()
	require.NoError(t, rdb.Set(t.Context(), "k", 2, 0).Err())
	const (
		failover = "redis.client.multidb.failovers{failover.reason=health_check,from_database=east,multidb.hook=test,to_database=west}"
		took     = "redis.client.multidb.failover.duration{failover.reason=health_check,from_database=east,multidb.hook=test,to_database=west}"
		away     = "redis.client.multidb.active_database.changes{from_database=east,multidb.hook=test,to_database=west}"
		back     = "redis.client.multidb.active_database.changes{from_database=west,multidb.hook=test,to_database=east}"
		opened   = "redis.client.multidb.circuit_breaker.state_changes{circuit_breaker.from_state=closed,circuit_breaker.to_state=open,database=east,multidb.hook=test}"
		closed   = "redis.client.multidb.circuit_breaker.state_changes{circuit_breaker.from_state=half-open,circuit_breaker.to_state=closed,database=east,multidb.hook=test}"
		failed   = "redis.client.multidb.health_checks{database=east,health_check.success=false,multidb.hook=test}"
		passed   = "redis.client.multidb.health_checks{database=east,health_check.success=true,multidb.hook=test}"
		checking = "redis.client.multidb.health_check.duration{database=east,health_check.success=false,multidb.hook=test}"
		geo      = "redis.client.geofailover.failovers{db.client.geofailover.fail_from=east,db.client.geofailover.fail_to=west,db.client.geofailover.reason=automatic}"
		usable   = "redis.client.multidb.database.usable{database=east,multidb.hook=test}"
		active   = "redis.client.multidb.database.active{database=west,multidb.hook=test}"
	)
	var r reading
	require.Eventually(t, func() bool { r = read(t, reader); return r.values[failover] > 0 }, 5*time.Second, time.Millisecond)
	require.EqualValues(t, 1, r.values[failover])
	require.EqualValues(t, 1, r.values[took])
	require.Positive(t, r.sums[took])
	require.Less(t, r.sums[took], 5.0, "seconds")
	require.EqualValues(t, 1, r.values[away])
	require.EqualValues(t, 1, r.values[opened])
	require.Positive(t, r.values[failed])
	require.Equal(t, r.values[failed], r.values[checking], "each check has a duration")
	require.EqualValues(t, 1, r.values[geo])
	require.Contains(t, r.values, usable)
	require.EqualValues(t, 0, r.values[usable])
	require.EqualValues(t, 1, r.values[active])

	f.toEast.Pass()
	require.Eventually(t, func() bool { r = read(t, reader); return r.values[back] > 0 }, 30*time.Second, 10*time.Millisecond)
	require.EqualValues(t, 1, r.values[closed])
	require.Positive(t, r.values[passed])
	require.EqualValues(t, 1, r.values[failover], "a return is no failover")
	require.EqualValues(t, 1, r.values[geo])

	// The units are those of the semantic conventions: seconds, and names in braces.
	for name, unit := range map[string]string{
		"redis.client.multidb.failovers": "{failover}", "redis.client.multidb.failover.duration": "s",
		"redis.client.multidb.active_database.changes": "{change}", "redis.client.multidb.circuit_breaker.state_changes": "{change}",
		"redis.client.multidb.health_checks": "{check}", "redis.client.multidb.health_check.duration": "s",
		"redis.client.geofailover.failovers": "{failover}",
	} {
		require.Equal(t, unit, r.unit[name], name)
	}

	require.NoError(t, stop())
	before := read(t, reader).values[passed]
	time.Sleep(1500 * time.Millisecond) // the active database is asked every second
	require.Equal(t, before, read(t, reader).values[passed], "nothing is recorded after stop")
}

// The name of redis-py is an option, and the instruments are no cost of a command.
func TestGeofailoverIsAnOptionAndNilsAreRefused(t *testing.T) {
	f := start(t, nil)
	reader := metric.NewManualReader()
	stop, err := multidbotel.InstrumentMetrics(f.hook, multidbotel.MetricsOptions{MeterProvider: metric.NewMeterProvider(metric.WithReader(reader))})
	require.NoError(t, err)
	require.NoError(t, f.hook.SetActive(t.Context(), "west"))
	const manual = "redis.client.multidb.failovers{failover.reason=manual,from_database=east,multidb.hook=test,to_database=west}"
	var r reading
	require.Eventually(t, func() bool { r = read(t, reader); return r.values[manual] > 0 }, 5*time.Second, time.Millisecond)
	require.NotContains(t, r.unit, "redis.client.geofailover.failovers")
	require.NoError(t, stop())
	_, err = multidbotel.InstrumentMetrics(nil, multidbotel.MetricsOptions{})
	require.EqualError(t, err, "multidbotel: InstrumentMetrics: hook = nil: must be a hook")
}
