package multidbprometheus_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	multidbprometheus "github.com/redishook/multidb/extra/prometheus"
	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// scrapeInterval is how often the Prometheus of these tests scrapes.
const scrapeInterval = time.Second

// server is a Prometheus that was started by a test.
type server struct {
	url    string
	client *http.Client
}

// startPrometheus runs a Prometheus that scrapes target and evaluates the alert rules.
func startPrometheus(t *testing.T, target string) *server {
	t.Helper()
	binary := needs(t, "prometheus")
	rules, err := filepath.Abs("alerts.yml")
	require.NoError(t, err)
	dir := t.TempDir()
	config := fmt.Sprintf("global: {scrape_interval: %v, evaluation_interval: %v}\nrule_files: [%q]\n"+
		"scrape_configs:\n- job_name: app\n  static_configs: [{targets: [%q]}]\n", scrapeInterval, scrapeInterval, rules, target)
	file := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	addr := freeAddr(t)
	log, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	cmd := exec.Command(binary, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr)
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		_ = log.Close()
	})
	s := &server{url: "http://" + addr, client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}}
	require.Eventually(t, func() bool { return s.ready() }, 30*time.Second, 50*time.Millisecond, "Prometheus does not become ready")
	return s
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

func (s *server) ready() bool {
	resp, err := s.client.Get(s.url + "/-/ready")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// query returns the value of an expression that has one series, and whether it has.
func (s *server) query(t *testing.T, expr string) (float64, bool) {
	t.Helper()
	resp, err := s.client.Get(s.url + "/api/v1/query?query=" + url.QueryEscape(expr))
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	var answer struct {
		Status string
		Data   struct{ Result []struct{ Value [2]any } }
	}
	require.NoError(t, json.Unmarshal(body, &answer), "%s", body)
	require.Equal(t, "success", answer.Status, "%s", body)
	if len(answer.Data.Result) != 1 {
		return 0, false
	}
	v, err := strconv.ParseFloat(answer.Data.Result[0].Value[1].(string), 64)
	require.NoError(t, err)
	return v, true
}

// shows waits until an expression has a value and returns how long that took.
func (s *server) shows(t *testing.T, expr string, want float64) time.Duration {
	t.Helper()
	began := time.Now()
	var got float64
	for time.Since(began) < 30*time.Second {
		var ok bool
		if got, ok = s.query(t, expr); ok && got == want {
			return time.Since(began)
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s is %v after 30 s and not %v", expr, got, want)
	return 0
}

// A real Prometheus scrapes a failover, commands of unknown outcome, and the loss of everything: each is to be seen with the
// first scrape after the hook knows it.
func TestPrometheusSeesAFailoverWithinOneScrape(t *testing.T) {
	needs(t, "prometheus")
	east, west := redistest.Start(t), redistest.Start(t)
	toEast := faultproxy.Start(t, east.Addr())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	hook, err := multidb.New(ctx, multidb.Options{
		Databases: []multidb.Database{
			{Name: "east", Options: &redis.Options{Addr: toEast.Addr()}},
			{Name: "west", Weight: 0.5, Options: west.Options()},
		},
		Initial: multidb.InitialAll,
		Logger:  slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	defer hook.Close()
	registry := prometheus.NewRegistry()
	registry.MustRegister(multidbprometheus.NewCollector(hook))
	web := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	defer web.Close()
	rdb := redis.NewClient(&redis.Options{Addr: toEast.Addr()})
	defer rdb.Close()
	rdb.AddHook(hook)
	require.NoError(t, rdb.Set(t.Context(), "k", 1, 0).Err())

	prom := startPrometheus(t, strings.TrimPrefix(web.URL, "http://"))
	prom.shows(t, `redis_multidb_active{database="east"}`, 1)
	prom.shows(t, `redis_multidb_down`, 0)
	prom.shows(t, `redis_multidb_unknown_total{database="east"}`, 0)

	// The reply to an INCR is lost, and then the database: nobody knows whether the INCR was executed.
	toEast.DropReplies(func(args []string) bool { return strings.EqualFold(args[0], "incr") })
	require.Error(t, rdb.Incr(t.Context(), "n").Err())
	toEast.Refuse()
	require.NoError(t, rdb.Set(t.Context(), "k", 2, 0).Err())
	slack := 500 * time.Millisecond // of the scrape itself, and of the question
	took := prom.shows(t, `redis_multidb_active{database="west"}`, 1)
	t.Logf("the failover was to be seen after %v", took)
	require.LessOrEqual(t, took, scrapeInterval+slack)
	require.LessOrEqual(t, prom.shows(t, `redis_multidb_switches_total{reason="health_check"}`, 1), slack)
	require.LessOrEqual(t, prom.shows(t, `redis_multidb_unknown_total{database="east"}`, 1), slack)
	require.LessOrEqual(t, prom.shows(t, `redis_multidb_usable{database="east"}`, 0), slack)

	west.Kill()
	require.Error(t, rdb.Set(t.Context(), "k", 3, 0).Err())
	require.Eventually(t, hookIsDown(hook), 5*time.Second, time.Millisecond)
	took = prom.shows(t, `redis_multidb_down`, 1)
	t.Logf("the outage was to be seen after %v", took)
	require.LessOrEqual(t, took, scrapeInterval+slack)

	// And the rules, evaluated as they are shipped, tell of both.
	prom.shows(t, `ALERTS{alertname="RedisMultidbDown",alertstate="firing"}`, 1)
	prom.shows(t, `ALERTS{alertname="RedisMultidbSwitched",alertstate="firing"}`, 1)
	prom.shows(t, `ALERTS{alertname="RedisMultidbUnknownOutcomes",alertstate="firing"}`, 1)
}
