package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// scraper is the server of /metrics, and a Prometheus that scrapes it, if one is installed.
type scraper struct {
	addr   string
	server *http.Server

	url string // of Prometheus; empty if there is none
	cmd *exec.Cmd
	dir string
}

// startPrometheus runs Prometheus, where it is installed, and waits until it has scraped once.
func (s *scraper) startPrometheus(ctx context.Context, out io.Writer, rules string) error {
	binary, err := exec.LookPath("prometheus")
	if err != nil {
		fmt.Fprintln(out, "Prometheus is not installed: its part is left out")
		return nil
	}
	if rules, err = filepath.Abs(rules); err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "multidb-prometheus-"); err != nil {
		return err
	}
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\n"+
		"scrape_configs:\n- job_name: example\n  static_configs: [{targets: [%q]}]\n", rules, s.addr)
	file := filepath.Join(s.dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	addr := l.Addr().String()
	_ = l.Close()
	s.cmd = exec.CommandContext(ctx, binary, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(s.dir, "data"), "--web.listen-address="+addr)
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.url = "http://" + addr
	fmt.Fprintf(out, "Prometheus scrapes http://%s/metrics\n", s.addr)
	_, err = s.await(ctx, `redis_multidb_active{database="east"} == 1`)
	return err
}

// show prints what Prometheus answers after the failover.
func (s *scraper) show(ctx context.Context, out io.Writer) error {
	if s.url == "" {
		return nil
	}
	fmt.Fprintln(out, "\nPrometheus, after its next scrape:")
	for _, expr := range []string{
		`redis_multidb_active{database="west"} == 1`,
		`redis_multidb_usable{database="east"} == 0`,
		`redis_multidb_switches_total{reason="health_check"} > 0`,
		`ALERTS{alertname="RedisMultidbSwitched",alertstate="firing"}`,
	} {
		value, err := s.await(ctx, expr)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  %s: %s\n", expr, value)
	}
	return nil
}

// await asks Prometheus until an expression has a value.
func (s *scraper) await(ctx context.Context, expr string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		if value, err := s.query(ctx, expr); err == nil && value != "" {
			return value, nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("prometheus has no value for %s: %w", expr, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (s *scraper) query(ctx context.Context, expr string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/api/v1/query?query="+url.QueryEscape(expr), nil)
	if err != nil {
		return "", err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var answer struct {
		Data struct{ Result []struct{ Value []any } }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return "", err
	}
	if len(answer.Data.Result) == 0 || len(answer.Data.Result[0].Value) < 2 {
		return "", errors.New("no series")
	}
	return fmt.Sprint(answer.Data.Result[0].Value[1]), nil
}

// close ends both.
func (s *scraper) close() {
	if s.cmd != nil && s.cmd.Process != nil {
		_ = s.cmd.Process.Signal(os.Interrupt)
		_ = s.cmd.Wait()
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
	_ = s.server.Close()
}
