package multidbotel_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/extra/redisotel/v9"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	multidbotel "github.com/redishook/multidb/extra/otel"
)

// orders are the two orders of redisotel and the hook.
var orders = map[string]bool{"redisotel before the hook": true, "redisotel after the hook": false}

func traced(t *testing.T, f *fixture, redisotelFirst bool) (*redis.Client, *tracetest.SpanRecorder, *sdk.TracerProvider) {
	t.Helper()
	recorder := tracetest.NewSpanRecorder()
	provider := sdk.NewTracerProvider(sdk.WithSpanProcessor(recorder))
	rdb := f.client(t)
	if !redisotelFirst {
		rdb.AddHook(f.hook)
	}
	require.NoError(t, redisotel.InstrumentTracing(rdb, redisotel.WithTracerProvider(provider)))
	if redisotelFirst {
		rdb.AddHook(f.hook)
	}
	require.NoError(t, multidbotel.InstrumentTracing(rdb, f.hook, multidbotel.TracingOptions{}))
	return rdb, recorder, provider
}

// named returns the spans whose name begins with a prefix.
func named(recorder *tracetest.SpanRecorder, prefix string) (found []sdk.ReadOnlySpan) {
	for _, span := range recorder.Ended() {
		if strings.HasPrefix(span.Name(), prefix) {
			found = append(found, span)
		}
	}
	return found
}

func attributes(of []attribute.KeyValue) map[string]any {
	m := make(map[string]any)
	for _, a := range of {
		m[string(a.Key)] = a.Value.AsInterface()
	}
	return m
}

func requireServedBy(t *testing.T, span sdk.ReadOnlySpan, database, addr, index string) {
	t.Helper()
	got := attributes(span.Attributes())
	require.Equal(t, database, got["multidb.database"], span.Name())
	require.Equal(t, "127.0.0.1", got["server.address"], span.Name())
	require.Equal(t, portOf(t, addr), got["server.port"], span.Name())
	require.Equal(t, index, got["db.namespace"], span.Name())
	require.Equal(t, "redis://"+addr, got["db.connection_string"], span.Name())
}

func TestSpansNameTheDatabaseThatHasServed(t *testing.T) {
	for name, first := range orders {
		t.Run(name, func(t *testing.T) {
			f := start(t, nil)
			rdb, recorder, _ := traced(t, f, first)
			ctx := t.Context()
			require.NoError(t, rdb.Set(ctx, "k", 1, 0).Err())
			require.ErrorIs(t, rdb.Get(ctx, "nothing").Err(), redis.Nil)
			_, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error { return errors.Join(pipe.Get(ctx, "k").Err(), pipe.Ping(ctx).Err()) })
			require.NoError(t, err)
			_, err = rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Incr(ctx, "n").Err() })
			require.NoError(t, err)
			for _, prefix := range []string{"set", "get", "redis.pipeline get ping", "redis.pipeline multi incr"} {
				spans := named(recorder, prefix)
				require.Len(t, spans, 1, prefix)
				requireServedBy(t, spans[0], "east", f.toEast.Addr(), "1")
				require.Empty(t, named(recorder, prefix)[0].Events(), "no attempt but the first")
			}
			for _, handshake := range append(named(recorder, "hello"), named(recorder, "redis.pipeline client")...) {
				requireServedBy(t, handshake, "east", f.toEast.Addr(), "1")
			}

			require.NoError(t, f.hook.SetActive(ctx, "west"))
			require.NoError(t, rdb.Append(ctx, "k", "x").Err())
			spans := named(recorder, "append")
			requireServedBy(t, spans[len(spans)-1], "west", f.toWest.Addr(), "2")
		})
	}
}

// The reply to a SET is lost together with its database. It is run again on the other one.
func TestAReplayIsAnEventOfTheSpan(t *testing.T) {
	for name, first := range orders {
		t.Run(name, func(t *testing.T) {
			f := start(t, nil)
			rdb, recorder, _ := traced(t, f, first)
			ctx := t.Context()
			require.NoError(t, rdb.Ping(ctx).Err())
			f.toEast.Answer(func(args []string) (string, bool) {
				if strings.EqualFold(args[0], "set") {
					go f.toEast.Refuse() // it waits for the connection that is asking
				}
				return "", false
			})
			f.toEast.DropReplies(func(args []string) bool { return strings.EqualFold(args[0], "set") })
			require.NoError(t, rdb.Set(ctx, "k", 2, 0).Err())
			spans := named(recorder, "set")
			last := spans[len(spans)-1]
			if got := attributes(last.Attributes())["multidb.database"]; got != nil && got != "unknown" { // nobody knows if the switch came during the attempt
				requireServedBy(t, last, "west", f.toWest.Addr(), "2")
			}
			require.NoError(t, rdb.Append(ctx, "k", "x").Err())
			appended := named(recorder, "append")
			requireServedBy(t, appended[len(appended)-1], "west", f.toWest.Addr(), "2")
			if first {
				require.Len(t, spans, 1, "one span for the command")
			} else {
				require.GreaterOrEqual(t, len(spans), 2, "one for each attempt")
				requireServedBy(t, spans[0], "east", f.toEast.Addr(), "1")
			}
			var events []sdk.Event
			for _, span := range spans {
				for _, e := range span.Events() {
					if e.Name == "multidb.attempt" {
						events = append(events, e)
					}
				}
			}
			require.NotEmpty(t, events)
			got := attributes(events[0].Attributes)
			require.EqualValues(t, 2, got["multidb.attempt.number"])
			require.Equal(t, true, got["multidb.attempt.replayed"])
			require.Equal(t, "east", got["multidb.attempt.failed_database"])
			require.Contains(t, got["exception.message"], "sent, not answered")
		})
	}
}

// A command that fails names the database on which it has failed, although another one is active by then.
func TestAFailureNamesTheDatabaseItFailedOn(t *testing.T) {
	f := start(t, nil)
	rdb, recorder, _ := traced(t, f, false)
	ctx := t.Context()
	require.NoError(t, rdb.Ping(ctx).Err())
	f.toEast.Answer(func(args []string) (string, bool) {
		if strings.EqualFold(args[0], "incr") {
			go f.toEast.Refuse()
		}
		return "", false
	})
	f.toEast.DropReplies(func(args []string) bool { return strings.EqualFold(args[0], "incr") })
	require.Error(t, rdb.Incr(ctx, "n").Err())
	require.NoError(t, rdb.Set(ctx, "k", 1, 0).Err()) // during which the switch is made
	_, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Ping(ctx).Err() })
	require.NoError(t, err)
	requireServedBy(t, named(recorder, "incr")[0], "east", f.toEast.Addr(), "1")
	requireServedBy(t, named(recorder, "redis.pipeline ping")[0], "west", f.toWest.Addr(), "2")
}

// The span of a request of the application is not that of a command: it has a server.address of its own.
func TestASpanOfTheApplicationIsLeftAlone(t *testing.T) {
	f := start(t, nil)
	recorder := tracetest.NewSpanRecorder()
	tracer := sdk.NewTracerProvider(sdk.WithSpanProcessor(recorder)).Tracer("app")
	for _, any := range []bool{false, true} {
		rdb := f.client(t)
		rdb.AddHook(f.hook)
		require.NoError(t, multidbotel.InstrumentTracing(rdb, f.hook, multidbotel.TracingOptions{AnySpan: any}))
		ctx, span := tracer.Start(t.Context(), "GET /")
		require.NoError(t, rdb.Ping(ctx).Err())
		span.End()
	}
	spans := named(recorder, "GET /")
	require.Empty(t, spans[0].Attributes())
	require.Equal(t, "east", attributes(spans[1].Attributes())["multidb.database"])
}

func TestTracingRefusesNil(t *testing.T) {
	f := start(t, nil)
	require.ErrorContains(t, multidbotel.InstrumentTracing(nil, f.hook, multidbotel.TracingOptions{}), "rdb = nil")
	require.ErrorContains(t, multidbotel.InstrumentTracing(f.client(t), nil, multidbotel.TracingOptions{}), "hook = nil")
}
