package probes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"
)

const (
	defaultTolerance   = 5 * time.Second
	defaultRESTPort    = 9443
	defaultRESTTimeout = 10 * time.Second
)

// LagAwareOptions are the options of [LagAware]. The zero value is valid, but a
// cluster asks for Username and Password, and its certificate is self-signed unless
// its operator has replaced it.
type LagAwareOptions struct {
	// Tolerance is the replication lag up to which a database is available, to the
	// millisecond. 0 = 5 s. Negative = lag is not asked for, only availability: what
	// a cluster older than Redis Software 8.0.2 can answer.
	Tolerance time.Duration

	// Username and Password are sent as HTTP basic authentication, to every database
	// whose HealthCheckURL has none of its own. The role db_viewer is enough.
	Username, Password string

	// Port is used where HealthCheckURL has none. 0 = 9443.
	Port int

	// RootCAs are the certificate authorities to trust, CAFile a PEM file of them,
	// read once. Set one of the two. Default: those of the system.
	RootCAs *x509.CertPool
	CAFile  string

	// Certificates are offered to a cluster that asks for a client certificate.
	Certificates []tls.Certificate

	// InsecureSkipVerify accepts any certificate. The password then goes to whoever
	// answers. Default: off.
	InsecureSkipVerify bool

	// HTTPClient is used instead of a client of the probe's own. Then RootCAs, CAFile, Certificates
	// and InsecureSkipVerify are up to it and must not be set. It is neither changed nor closed.
	// Its CheckRedirect is not used. Default: a client like http.DefaultClient, on a transport of
	// its own, with a timeout of 10 s.
	HTTPClient *http.Client

	// Evicts makes the probe one like any other: the active database is left when it
	// fails. Default: off, the probe gates only; see [GatesOnly].
	Evicts bool
}

// lagProbe is LagAware. Its http client follows no redirects.
type lagProbe struct {
	http      *http.Client
	transport *http.Transport // our own, or nil
	username  string
	password  string
	port      int
	tolerance time.Duration // negative = do not ask for lag
	evicts    bool

	mu   sync.Mutex
	uids map[uidKey]int64 // guarded by mu
}

// uidKey is what the uid of a database was found by.
type uidKey struct{ base, addrs string }

// LagAware returns a probe that asks the REST API of a Redis Software cluster whether a database is
// available and its lag within a tolerance:
//
//	GET /v1/bdbs?fields=uid,endpoints
//	GET /v1/bdbs/{uid}/availability?extend_check=lag&availability_lag_tolerance_ms=5000
//
// The first request finds the database by its endpoint, which has the port of [Target.Addr]. Its
// DNS name, or else one of its addresses, is the host. What it found is kept until an answer is not
// what it should be. The API is at [Target.HealthCheckURL].
//
// By default it has a say only before a move TO a database; see [GatesOnly].
//
// Redirects are not followed: the password is for the host that was named. A node
// that redirects to the primary node fails the probe with an error that names the
// host; give a HealthCheckURL that needs no redirect. Plain http is accepted only
// where there is no password to send.
//
// The error has the error_code and description of the answer, as [*RESTError]; 401
// and 403 are [ErrNotPermitted]. No error contains a password.
//
// Lag is known to Redis Software since 8.0.2, and not to Redis Cloud. It follows
// https://redis.io/docs/latest/operate/rs/references/rest-api/requests/bdbs/availability/.
//
// [Close] closes idle connections to the API, unless they are of an HTTPClient given. The probe may
// be used again afterwards.
//
// The options are copied. All problems with them are reported at once, each with
// the name of its field. Safe for concurrent use.
func LagAware(opt LagAwareOptions) (Probe, error) {
	roots, problems := opt.roots()
	problems = append(problems, opt.problems()...)
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}

	p := &lagProbe{
		username:  opt.Username,
		password:  opt.Password,
		port:      opt.Port,
		tolerance: opt.Tolerance,
		evicts:    opt.Evicts,
		uids:      make(map[uidKey]int64),
	}
	if p.port == 0 {
		p.port = defaultRESTPort
	}
	if p.tolerance == 0 {
		p.tolerance = defaultTolerance
	}
	if opt.HTTPClient != nil {
		c := *opt.HTTPClient
		p.http = &c
	} else {
		p.transport = newTransport(&tls.Config{
			RootCAs:            roots,
			Certificates:       append([]tls.Certificate(nil), opt.Certificates...),
			InsecureSkipVerify: opt.InsecureSkipVerify,
		})
		p.http = &http.Client{Transport: p.transport, Timeout: defaultRESTTimeout}
	}
	p.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return p, nil
}

func newTransport(config *tls.Config) *http.Transport {
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	// A program may have replaced the default by something else.
	if def, ok := http.DefaultTransport.(*http.Transport); ok {
		t = def.Clone()
	}
	t.TLSClientConfig = config
	t.DialTLSContext = nil // would bypass config
	t.MaxIdleConnsPerHost = 1
	t.IdleConnTimeout = 90 * time.Second
	return t
}

// roots returns the certificate authorities to trust, nil for the system's.
func (opt LagAwareOptions) roots() (*x509.CertPool, []error) {
	if opt.CAFile == "" {
		return opt.RootCAs, nil
	}
	pem, err := os.ReadFile(opt.CAFile)
	if err != nil {
		return nil, []error{fmt.Errorf("CAFile: %w", err)}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, []error{fmt.Errorf("CAFile = %q; has no certificate in PEM form", opt.CAFile)}
	}
	return pool, nil
}

// problems reports also what would be ignored without a word.
func (opt LagAwareOptions) problems() []error {
	var problems []error
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }

	if opt.Tolerance > 0 && opt.Tolerance < time.Millisecond {
		add("Tolerance = %v; must be at least 1ms, or negative for no tolerance to be asked for", opt.Tolerance)
	}
	if opt.Port < 0 || opt.Port > 65535 {
		add("Port = %d; must be from 1 to 65535, or 0 for %d", opt.Port, defaultRESTPort)
	}
	if opt.Username == "" && opt.Password != "" {
		add("Username is empty; must be set where Password is")
	}
	if opt.RootCAs != nil && opt.CAFile != "" {
		add("RootCAs and CAFile are both set; set one")
	}
	if opt.InsecureSkipVerify && (opt.RootCAs != nil || opt.CAFile != "") {
		add("InsecureSkipVerify is set; RootCAs and CAFile would not be used")
	}
	if opt.HTTPClient != nil && (opt.RootCAs != nil || opt.CAFile != "" || opt.Certificates != nil || opt.InsecureSkipVerify) {
		add("HTTPClient is set; RootCAs, CAFile, Certificates and InsecureSkipVerify would not be used")
	}
	return problems
}

func (*lagProbe) String() string    { return "lag-aware" }
func (p *lagProbe) GatesOnly() bool { return !p.evicts }

func (p *lagProbe) Close() error {
	if p.transport != nil {
		p.transport.CloseIdleConnections()
	}
	return nil
}

// Check looks the database up if need be, and asks for its availability.
func (p *lagProbe) Check(ctx context.Context, db Target) error {
	addrs := addresses(db)
	api, err := p.endpoint(db.HealthCheckURL, addrs)
	if err != nil {
		return err
	}
	key := uidKey{base: api.base, addrs: fmt.Sprint(addrs)}

	uid, cached := p.cached(key)
	if cached {
		err := api.available(ctx, uid, p.tolerance)
		if err == nil || ctx.Err() != nil {
			return err
		}
		// It may have been created anew, or the name of the host may have moved to
		// another cluster, where this uid is someone else's.
		p.forget(key)
		if rest, ok := errors.AsType[*RESTError](err); !ok || rest.Status != http.StatusNotFound {
			return err
		}
	}
	if uid, err = api.find(ctx, addrs); err != nil {
		return err
	}
	if err := api.available(ctx, uid, p.tolerance); err != nil {
		return err
	}
	p.keep(key, uid)
	return nil
}

func (p *lagProbe) cached(key uidKey) (uid int64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	uid, ok = p.uids[key]
	return uid, ok
}

func (p *lagProbe) keep(key uidKey, uid int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.uids[key] = uid
}

func (p *lagProbe) forget(key uidKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.uids, key)
}
