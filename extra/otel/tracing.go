package multidbotel

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/redishook/multidb"
)

// TracingOptions are the options of [InstrumentTracing]. Of every field, the zero value is the default.
type TracingOptions struct {
	// AnySpan writes to whatever span the context has. By default a span is written to only if it is one of a Redis client, that
	// is if it has the attribute db.system or db.system.name with the value redis; the span of an HTTP request, say, is not.
	// Spans of another SDK than OpenTelemetry's do not tell their attributes and need this. Default: false.
	AnySpan bool
}

// The attributes that are written, and those that tell a span of a Redis client.
const (
	serverAddressKey = attribute.Key("server.address")
	serverPortKey    = attribute.Key("server.port")
	namespaceKey     = attribute.Key("db.namespace")
	multidbKey       = attribute.Key("multidb.database")
	connStringKey    = attribute.Key("db.connection_string") // redisotel's

	systemKey    = attribute.Key("db.system")
	systemKeyNew = attribute.Key("db.system.name")
)

// unknownDatabase is multidb.database of a span whose last attempt nobody can place, after one that was placed.
const unknownDatabase = "unknown"

// attemptEvent is the event of a further attempt.
const attemptEvent = "multidb.attempt"

// InstrumentTracing makes the spans of a client name the database that has served the command. Call it last, after
// redisotel.InstrumentTracing and after the hook was added: it sees the spans of hooks that were added before it. Whether redisotel
// comes before the hook (one span for each command) or after it (one for each attempt) does not matter.
//
// A span gets server.address, server.port, db.namespace (the index) and multidb.database. If nobody knows which database has
// served a command, because a switch was made meanwhile, multidb.database is missing and the others stay as they are. Each attempt but the first adds an event
// multidb.attempt with multidb.attempt.number, multidb.attempt.replayed (true if the attempt before was sent and not
// answered), multidb.attempt.failed_database and exception.message.
//
// A span that is not recording costs a command three atomic loads and no allocation. Spans of dials (redis.dial) stay as they are.
func InstrumentTracing(rdb *redis.Client, hook *multidb.Hook, opt TracingOptions) error {
	switch {
	case rdb == nil:
		return errors.New("multidbotel: InstrumentTracing: rdb = nil: must be a client")
	case hook == nil:
		return errors.New("multidbotel: InstrumentTracing: hook = nil: must be a hook")
	}
	rdb.AddHook(&tracing{hook, opt})
	return nil
}

// tracing is the innermost hook: what it is called for is one attempt.
type tracing struct {
	hook *multidb.Hook
	opt  TracingOptions
}

var _ redis.Hook = (*tracing)(nil)

// DialHook does nothing: a dial of the hook passes no hook that was added after it.
func (t *tracing) DialHook(next redis.DialHook) redis.DialHook { return next }

func (t *tracing) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		span, ok := t.begin(ctx, cmd, cmd.FullName())
		if !ok {
			return next(ctx, cmd)
		}
		before := t.hook.Choice()
		err := next(ctx, cmd)
		t.end(span, before, err)
		return err
	}
}

func (t *tracing) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if len(cmds) == 0 {
			return next(ctx, cmds)
		}
		span, ok := t.begin(ctx, cmds[0], "redis.pipeline")
		if !ok {
			return next(ctx, cmds)
		}
		before := t.hook.Choice()
		err := next(ctx, cmds)
		t.end(span, before, deciding(err, cmds))
		return err
	}
}

// deciding is the error that says where a batch has ended: that of the batch, or of a command if that one names a database.
func deciding(err error, cmds []redis.Cmder) error {
	if err == nil {
		return nil
	}
	for _, cmd := range cmds {
		var failed *multidb.CommandError
		if errors.As(cmd.Err(), &failed) {
			return failed
		}
	}
	return err
}

// begin returns the span of an attempt, if it has one that may be written to, and notes which attempt it is. name is what the name
// of the span begins with, if it is that of cmd.
func (t *tracing) begin(ctx context.Context, cmd redis.Cmder, name string) (trace.Span, bool) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() || !t.opt.AnySpan && !ofRedis(span) {
		return nil, false
	}
	if handshake(cmd) {
		return span, named(span, name)
	}
	if a := multidb.AttemptOf(ctx); a.Number > 1 {
		span.AddEvent(attemptEvent, trace.WithAttributes(
			attribute.Int("multidb.attempt.number", a.Number),
			attribute.Bool("multidb.attempt.replayed", a.Replayed),
			attribute.String("multidb.attempt.failed_database", a.FailedOn),
			attribute.String("exception.message", a.Failed.Error()),
		))
	}
	return span, true
}

// end names the database on the span.
func (t *tracing) end(span trace.Span, before multidb.Choice, err error) {
	served, ok := t.hook.ServedBy(before, err)
	if !ok {
		if has(span, multidbKey) { // an earlier attempt has named its database, and this one was maybe served by another
			span.SetAttributes(multidbKey.String(unknownDatabase))
		}
		return
	}
	attrs := make([]attribute.KeyValue, 0, 5)
	attrs = append(attrs, multidbKey.String(served.Database), namespaceKey.String(strconv.Itoa(served.DB)))
	host, port := served.Addr, 0
	if h, p, err := net.SplitHostPort(served.Addr); err == nil && served.Network != "unix" {
		host = h
		port, _ = strconv.Atoi(p)
	}
	if host != "" {
		attrs = append(attrs, serverAddressKey.String(host))
	}
	if port != 0 {
		attrs = append(attrs, serverPortKey.Int(port))
	}
	if served.Addr != "" && has(span, connStringKey) {
		scheme := "redis"
		if !strings.HasPrefix(served.Network, "tcp") {
			scheme = served.Network
		}
		attrs = append(attrs, connStringKey.String(scheme+"://"+served.Addr))
	}
	span.SetAttributes(attrs...)
}

// handshake reports whether a command is one of a connection's handshake. It has the context of the command that needs the
// connection: if it has no span of its own, the span is that of the other command.
func handshake(cmd redis.Cmder) bool {
	switch cmd.Name() {
	case "hello", "auth", "select", "client", "readonly":
		return true
	}
	return false
}

// readable is a span that tells what it has, as those of the OpenTelemetry SDK do.
type readable interface {
	Name() string
	Attributes() []attribute.KeyValue
}

func named(span trace.Span, prefix string) bool {
	r, ok := span.(readable)
	return ok && strings.HasPrefix(r.Name(), prefix)
}

// ofRedis reports whether a span is one of a Redis client.
func ofRedis(span trace.Span) bool {
	r, ok := span.(readable)
	if !ok {
		return false
	}
	for _, a := range r.Attributes() {
		if (a.Key == systemKey || a.Key == systemKeyNew) && a.Value.AsString() == "redis" {
			return true
		}
	}
	return false
}

// has reports whether a span has an attribute.
func has(span trace.Span, key attribute.Key) bool {
	r, ok := span.(readable)
	if !ok {
		return false
	}
	for _, a := range r.Attributes() {
		if a.Key == key {
			return true
		}
	}
	return false
}
