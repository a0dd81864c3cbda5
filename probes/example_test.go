package probes_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/probes"
)

// A database with a backlog is alive, and still not one to move to.
func Example() {
	server, _ := miniredis.Run()
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true})
	defer func() { _ = rdb.Close() }()

	backlog := probes.Func("backlog", func(ctx context.Context, db probes.Target) error {
		n, err := db.Client.LLen(ctx, "jobs").Result()
		if err == nil && n > 2 {
			return fmt.Errorf("%d jobs wait", n)
		}
		return err
	})

	check := probes.Check{Probe: probes.Gate(backlog), Probes: 2, Delay: 10 * time.Millisecond, Timeout: 5 * time.Second}
	east := probes.Target{Name: "east", Client: rdb}
	fmt.Println(check.Run(context.Background(), east))

	_, _ = server.Push("jobs", "a", "b", "c")
	fmt.Println(check.Run(context.Background(), east))
	// Output:
	// <nil>
	// probe backlog of database "east": 0 passed and 1 failed of 2 (policy all): 3 jobs wait
}

func ExampleOutcomeOf() {
	server, _ := miniredis.Run()
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true})
	defer func() { _ = rdb.Close() }()
	check := probes.Check{Probe: probes.Ping(), Probes: 1, Timeout: 5 * time.Second}
	east := probes.Target{Name: "east", Client: rdb}

	fmt.Println(probes.OutcomeOf(check.Run(context.Background(), east)))

	server.SetError("LOADING Redis is loading the dataset in memory")
	fmt.Println(probes.OutcomeOf(check.Run(context.Background(), east)))

	server.SetError("NOPERM this user has no permissions to run the 'ping' command")
	fmt.Println(probes.OutcomeOf(check.Run(context.Background(), east)))

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	fmt.Println(probes.OutcomeOf(check.Run(ctx, east)))
	// Output:
	// passed
	// failed
	// not permitted
	// no verdict
}

// PING passes on a database that takes no writes.
func ExampleWrite() {
	server, _ := miniredis.Run()
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true})
	defer func() { _ = rdb.Close() }()
	check := probes.Check{
		Probe:   probes.Write(probes.WriteOptions{Prefix: "app:probe:", TTL: 5 * time.Second}),
		Probes:  1,
		Timeout: 5 * time.Second,
	}
	east := probes.Target{Name: "east", Client: rdb}
	fmt.Println(check.Run(context.Background(), east))
	fmt.Println("keys left behind:", len(server.Keys()))

	server.SetError("READONLY You can't write against a read only replica.")
	fmt.Println(check.Run(context.Background(), east))
	// Output:
	// <nil>
	// keys left behind: 0
	// probe write of database "east": write: READONLY You can't write against a read only replica.
}

func ExampleLagAware() {
	// The REST API of a cluster, whose database is available and then lags behind.
	lagging := false
	api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/v1/bdbs":
			_, _ = io.WriteString(w, `[{"uid":7,"endpoints":[{"dns_name":"redis.east.example.com","port":12000,"addr":["10.0.0.1"]}]}]`)
		case lagging:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer api.Close()
	roots := x509.NewCertPool()
	roots.AddCert(api.Certificate())

	lag, err := probes.LagAware(probes.LagAwareOptions{
		Tolerance: 100 * time.Millisecond,
		Username:  "probe@example.com",
		Password:  "secret",
		RootCAs:   roots,
	})
	if err != nil {
		panic(err)
	}
	defer func() { _ = probes.Close(lag) }()

	check := probes.Check{Probe: lag, Probes: 1, Timeout: 5 * time.Second}
	east := probes.Target{Name: "east", Addr: "redis.east.example.com:12000", HealthCheckURL: api.URL}
	fmt.Println("gates only:", probes.GatesOnly(lag))
	fmt.Println(check.Run(context.Background(), east))
	lagging = true
	fmt.Println(check.Run(context.Background(), east))
	// Output:
	// gates only: true
	// <nil>
	// probe lag-aware of database "east": availability of database 7: REST API answered 503 Service Unavailable
}
