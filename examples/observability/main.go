// Command observability runs a failover and shows it as telemetry sees it: Prometheus metrics, OpenTelemetry metrics and
// spans. Two servers inside the program stand for yours. If Prometheus is installed, one is started that scrapes the program and
// evaluates the alert rules; its answers are printed as well.
//
//	go run .                 # from examples/observability
//	go run . -listen :2112   # and leave /metrics open until interrupted
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/extra/redisotel/v9"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/redishook/multidb"
	multidbotel "github.com/redishook/multidb/extra/otel"
	multidbprometheus "github.com/redishook/multidb/extra/prometheus"
)

func main() {
	listen := flag.String("listen", "", "address of /metrics; empty: a free port, and the program ends after the failover")
	rules := flag.String("rules", "../../extra/prometheus/alerts.yml", "alert rules for Prometheus")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *listen, *rules); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run makes the servers, the hook and the client, all instrumented, and fails the active database.
func run(ctx context.Context, out io.Writer, listen, rules string) error {
	logging.Disable()       // go-redis logs every failed dial
	out = &locked{out: out} // the hook logs to it, from a goroutine of its own
	east, west := miniredis.NewMiniRedis(), miniredis.NewMiniRedis()
	if err := errors.Join(east.Start(), west.Start()); err != nil {
		return err
	}
	defer west.Close()
	hook, err := multidb.New(ctx, multidb.Options{
		Name: "example",
		Databases: []multidb.Database{
			{Name: "east", Weight: 1.0, URL: "redis://" + east.Addr()},
			{Name: "west", Weight: 0.5, URL: "redis://" + west.Addr()},
		},
		Initial: multidb.InitialAll,
		Logger:  slog.New(slog.NewTextHandler(out, nil)),
	})
	if err != nil {
		return err
	}
	defer hook.Close()

	// Prometheus: one collector.
	registry := prometheus.NewRegistry()
	registry.MustRegister(multidbprometheus.NewCollector(hook))

	// OpenTelemetry: instruments, and spans that are corrected. The providers here print; yours export.
	sink := newSink()
	stopMetrics, err := multidbotel.InstrumentMetrics(hook, multidbotel.MetricsOptions{MeterProvider: sink.meters})
	if err != nil {
		return err
	}
	defer func() { _ = stopMetrics() }()
	rdb := redis.NewClient(&redis.Options{Addr: east.Addr()})
	defer rdb.Close()
	if err := redisotel.InstrumentTracing(rdb, redisotel.WithTracerProvider(sink.tracers)); err != nil {
		return err
	}
	rdb.AddHook(hook)
	if err := multidbotel.InstrumentTracing(rdb, hook, multidbotel.TracingOptions{}); err != nil {
		return err
	}

	scraped, err := serve(ctx, out, registry, listen, rules)
	if err != nil {
		return err
	}
	defer scraped.close()
	if err := failover(ctx, out, rdb, east); err != nil {
		return err
	}
	if err := show(ctx, out, registry, sink); err != nil {
		return err
	}
	if err := scraped.show(ctx, out); err != nil {
		return err
	}
	if listen != "" {
		fmt.Fprintf(out, "\nserving http://%s/metrics until interrupted\n", scraped.addr)
		<-ctx.Done()
	}
	return nil
}

// locked is a writer for several goroutines.
type locked struct {
	mu  sync.Mutex
	out io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(p)
}

// failover writes before and after the loss of east.
func failover(ctx context.Context, out io.Writer, rdb *redis.Client, east *miniredis.Miniredis) error {
	for i := range 100 {
		if err := rdb.Set(ctx, "before", i, 0).Err(); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "\n-- east is killed")
	killed := time.Now()
	east.Close()
	for i := range 100 {
		if err := rdb.Set(ctx, "after", i, 0).Err(); err != nil {
			return err
		}
		if i == 0 {
			fmt.Fprintf(out, "-- the first SET after that took %v\n\n", time.Since(killed).Round(time.Millisecond))
		}
	}
	return nil
}

// serve opens /metrics, and starts a Prometheus that scrapes it, if there is one.
func serve(ctx context.Context, out io.Writer, registry *prometheus.Registry, listen, rules string) (*scraper, error) {
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(l) }()
	s := &scraper{addr: l.Addr().String(), server: server}
	if err := s.startPrometheus(ctx, out, rules); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}
