package multidbotel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/redishook/multidb"
)

// observed are the instruments that are asked at each collection. go-redis has none of these.
type observed struct {
	hook attribute.KeyValue

	active, usable, down, pinned                           metric.Int64ObservableGauge
	failures, replies, replayed, unknown, refused, answers metric.Int64ObservableCounter
	connections                                            metric.Int64ObservableUpDownCounter
}

// observe registers a callback that reads the statistics of a hook.
func observe(meter metric.Meter, hook *multidb.Hook) (metric.Registration, error) {
	var errs []error
	gauge := func(name, description string) metric.Int64ObservableGauge {
		g, err := meter.Int64ObservableGauge("redis.client.multidb."+name, metric.WithUnit("1"), metric.WithDescription(description))
		errs = append(errs, err)
		return g
	}
	counter := func(name, unit, description string) metric.Int64ObservableCounter {
		c, err := meter.Int64ObservableCounter("redis.client.multidb."+name, metric.WithUnit(unit), metric.WithDescription(description))
		errs = append(errs, err)
		return c
	}
	o := &observed{
		hook:     hookKey.String(hook.Stats().Name),
		active:   gauge("database.active", "1 for the database in use."),
		usable:   gauge("database.usable", "1 if the circuit breaker of the database is closed."),
		pinned:   gauge("database.pinned", "1 for the database that a manual choice holds."),
		down:     gauge("down", "1 while no database is usable."),
		answers:  counter("commands.answered", "{command}", "Commands that were answered. A pipeline is one."),
		failures: counter("commands.failed", "{command}", "Commands that failed, by kind."),
		replayed: counter("commands.replayed", "{command}", "Commands that were sent, not answered, and run again."),
		unknown:  counter("commands.unknown", "{command}", "Commands that were sent and not answered, and whose callers were told so."),
		refused:  counter("commands.refused", "{command}", "Commands that were refused because no database was usable."),
		replies:  counter("replies", "{reply}", "Replies by which the server refuses, by code."),
	}
	var err error
	o.connections, err = meter.Int64ObservableUpDownCounter("redis.client.multidb.connections",
		metric.WithUnit("{connection}"), metric.WithDescription("Open connections."))
	if err = errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	return meter.RegisterCallback(func(_ context.Context, to metric.Observer) error {
		o.read(to, hook.Stats())
		return nil
	}, o.active, o.usable, o.pinned, o.down, o.answers, o.failures, o.replayed, o.unknown, o.refused, o.replies, o.connections)
}

func (o *observed) read(to metric.Observer, stats multidb.Stats) {
	to.ObserveInt64(o.down, one(stats.Down), metric.WithAttributes(o.hook))
	for _, db := range stats.Databases {
		name := databaseKey.String(db.Name)
		with := metric.WithAttributes(o.hook, name)
		to.ObserveInt64(o.active, one(db.Name == stats.Active && !stats.Down), with)
		to.ObserveInt64(o.usable, one(db.Breaker == multidb.BreakerClosed), with)
		to.ObserveInt64(o.pinned, one(db.Name == stats.Held), with)
		to.ObserveInt64(o.answers, int64(db.Successes), with)
		to.ObserveInt64(o.replayed, int64(db.Replayed), with)
		to.ObserveInt64(o.unknown, int64(db.Unknown), with)
		to.ObserveInt64(o.refused, int64(db.Refused), with)
		to.ObserveInt64(o.connections, int64(db.Connections), with)
		for kind, n := range map[string]uint64{"not_sent": db.NotSent, "cannot_serve": db.CannotServe, "unanswered": db.Unanswered} {
			to.ObserveInt64(o.failures, int64(n), metric.WithAttributes(o.hook, name, kindKey.String(kind)))
		}
		for code, n := range db.Replies {
			to.ObserveInt64(o.replies, int64(n), metric.WithAttributes(o.hook, name, codeKey.String(code)))
		}
	}
}

func one(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}
