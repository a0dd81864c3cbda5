package probes_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/probes"
)

const (
	user     = "probe@example.com"
	password = "hunter2/+%"
)

// rest is the REST API of a cluster with two databases at one name, told apart by
// their ports.
type rest struct {
	*httptest.Server

	mu       sync.Mutex
	requests []string                    // path?query of each
	conns    map[string]bool             // by remote address
	list     string                      // answer to the list
	override map[string]http.HandlerFunc // by "list" and "availability", instead of the answer
}

const twoDatabases = `[
	{"uid": 6, "endpoints": [{"uid": "6:1", "dns_name": "redis.east.example.com", "port": 13000, "addr": ["10.0.0.1", "10.0.0.2"], "addr_type": "internal", "proxy_policy": "single"}]},
	{"uid": 7, "name": "ours", "endpoints": [
		{"uid": "7:1", "dns_name": "redis.internal.east.example.com", "port": 12000, "addr": ["10.0.0.1"], "addr_type": "internal"},
		{"uid": "7:2", "dns_name": "Redis.East.Example.com", "port": 12000, "addr": ["192.0.2.7", "2001:db8::7"], "addr_type": "external"}]}
]`

func newREST(t *testing.T) *rest {
	t.Helper()
	r := &rest{list: twoDatabases, conns: map[string]bool{}, override: map[string]http.HandlerFunc{}}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	r.Config.ErrorLog = quietLog
	r.StartTLS()
	t.Cleanup(r.Server.Close)
	return r
}

func (r *rest) serve(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.requests = append(r.requests, req.URL.RequestURI())
	r.conns[req.RemoteAddr] = true
	list := r.list
	r.mu.Unlock()

	u, p, _ := req.BasicAuth()
	kind := "availability"
	if req.URL.Path == "/v1/bdbs" {
		kind = "list"
	}
	r.mu.Lock()
	override := r.override[kind]
	r.mu.Unlock()
	switch {
	case override != nil:
		override(w, req)
	case u != user || p != password:
		refuse(401, `{"error_code":"unauthorized","description":"bad credentials"}`)(w, req)
	case req.Method != http.MethodGet || req.Header.Get("Accept") != "application/json":
		refuse(400, "")(w, req)
	case kind == "list":
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, list)
	case req.URL.Path == "/v1/bdbs/7/availability":
	default:
		refuse(404, `{"error_code":"db_not_found","description":"Database does not exist"}`)(w, req)
	}
}

func (r *rest) set(kind string, h http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.override[kind] = h
}

// seen returns the requests since it was last called.
func (r *rest) seen() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.requests
	r.requests = nil
	return seen
}

func (r *rest) target() probes.Target {
	return probes.Target{Name: "east", HealthCheckURL: r.URL, Addr: "redis.east.example.com:12000"}
}

func (r *rest) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(r.Certificate())
	return pool
}

func (r *rest) options() probes.LagAwareOptions {
	return probes.LagAwareOptions{Username: user, Password: password, RootCAs: r.roots()}
}

func refuse(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func lagAware(t *testing.T, opt probes.LagAwareOptions) probes.Probe {
	t.Helper()
	p, err := probes.LagAware(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := probes.Close(p); err != nil {
			t.Error(err)
		}
	})
	return p
}

// harmless fails the test if an error has a password in it, in any form.
func harmless(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	text := fmt.Sprintf("%v %+v %q", err, err, err)
	for _, secret := range []string{password, url.QueryEscape(password), url.PathEscape(password), "hunter2", "aHVudGVyMi8rJQ", "cHJvYmVAZXhhbXBsZS5jb2"} {
		if strings.Contains(text, secret) {
			t.Errorf("the password is in: %s", text)
		}
	}
}

func TestLagAwareAsksAsDocumented(t *testing.T) {
	const list = "/v1/bdbs?fields=uid,endpoints"
	for tolerance, query := range map[time.Duration]string{
		0:                      "?extend_check=lag&availability_lag_tolerance_ms=5000",
		150 * time.Millisecond: "?extend_check=lag&availability_lag_tolerance_ms=150",
		-1:                     "",
	} {
		r := newREST(t)
		opt := r.options()
		opt.Tolerance = tolerance
		p := lagAware(t, opt)
		for range 3 {
			if err := once(p).Run(t.Context(), r.target()); err != nil {
				t.Fatal(err)
			}
		}
		available := "/v1/bdbs/7/availability" + query
		want := fmt.Sprint([]string{list, available, available, available})
		if got := fmt.Sprint(r.seen()); got != want {
			t.Errorf("asked %s, want %s", got, want)
		}
		if len(r.conns) != 1 {
			t.Errorf("took %d connections, want the first to be used again", len(r.conns))
		}
	}
}

func TestLagAwareFindsTheDatabase(t *testing.T) {
	r := newREST(t)
	p := lagAware(t, r.options())
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"elsewhere:1", "192.0.2.7:12000"}})
	defer func() { _ = cluster.Close() }()
	single := redis.NewClient(&redis.Options{Addr: "192.0.2.7:12000"})
	defer func() { _ = single.Close() }()
	for _, tc := range []struct {
		addr   string
		client redis.UniversalClient
		found  bool
	}{
		{"redis.east.example.com:12000", nil, true},
		{"REDIS.east.example.COM.:12000", nil, true},
		{"redis.internal.east.example.com:12000", nil, true},
		{"192.0.2.7:12000", nil, true},
		{"10.0.0.1:12000", nil, true},
		{"[::ffff:10.0.0.1]:12000", nil, true},
		{"[2001:db8::7]:12000", nil, true},
		{"[2001:0db8:0:0:0:0:0:7]:12000", nil, true},
		{"", cluster, true},
		{"unknown:12000", cluster, true},
		{"", single, true},
		{"10.0.0.2:12000", nil, false}, // of the other database
		{"redis.east.example.com:12001", nil, false},
		{"east.example.com:12000", nil, false},
		{"redis.east.example.com", nil, false},
		{"unknown:12000", single, false}, // Addr says what is dialed
		{"", nil, false},
		{"/run/redis.sock", nil, false},
	} {
		db := probes.Target{Name: "east", HealthCheckURL: r.URL, Addr: tc.addr, Client: tc.client}
		if err := once(p).Run(t.Context(), db); (err == nil) != tc.found {
			t.Errorf("%q: %v", tc.addr, err)
		}
	}
}

// A name of one database may be among the addresses of another: names come first.
func TestLagAwarePrefersTheName(t *testing.T) {
	r := newREST(t)
	r.list = `[{"uid": 6, "endpoints": [{"dns_name": "x", "port": 1, "addr": ["10.0.0.1"]}]},
	           {"uid": 7, "endpoints": [{"dns_name": "10.0.0.1", "port": 1, "addr": []}]}]`
	db := r.target()
	db.Addr = "10.0.0.1:1"
	if err := once(lagAware(t, r.options())).Run(t.Context(), db); err != nil {
		t.Error(err)
	}
}

func TestLagAwareAnswers(t *testing.T) {
	for _, tc := range []struct {
		name    string
		list    http.HandlerFunc
		avail   http.HandlerFunc
		want    probes.Outcome
		status  int
		code    string
		mention string
	}{
		{name: "available, with a body", avail: refuse(200, `{"anything":1}`), want: probes.Passed},
		{name: "available, with text", avail: refuse(200, `fine`), want: probes.Passed},
		{name: "no quorum", avail: refuse(503, `{"error_code":"no_quorum","description":"no quorum"}`), want: probes.Failed, status: 503, code: "no_quorum"},
		{name: "unavailable", avail: refuse(503, `{"error_code":"bdb_unavailable","description":"Database is unavailable"}`), want: probes.Failed, status: 503, code: "bdb_unavailable", mention: "Database is unavailable"},
		{name: "shard", avail: refuse(503, `{"error_code":"bdb_unavailable_shard_unreachable","description":"Endpoint error status: shard unreachable"}`), want: probes.Failed, status: 503, code: "bdb_unavailable_shard_unreachable"},
		{name: "port", avail: refuse(503, `{"error_code":"bdb_unavailable_port_unbound"}`), want: probes.Failed, status: 503, code: "bdb_unavailable_port_unbound"},
		{name: "shard and port", avail: refuse(503, `{"error_code":"bdb_unavailable_shard_unreachable_port_unbound"}`), want: probes.Failed, status: 503, code: "bdb_unavailable_shard_unreachable_port_unbound"},
		{name: "endpoint", avail: refuse(503, `{"error_code":"bdb_endpoint_unavailable"}`), want: probes.Failed, status: 503, code: "bdb_endpoint_unavailable"},
		{name: "lag, which has no code", avail: refuse(503, ``), want: probes.Failed, status: 503},
		{name: "code of another type", avail: refuse(503, `{"error_code":17}`), want: probes.Failed, status: 503},
		{name: "unknown database", avail: refuse(404, `{"error_code":"db_not_found"}`), want: probes.Failed, status: 404, code: "db_not_found"},
		{name: "invalid schema", avail: refuse(400, `{"error_code":"bad_schema"}`), want: probes.Failed, status: 400, code: "bad_schema"},
		{name: "bad version", avail: refuse(505, ``), want: probes.Failed, status: 505},
		{name: "unauthorized", avail: refuse(401, ``), want: probes.NotPermitted, status: 401},
		{name: "forbidden", avail: refuse(403, `{"error_code":"forbidden"}`), want: probes.NotPermitted, status: 403, code: "forbidden"},
		{name: "no content", avail: refuse(204, ``), want: probes.Failed, status: 204},
		{name: "list unauthorized", list: refuse(401, ``), want: probes.NotPermitted, status: 401},
		{name: "list forbidden", list: refuse(403, ``), want: probes.NotPermitted, status: 403},
		{name: "list not found", list: refuse(404, ``), want: probes.Failed, status: 404},
		{name: "list unavailable", list: refuse(503, ``), want: probes.Failed, status: 503},
		{name: "list empty", list: refuse(200, ``), want: probes.Failed, mention: "malformed"},
		{name: "list without databases", list: refuse(200, `[]`), want: probes.Failed, mention: "none of the 0 databases"},
		{name: "list null", list: refuse(200, `null`), want: probes.Failed, mention: "none of the 0 databases"},
		{name: "list an object", list: refuse(200, `{}`), want: probes.Failed, mention: "malformed"},
		{name: "list HTML", list: refuse(200, `<html>`), want: probes.Failed, mention: "malformed"},
		{name: "list cut off", list: refuse(200, twoDatabases[:200]), want: probes.Failed, mention: "malformed"},
		{name: "list with more after it", list: refuse(200, twoDatabases+"]"), want: probes.Failed, mention: "malformed"},
		{name: "uid negative", list: refuse(200, strings.Replace(twoDatabases, `"uid": 7,`, `"uid": -7,`, 1)), want: probes.Failed, mention: "malformed"},
		{name: "uid missing", list: refuse(200, strings.Replace(twoDatabases, `"uid": 7,`, ``, 1)), want: probes.Failed, mention: "malformed"},
		{name: "uid no number", list: refuse(200, strings.Replace(twoDatabases, `"uid": 7,`, `"uid": "../../x",`, 1)), want: probes.Failed, mention: "malformed"},
		{name: "list endless", list: endless, want: probes.Failed, mention: "longer than"},
		{name: "availability endless", avail: endless, want: probes.Failed, mention: "longer than"},
		{name: "refusal endless", avail: func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(503); endless(w, r) }, want: probes.Failed, status: 503},
		{name: "connection broken off", avail: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, want: probes.Failed},
		{name: "body broken off", list: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9999")
			_, _ = io.WriteString(w, "[")
		}, want: probes.Failed, mention: "broke off"},
		{name: "password repeated", avail: func(w http.ResponseWriter, req *http.Request) {
			w.WriteHeader(503)
			_, _ = fmt.Fprintf(w, `{"error_code":%q,"description":%q}`, password+url.QueryEscape(password), "you sent "+req.Header.Get("Authorization")+url.PathEscape(password))
		}, want: probes.Failed, status: 503},
		{name: "password repeated instead of HTTP", avail: func(w http.ResponseWriter, req *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = fmt.Fprintf(conn, "HTTP/1.1 %s %s\r\n\r\n", password, req.Header.Get("Authorization"))
				_ = conn.Close()
			}
		}, want: probes.Failed, mention: `malformed HTTP status code "xxxxx"`},
		{name: "description of a book's length", avail: refuse(503, `{"description":"`+strings.Repeat("ö", 20_000)+`"}`), want: probes.Failed, status: 503, mention: "öö"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newREST(t)
			r.set("list", tc.list)
			r.set("availability", tc.avail)
			err := once(lagAware(t, r.options())).Run(t.Context(), r.target())
			harmless(t, err)
			if got := probes.OutcomeOf(err); got != tc.want {
				t.Errorf("%v, want %v: %v", got, tc.want, err)
			}
			if err == nil {
				return
			}
			var e *probes.RESTError
			if errors.As(err, &e) != (tc.status != 0) || e != nil && e.Status != tc.status {
				t.Errorf("%#v, want status %d", e, tc.status)
			}
			if tc.code != "" && (e.Code != tc.code || !strings.Contains(err.Error(), tc.code)) {
				t.Errorf("code %q in %v, want %q", e.Code, err, tc.code)
			}
			if !strings.Contains(err.Error(), tc.mention) || !strings.Contains(err.Error(), `"east"`) {
				t.Errorf("%v does not say %q of which database", err, tc.mention)
			}
			if len(err.Error()) > 1000 {
				t.Errorf("%d bytes of error", len(err.Error()))
			}
		})
	}
}

// An answer that is not read to its end must be let go of all the same, even if the
// caller's context goes on.
func TestLagAwareClosesEveryBody(t *testing.T) {
	for _, status := range []int{200, 204, 307, 401, 503} {
		for _, length := range []int{0, 10, 1 << 20, 5 << 20} {
			opened, closed := 0, 0
			client := &http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
				opened++
				body := body{strings.NewReader(strings.Repeat(" ", length)), &closed}
				return &http.Response{StatusCode: status, Body: body, Request: req}, nil
			})}
			p := lagAware(t, probes.LagAwareOptions{HTTPClient: client})
			if err := p.Check(t.Context(), probes.Target{Addr: "east:6379"}); err == nil || opened != 1 || closed == 0 {
				t.Errorf("%d with %d bytes: opened %d, closed %d: %v", status, length, opened, closed, err)
			}
		}
	}
}

type body struct {
	io.Reader
	closed *int
}

func (b body) Close() error { *b.closed++; return nil }

// endless sends until nobody listens any more.
func endless(w http.ResponseWriter, _ *http.Request) {
	chunk := []byte(strings.Repeat(" ", 1<<16))
	for {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

// trickle sends a byte every so often, for ever.
func trickle(w http.ResponseWriter, req *http.Request) {
	for req.Context().Err() == nil {
		_, _ = w.Write([]byte(" "))
		w.(http.Flusher).Flush()
		time.Sleep(5 * time.Millisecond)
	}
}

func TestLagAwareEndsInTime(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"silent":       func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() },
		"slow body":    trickle,
		"slow refusal": func(w http.ResponseWriter, req *http.Request) { w.WriteHeader(503); trickle(w, req) },
		"slow redirect": func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Location", "/x")
			w.WriteHeader(307)
			trickle(w, req)
		},
	} {
		for _, kind := range []string{"list", "availability"} {
			t.Run(name+" "+kind, func(t *testing.T) {
				r := newREST(t)
				r.set(kind, h)
				start := time.Now()
				err := probes.Check{Probe: lagAware(t, r.options()), Probes: 1, Timeout: 300 * time.Millisecond}.Run(t.Context(), r.target())
				if probes.OutcomeOf(err) != probes.Failed || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v, want a timeout", err)
				}
				if took := time.Since(start); took > 10*time.Second {
					t.Errorf("took %v", took)
				}
			})
		}
	}
}

func TestLagAwareLooksUpAgainWhatFailed(t *testing.T) {
	r := newREST(t)
	check := once(lagAware(t, r.options()))
	run := func() error { return check.Run(t.Context(), r.target()) }
	const list, seven, eight = "/v1/bdbs?fields=uid,endpoints", "/v1/bdbs/7/availability", "/v1/bdbs/8/availability"
	expect := func(step string, want ...string) {
		t.Helper()
		var got []string
		for _, uri := range r.seen() {
			got = append(got, strings.TrimSuffix(uri, "?extend_check=lag&availability_lag_tolerance_ms=5000"))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: asked %q, want %q", step, got, want)
		}
	}

	if err := run(); err != nil {
		t.Fatal(err)
	}
	expect("first", list, seven)

	// Created anew: the old uid is unknown, and the same probe finds the new one.
	r.mu.Lock()
	r.list = strings.Replace(twoDatabases, `"uid": 7,`, `"uid": 8,`, 1)
	r.mu.Unlock()
	r.set("availability", func(w http.ResponseWriter, req *http.Request) {
		if !strings.Contains(req.URL.Path, "/8/") {
			refuse(404, "")(w, req)
		}
	})
	if err := run(); err != nil {
		t.Error(err)
	}
	expect("created anew", seven, list, eight)

	// Unavailable: the uid may be right, but is asked for again afterwards.
	r.set("availability", refuse(503, ""))
	if err := run(); probes.OutcomeOf(err) != probes.Failed {
		t.Error(err)
	}
	expect("unavailable", eight)
	r.set("availability", refuse(200, ""))
	if err := run(); err != nil {
		t.Error(err)
	}
	expect("available again", list, eight)
	if err := run(); err != nil {
		t.Error(err)
	}
	expect("cached again", eight)

	// A caller that gives up proves nothing about the uid.
	r.set("availability", trickle)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := check.Run(ctx, r.target()); probes.OutcomeOf(err) != probes.NoVerdict {
		t.Error(err)
	}
	expect("given up", eight)
	r.set("availability", refuse(200, ""))
	if err := run(); err != nil {
		t.Error(err)
	}
	expect("after giving up", eight)
}

// uids of one cluster must not be asked of another.
func TestLagAwareKeepsDatabasesApart(t *testing.T) {
	a, b := newREST(t), newREST(t)
	b.list = strings.NewReplacer(`"uid": 7`, `"uid": 9`).Replace(twoDatabases)
	b.set("availability", refuse(200, ""))
	opt := a.options()
	opt.RootCAs.AddCert(b.Certificate())
	check := once(lagAware(t, opt))
	for range 2 {
		for _, r := range []*rest{a, b} {
			if err := check.Run(t.Context(), r.target()); err != nil {
				t.Error(err)
			}
		}
	}
	if got := fmt.Sprint(b.seen()); strings.Contains(got, "/7/") || strings.Count(got, "/9/") != 2 {
		t.Errorf("asked %s", got)
	}
}

// A password goes to the host it was given for, and to no other.
func TestLagAwareFollowsNoRedirect(t *testing.T) {
	thief := newREST(t)
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, kind := range []string{"list", "availability"} {
			r := newREST(t)
			r.set(kind, func(w http.ResponseWriter, req *http.Request) {
				u, _ := url.Parse(thief.URL)
				u.User = url.UserPassword(user, password)
				http.Redirect(w, req, u.String()+req.URL.RequestURI(), status)
			})
			opt := r.options()
			opt.RootCAs.AddCert(thief.Certificate())
			err := once(lagAware(t, opt)).Run(t.Context(), r.target())
			harmless(t, err)
			if probes.OutcomeOf(err) != probes.Failed || !strings.Contains(err.Error(), thief.URL) {
				t.Errorf("%d: %v, want a failure that names %s", status, err, thief.URL)
			}
			// Not even where a client of the user's would follow.
			client := r.Client()
			opt = probes.LagAwareOptions{Username: user, Password: password, HTTPClient: client}
			defer func() {
				if client.CheckRedirect != nil {
					t.Error("the user's client was changed")
				}
			}()
			if err := once(lagAware(t, opt)).Run(t.Context(), r.target()); probes.OutcomeOf(err) != probes.Failed {
				t.Errorf("%d: %v", status, err)
			}
		}
	}
	if got := thief.seen(); len(got) != 0 {
		t.Errorf("another host was asked: %q", got)
	}
	self := newREST(t)
	self.set("list", func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, "/v1/bdbs", http.StatusTemporaryRedirect)
	})
	if err := once(lagAware(t, self.options())).Run(t.Context(), self.target()); probes.OutcomeOf(err) != probes.Failed {
		t.Error(err)
	}
	if got := self.seen(); len(got) != 1 {
		t.Errorf("asked %q", got)
	}
}

func TestLagAwareCertificates(t *testing.T) {
	r := newREST(t)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	defaults := http.DefaultTransport.(*http.Transport).Clone()
	for name, tc := range map[string]struct {
		opt    probes.LagAwareOptions
		passes bool
	}{
		"the system's authorities": {probes.LagAwareOptions{}, false},
		"another authority":        {probes.LagAwareOptions{RootCAs: x509.NewCertPool()}, false},
		"its authority":            {probes.LagAwareOptions{RootCAs: r.roots()}, true},
		"its authority in a file":  {probes.LagAwareOptions{CAFile: file}, true},
		"not verified":             {probes.LagAwareOptions{InsecureSkipVerify: true}, true},
		"a client of the user's":   {probes.LagAwareOptions{HTTPClient: r.Client()}, true},
	} {
		tc.opt.Username, tc.opt.Password = user, password
		r.seen()
		err := once(lagAware(t, tc.opt)).Run(t.Context(), r.target())
		if (err == nil) != tc.passes {
			t.Errorf("%s: %v", name, err)
		}
		harmless(t, err)
		if !tc.passes {
			if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok || len(r.seen()) != 0 {
				t.Errorf("%s: %v; want the certificate to be refused before anything is sent", name, err)
			}
		}
	}
	// Right authority, wrong name: the certificate is for example.com and loopback.
	opt := r.options()
	db := r.target()
	db.HealthCheckURL = strings.Replace(r.URL, "127.0.0.1", "localhost", 1)
	if err := once(lagAware(t, opt)).Run(t.Context(), db); probes.OutcomeOf(err) != probes.Failed {
		t.Errorf("a certificate for another name: %v", err)
	}
	if now := http.DefaultTransport.(*http.Transport); now.TLSClientConfig != nil && now.TLSClientConfig.InsecureSkipVerify ||
		now.MaxIdleConnsPerHost != defaults.MaxIdleConnsPerHost {
		t.Error("http.DefaultTransport was changed")
	}
}

func TestLagAwareShowsItsOwnCertificate(t *testing.T) {
	cert, pool := clientCertificate(t)
	r := newREST(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	server.Config.ErrorLog = quietLog
	server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	server.StartTLS()
	defer server.Close()
	db := r.target()
	db.HealthCheckURL = server.URL

	opt := r.options() // both servers have httptest's certificate
	if err := once(lagAware(t, opt)).Run(t.Context(), db); probes.OutcomeOf(err) != probes.Failed || len(r.seen()) != 0 {
		t.Errorf("without a certificate: %v", err)
	}
	opt.Certificates = []tls.Certificate{cert}
	if err := once(lagAware(t, opt)).Run(t.Context(), db); err != nil {
		t.Error(err)
	}
}

// clientCertificate returns a certificate for a client, and the pool that trusts it.
func clientCertificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotAfter:     time.Now().Add(time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestLagAwareCredentialsOfTheURLWin(t *testing.T) {
	r := newREST(t)
	opt := r.options()
	opt.Username, opt.Password = "someone", "else"
	db := r.target()
	u, _ := url.Parse(r.URL)
	u.User = url.UserPassword(user, password)
	db.HealthCheckURL = u.String()
	check := once(lagAware(t, opt))
	if err := check.Run(t.Context(), db); err != nil {
		t.Error(err)
	}
	if err := check.Run(t.Context(), r.target()); probes.OutcomeOf(err) != probes.NotPermitted {
		t.Errorf("with the wrong ones: %v", err)
	}
	r.set("availability", refuse(503, ""))
	err := check.Run(t.Context(), db)
	harmless(t, err)
	r.Close()
	harmless(t, check.Run(t.Context(), db))
}

func TestLagAwareURLs(t *testing.T) {
	var asked []string
	client := &http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
		asked = append(asked, req.URL.String())
		return nil, errDown
	})}
	for _, tc := range []struct{ url, addr, want string }{
		{"", "east:6379", "https://east:9443/v1/bdbs"},
		{"", "[2001:db8::7]:6379", "https://[2001:db8::7]:9443/v1/bdbs"},
		{"https://api.example.com", "east:6379", "https://api.example.com:9443/v1/bdbs"},
		{"https://api.example.com:443/", "east:6379", "https://api.example.com:443/v1/bdbs"},
		{"https://api.example.com/redis/east/", "east:6379", "https://api.example.com:9443/redis/east/v1/bdbs"},
		{"https://[2001:db8::7]", "east:6379", "https://[2001:db8::7]:9443/v1/bdbs"},
		{"HTTPS://api", "east:6379", "https://api:9443/v1/bdbs"},
		{"http://localhost:8080", "east:6379", "http://localhost:8080/v1/bdbs"},
		{"http://" + user + ":hunter2@localhost", "east:6379", ""},
		{"https://me:hunter2%zz@east", "east:6379", ""},
		{"https://me:hunter2@east:port", "east:6379", ""},
		{"https://me:hunter2@east:99999", "east:6379", ""},
		{"https://me:hunter2@", "east:6379", ""},
		{"https://me:hunter2@east?x=1", "east:6379", ""},
		{"https://me:hunter2@east#x", "east:6379", ""},
		{"https://me:hunter2@ea st", "east:6379", ""},
		{"https:me:hunter2@east", "east:6379", ""},
		{"ftp://me:hunter2@east", "east:6379", ""},
		{"me:hunter2@east:9443", "east:6379", ""},
		{"east:9443", "east:6379", ""},
		{"", "", ""},
		{"", ":6379", ""},
		{"", "/run/redis.sock", ""},
	} {
		asked = nil
		p := lagAware(t, probes.LagAwareOptions{HTTPClient: client})
		err := p.Check(t.Context(), probes.Target{HealthCheckURL: tc.url, Addr: tc.addr})
		if err == nil {
			t.Errorf("%q passed", tc.url)
		}
		harmless(t, err)
		var want []string
		if tc.want != "" {
			want = []string{tc.want + "?fields=uid,endpoints"}
		}
		if fmt.Sprint(asked) != fmt.Sprint(want) {
			t.Errorf("%q: asked %q, want %q: %v", tc.url, asked, want, err)
		}
	}
	p := lagAware(t, probes.LagAwareOptions{HTTPClient: client, Port: 443})
	asked = nil
	_ = p.Check(t.Context(), probes.Target{Addr: "east:6379"})
	_ = p.Check(t.Context(), probes.Target{Addr: "east:6379", HealthCheckURL: "https://x:1"})
	if got := fmt.Sprint(asked); got != "[https://east:443/v1/bdbs?fields=uid,endpoints https://x:1/v1/bdbs?fields=uid,endpoints]" {
		t.Errorf("with Port 443: %s", got)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// No password without encryption, wherever it comes from.
func TestLagAwareSendsNoPasswordInTheClear(t *testing.T) {
	client := &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
		t.Error("a request was sent")
		return nil, errDown
	})}
	p := lagAware(t, probes.LagAwareOptions{HTTPClient: client, Username: user, Password: password})
	err := p.Check(t.Context(), probes.Target{Addr: "east:6379", HealthCheckURL: "http://east"})
	harmless(t, err)
	if err == nil {
		t.Error("passed")
	}
}

func TestLagAwareGatesUnlessToldToEvict(t *testing.T) {
	if p := lagAware(t, probes.LagAwareOptions{}); !probes.GatesOnly(p) || probes.Name(p) != "lag-aware" {
		t.Errorf("%s gates only: %v", probes.Name(p), probes.GatesOnly(p))
	}
	if p := lagAware(t, probes.LagAwareOptions{Evicts: true}); probes.GatesOnly(p) {
		t.Error("gates only although it is to evict")
	}
}

func TestLagAwareReportsEveryOption(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	for _, tc := range []struct {
		opt  probes.LagAwareOptions
		want []string
	}{
		{probes.LagAwareOptions{Tolerance: time.Microsecond, Port: 70000, Password: password, CAFile: "/no/such/file", RootCAs: pool, InsecureSkipVerify: true, HTTPClient: http.DefaultClient},
			[]string{"Tolerance = 1µs", "Port = 70000", "Username is empty", "CAFile: open /no/such/file", "RootCAs and CAFile", "InsecureSkipVerify is set", "HTTPClient is set"}},
		{probes.LagAwareOptions{CAFile: empty}, []string{"CAFile = "}},
		{probes.LagAwareOptions{Port: -1}, []string{"Port = -1"}},
		{probes.LagAwareOptions{HTTPClient: http.DefaultClient, Certificates: []tls.Certificate{{}}}, []string{"HTTPClient is set"}},
	} {
		p, err := probes.LagAware(tc.opt)
		if err == nil || p != nil {
			t.Errorf("%+v was accepted", tc.opt)
			continue
		}
		harmless(t, err)
		for _, want := range tc.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q is missing from: %v", want, err)
			}
		}
	}
}

func TestClosedLagAwareIsUsableAndHoldsNoConnection(t *testing.T) {
	r := newREST(t)
	p := lagAware(t, r.options())
	for range 2 {
		if err := once(p).Run(t.Context(), r.target()); err != nil {
			t.Error(err)
		}
		if err := probes.Close(p); err != nil {
			t.Error(err)
		}
	}
	if len(r.conns) != 2 {
		t.Errorf("%d connections, want a new one after Close", len(r.conns))
	}
}

func TestLagAwareIsSafeForConcurrentUse(t *testing.T) {
	r := newREST(t)
	check := once(lagAware(t, r.options()))
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 10 {
				if err := check.Run(t.Context(), r.target()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
