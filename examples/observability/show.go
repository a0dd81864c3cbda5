package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// sink keeps what OpenTelemetry is told, so that it can be printed.
type sink struct {
	reader  *metric.ManualReader
	meters  *metric.MeterProvider
	spans   *tracetest.SpanRecorder
	tracers *trace.TracerProvider
}

func newSink() *sink {
	s := &sink{reader: metric.NewManualReader(), spans: tracetest.NewSpanRecorder()}
	s.meters = metric.NewMeterProvider(metric.WithReader(s.reader))
	s.tracers = trace.NewTracerProvider(trace.WithSpanProcessor(s.spans))
	return s
}

// show prints what an operator would look at.
func show(ctx context.Context, out io.Writer, registry *prometheus.Registry, s *sink) error {
	fmt.Fprintln(out, "\nPrometheus, /metrics (all but zeros):")
	families, err := registry.Gather()
	if err != nil {
		return err
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			value := m.GetGauge().GetValue() + m.GetCounter().GetValue()
			if value == 0 || strings.HasSuffix(family.GetName(), "_seconds") {
				continue
			}
			var labels []string
			for _, pair := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", pair.GetName(), pair.GetValue()))
			}
			fmt.Fprintf(out, "  %s{%s} %v\n", family.GetName(), strings.Join(labels, ","), value)
		}
	}
	fmt.Fprintln(out, "\nOpenTelemetry, metrics:")
	var data metricdata.ResourceMetrics
	if err := s.reader.Collect(ctx, &data); err != nil {
		return err
	}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			for _, line := range points(m) {
				fmt.Fprintf(out, "  %s %s\n", m.Name, line)
			}
		}
	}
	showSpans(out, s)
	return nil
}

// points returns the points of the instruments that count events.
func points(m metricdata.Metrics) (lines []string) {
	switch d := m.Data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range d.DataPoints {
			if p.Value != 0 {
				lines = append(lines, fmt.Sprintf("%s %d", attributes(p.Attributes.ToSlice()), p.Value))
			}
		}
	case metricdata.Histogram[float64]:
		for _, p := range d.DataPoints {
			lines = append(lines, fmt.Sprintf("%s count %d, sum %.4f %s", attributes(p.Attributes.ToSlice()), p.Count, p.Sum, m.Unit))
		}
	}
	slices.Sort(lines)
	return lines
}

// showSpans prints the last span before the failover, the one of the failover, and the last one.
func showSpans(out io.Writer, s *sink) {
	fmt.Fprintln(out, "\nOpenTelemetry, spans of SET (first, those with events, last):")
	var sets []trace.ReadOnlySpan
	for _, span := range s.spans.Ended() {
		if span.Name() == "set" {
			sets = append(sets, span)
		}
	}
	for i, span := range sets {
		if i > 0 && i < len(sets)-1 && len(span.Events()) == 0 {
			continue
		}
		var where []attribute.KeyValue
		for _, a := range span.Attributes() {
			switch a.Key {
			case "server.address", "server.port", "db.namespace", "multidb.database":
				where = append(where, a)
			}
		}
		fmt.Fprintf(out, "  set %s\n", attributes(where))
		for _, event := range span.Events() {
			fmt.Fprintf(out, "    event %s %s\n", event.Name, attributes(event.Attributes))
		}
	}
}

func attributes(set []attribute.KeyValue) string {
	var pairs []string
	for _, a := range set {
		pairs = append(pairs, string(a.Key)+"="+a.Value.String())
	}
	slices.Sort(pairs)
	return "{" + strings.Join(pairs, " ") + "}"
}
