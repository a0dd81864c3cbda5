package multidbotel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/redishook/multidb"
)

// MetricsOptions are the options of [InstrumentMetrics]. Of every field, the zero value is the default.
type MetricsOptions struct {
	// MeterProvider makes the meter. Default: the global one, otel.GetMeterProvider.
	MeterProvider metric.MeterProvider
	// Geofailover counts failovers under the name that redis-py uses as well: redis.client.geofailover.failovers.
	// Default: false.
	Geofailover bool
}

// The attributes of the instruments. Those without a prefix are go-redis' own.
const (
	hookKey     = attribute.Key("multidb.hook")
	databaseKey = attribute.Key("database")
	fromKey     = attribute.Key("from_database")
	toKey       = attribute.Key("to_database")
	reasonKey   = attribute.Key("failover.reason")
	dryRunKey   = attribute.Key("multidb.dry_run")

	fromStateKey = attribute.Key("circuit_breaker.from_state")
	toStateKey   = attribute.Key("circuit_breaker.to_state")

	checkSuccessKey = attribute.Key("health_check.success")

	codeKey = attribute.Key("db.response.status_code")
	kindKey = attribute.Key("error.type")
)

// InstrumentMetrics makes the instruments of a hook, which record until stop is called. All have the attribute multidb.hook,
// which is Options.Name.
//
// The events of the hook are counted: failovers and their duration, changes of the active database, circuit breakers, health
// checks. Its statistics are observed at each collection: which database is active and usable, replies by code, commands of
// unknown outcome. A command pays nothing for either. Errors are those of the meter. Safe for concurrent use.
func InstrumentMetrics(hook *multidb.Hook, opt MetricsOptions) (stop func() error, err error) {
	if hook == nil {
		return nil, errors.New("multidbotel: InstrumentMetrics: hook = nil: must be a hook")
	}
	if opt.MeterProvider == nil {
		opt.MeterProvider = otel.GetMeterProvider()
	}
	meter := opt.MeterProvider.Meter(scope)
	told, err := newCounted(meter, hook.Stats().Name, opt.Geofailover)
	if err != nil {
		return nil, err
	}
	registration, err := observe(meter, hook)
	if err != nil {
		return nil, err
	}
	cancel := hook.Subscribe(told.events())
	return func() error {
		cancel()
		return registration.Unregister()
	}, nil
}

// counted are the instruments that count events.
type counted struct {
	hook attribute.KeyValue

	failovers, changes, states, checks metric.Int64Counter
	failoverDuration, checkDuration    metric.Float64Histogram

	geofailovers metric.Int64Counter // nil unless it is wanted
}

// Bounds of the histograms, in seconds: a failover takes 10 ms to some seconds, a check 0.1 ms to one.
var (
	failoverBounds = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 10, 30}
	checkBounds    = []float64{0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5}
)

func newCounted(meter metric.Meter, name string, geofailover bool) (*counted, error) {
	var errs []error
	count := func(name, unit, description string) metric.Int64Counter {
		c, err := meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
		errs = append(errs, err)
		return c
	}
	seconds := func(name, description string, bounds []float64) metric.Float64Histogram {
		h, err := meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description),
			metric.WithExplicitBucketBoundaries(bounds...))
		errs = append(errs, err)
		return h
	}
	c := &counted{
		hook:             hookKey.String(name),
		failovers:        count("redis.client.multidb.failovers", "{failover}", "Switches of the active database that are no return."),
		changes:          count("redis.client.multidb.active_database.changes", "{change}", "Switches of the active database."),
		states:           count("redis.client.multidb.circuit_breaker.state_changes", "{change}", "Circuit breakers that have opened or closed."),
		checks:           count("redis.client.multidb.health_checks", "{check}", "Health checks, quick probes included."),
		failoverDuration: seconds("redis.client.multidb.failover.duration", "From the first failed command to the new database.", failoverBounds),
		checkDuration:    seconds("redis.client.multidb.health_check.duration", "Of a health check.", checkBounds),
	}
	if geofailover {
		c.geofailovers = count("redis.client.geofailover.failovers", "{failover}", "Failovers, as redis-py counts them.")
	}
	return c, errors.Join(errs...)
}

// events are what is subscribed to.
func (c *counted) events() multidb.Events {
	return multidb.Events{OnSwitch: c.switched, OnHealth: c.changed, OnCheck: c.checked}
}

func (c *counted) switched(s multidb.Switch) {
	ctx := context.Background()
	attrs := []attribute.KeyValue{c.hook, fromKey.String(s.From), toKey.String(s.To)}
	if s.DryRun {
		attrs = append(attrs, dryRunKey.Bool(true))
	}
	c.changes.Add(ctx, 1, metric.WithAttributes(attrs...))
	if s.Reason == multidb.ReasonFailback {
		return
	}
	with := metric.WithAttributes(append(attrs, reasonKey.String(string(s.Reason)))...)
	c.failovers.Add(ctx, 1, with)
	c.failoverDuration.Record(ctx, s.Took.Seconds(), with)
	if c.geofailovers != nil && !s.DryRun {
		c.geofailovers.Add(ctx, 1, metric.WithAttributes(
			attribute.String("db.client.geofailover.fail_from", s.From),
			attribute.String("db.client.geofailover.fail_to", s.To),
			attribute.String("db.client.geofailover.reason", geofailoverReason(s.Reason)),
		))
	}
}

// geofailoverReason is the reason in the words of redis-py, which knows two.
func geofailoverReason(r multidb.Reason) string {
	switch r {
	case multidb.ReasonHealthCheck, multidb.ReasonFailureDetector:
		return "automatic"
	}
	return "manual"
}

func (c *counted) changed(h multidb.HealthChange) {
	c.states.Add(context.Background(), 1, metric.WithAttributes(
		c.hook, databaseKey.String(h.Database), fromStateKey.String(string(h.From)), toStateKey.String(string(h.State))))
}

func (c *counted) checked(h multidb.HealthCheck) {
	with := metric.WithAttributes(c.hook, databaseKey.String(h.Database), checkSuccessKey.Bool(h.Err == nil))
	c.checks.Add(context.Background(), 1, with)
	c.checkDuration.Record(context.Background(), h.Took.Seconds(), with)
}
