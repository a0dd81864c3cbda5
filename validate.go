package multidb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/replay"
	"github.com/redishook/multidb/probes"
)

// leastDuration is less than anybody means: what is shorter was written without a unit.
const leastDuration = 10 * time.Microsecond

// validate reports everything that is wrong, each problem with its field and what to change.
func (o *Options) validate() (replay.Rules, error) {
	var errs []error
	wrong := func(field string, value any, must string) {
		errs = append(errs, fmt.Errorf("%s = %v: %s", field, value, must))
	}
	if len(o.Databases) == 0 {
		wrong("Databases", "[]", "must have at least one database")
	}
	names := make(map[string]int)
	for i, db := range o.Databases {
		field := fmt.Sprintf("Databases[%d]", i)
		if err := db.validate(field); err != nil {
			errs = append(errs, err)
		}
		if first, ok := names[db.Name]; ok && !blank(db.Name) {
			wrong(field+".Name", fmt.Sprintf("%q", db.Name), fmt.Sprintf("must be unique, and Databases[%d] has it too", first))
		} else {
			names[db.Name] = i
		}
	}
	if err := sameKind(o.Databases); err != nil {
		errs = append(errs, err)
	}
	if o.Initial < InitialOne || o.Initial > InitialAll {
		wrong("Initial", int(o.Initial), "must be InitialOne, InitialMajority or InitialAll")
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"Health.Interval", o.Health.Interval}, {"Health.ActiveInterval", o.Health.ActiveInterval},
		{"Health.Timeout", o.Health.Timeout}, {"Breaker.Delay", o.Breaker.Delay},
		{"Failback.MaxGracePeriod", o.Failback.MaxGracePeriod},
		{"Retry.MinBackoff", o.Retry.MinBackoff}, {"Retry.MaxBackoff", o.Retry.MaxBackoff},
	} {
		if d.value <= 0 {
			wrong(d.field, d.value, "must be > 0 (0 is the default, and it cannot be switched off)")
		}
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"Health.Interval", o.Health.Interval}, {"Health.ActiveInterval", o.Health.ActiveInterval},
		{"Health.Timeout", o.Health.Timeout}, {"Health.StallTimeout", o.Health.StallTimeout},
		{"Breaker.Delay", o.Breaker.Delay}, {"Failback.GracePeriod", o.Failback.GracePeriod},
		{"Failback.MaxGracePeriod", o.Failback.MaxGracePeriod}, {"MaxWait", o.MaxWait},
	} {
		if 0 < d.value && d.value < leastDuration {
			wrong(d.field, d.value, fmt.Sprintf("must be >= %v: a bare number counts nanoseconds, write %d * time.Second", leastDuration, int64(d.value)))
		}
	}
	if o.Retry.MinBackoff > 0 && o.Retry.MaxBackoff > 0 && o.Retry.MaxBackoff <= o.Retry.MinBackoff {
		wrong("Retry.MaxBackoff", o.Retry.MaxBackoff, fmt.Sprintf("must be > Retry.MinBackoff (%v)", o.Retry.MinBackoff))
	}
	if o.Failback.GracePeriod > 0 && o.Failback.MaxGracePeriod < o.Failback.GracePeriod {
		wrong("Failback.MaxGracePeriod", o.Failback.MaxGracePeriod,
			fmt.Sprintf("must be >= Failback.GracePeriod (%v)", o.Failback.GracePeriod))
	}
	if !(o.Failback.Factor >= 1) || o.Failback.Factor > 1e6 {
		wrong("Failback.Factor", o.Failback.Factor, "must be >= 1 (1: no growth; 0: the default)")
	}
	if o.Failback.Jitter > 1 || o.Failback.Jitter != o.Failback.Jitter {
		wrong("Failback.Jitter", o.Failback.Jitter, "must be <= 1 (negative: none)")
	}
	if o.Breaker.Successes <= 0 {
		wrong("Breaker.Successes", o.Breaker.Successes, "must be > 0 (0 is the default)")
	}
	if err := probes.Checks(o.Health.Checks).Validate(); err != nil {
		errs = append(errs, prefixed("Health.Checks", err))
	}
	for i, d := range o.Detectors {
		if err := d.Validate(); err != nil {
			errs = append(errs, prefixed(fmt.Sprintf("Detectors[%d]: ", i), err))
		}
	}
	rules, err := o.replayRules()
	if err != nil {
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return rules, nil
	}
	return rules, fmt.Errorf("multidb: options: %w", errors.Join(errs...))
}

// validate reports everything that is wrong with one database.
func (d Database) validate(field string) error {
	var errs []error
	wrong := func(name string, value any, must string) {
		errs = append(errs, fmt.Errorf("%s%s = %v: %s", field, name, value, must))
	}
	if blank(d.Name) {
		wrong(".Name", fmt.Sprintf("%q", d.Name), "must be set, to more than white space")
	}
	if err := validWeight(d.Weight); err != nil {
		wrong(".Weight", d.Weight, "must be > 0 and finite (0 is the default, 1)")
	}
	sources := 0
	for _, has := range []bool{d.URL != "", d.Options != nil, d.Failover != nil, d.Client != nil, d.Cluster != nil} {
		if has {
			sources++
		}
	}
	if sources != 1 {
		wrong("", fmt.Sprintf("%q", d.Name), fmt.Sprintf("must have exactly one of URL, Options, Failover, Client and Cluster, has %d", sources))
	}
	switch {
	case isClusterURL(d.URL):
		validateClusterURL(d.URL, wrong)
	case d.URL != "":
		validateURL(d.URL, wrong)
	}
	if d.HealthCheckURL != "" {
		validateHealthCheckURL(d.HealthCheckURL, wrong)
	}
	if opt := d.Options; opt != nil {
		validateLogin(".Options", opt.DB, opt.Protocol, opt.StreamingCredentialsProvider != nil, wrong)
		validatePlace(opt, wrong)
	}
	if d.Failover != nil {
		validateFailover(d.Failover, wrong)
	}
	if d.Client != nil {
		validateClient(d.Client, wrong)
	}
	if d.Cluster != nil {
		validateCluster(d.Cluster, wrong)
	}
	if err := probes.Checks(d.Checks).Validate(); err != nil {
		errs = append(errs, prefixed(field+".Checks", err))
	}
	return errors.Join(errs...)
}

// complaint takes what is wrong with a field of a database: its name, its value, and what it must be.
type complaint func(name string, value any, must string)

// unsaid stands for a value that may hold a password. A URL whose password has a character that must be escaped is split
// in the wrong places, so that any part of it may be a part of the password.
const unsaid = `"…"`

const mustHavePort = "must be host:port, with a port from 1 to 65535"

func validateURL(raw string, wrong complaint) {
	if !strings.Contains(raw, "://") {
		wrong(".URL", unsaid, "has no scheme: write redis:// before it, or rediss:// for TLS")
		return
	}
	opt, err := redis.ParseURL(raw)
	if err != nil {
		wrong(".URL", unsaid, fmt.Sprintf("does not parse: %v", redactURL(raw, err)))
		return
	}
	if opt.DB < 0 {
		wrong(".URL", unsaid, "must not have a negative database index")
	}
	if !knownProtocol(opt.Protocol) {
		wrong(".URL", unsaid, "must have protocol=2, protocol=3 or no protocol")
	}
	if opt.Network == "tcp" && !dialable(opt.Addr) {
		wrong(".URL", unsaid, "must have a port from 1 to 65535, or none")
	}
}

// validateHealthCheckURL reports what no probe could use. A probe may ask for more.
func validateHealthCheckURL(raw string, wrong complaint) {
	const must = "must be https://[user:password@]host[:port][/path], or the same with http, with user and password percent-encoded"
	u, err := url.Parse(raw)
	switch {
	case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "":
		wrong(".HealthCheckURL", unsaid, must) // what the parser says may quote the password
	case u.Port() != "" && !dialable(net.JoinHostPort(u.Hostname(), u.Port())):
		wrong(".HealthCheckURL", unsaid, "must have a port from 1 to 65535, or none")
	}
}

// validateLogin reports what go-redis would ignore or replace in silence, and what this package cannot do.
func validateLogin(name string, index, protocol int, streaming bool, wrong complaint) {
	if index < 0 {
		wrong(name+".DB", index, "must not be negative")
	}
	if !knownProtocol(protocol) {
		wrong(name+".Protocol", protocol, "must be 2 or 3 (0 is the default)")
	}
	if streaming {
		wrong(name+".StreamingCredentialsProvider", "set", "is not supported; use CredentialsProviderContext")
	}
}

// validatePlace reports a place that cannot be dialed. What a place is called is the dialer's business if the caller
// brings one.
func validatePlace(opt *redis.Options, wrong complaint) {
	if opt.Dialer != nil {
		return
	}
	switch opt.Network {
	case "tcp", "tcp4", "tcp6":
		if opt.Addr != "" && !dialable(opt.Addr) { // go-redis has a default for none at all, and none for the port alone
			wrong(".Options.Addr", sayable(opt.Addr), mustHavePort)
		}
	case "":
		if opt.Addr != "" && !dialableOrSocket(opt.Addr) {
			wrong(".Options.Addr", sayable(opt.Addr), mustHavePort)
		}
	case "unix":
		if opt.Addr == "" {
			wrong(".Options.Addr", `""`, "must be the path of the socket")
		}
	default:
		wrong(".Options.Network", fmt.Sprintf("%q", opt.Network), "must be tcp, tcp4, tcp6 or unix, or come with a Dialer")
	}
}

func validateFailover(opt *redis.FailoverOptions, wrong complaint) {
	if opt.MasterName == "" || len(opt.SentinelAddrs) == 0 {
		wrong(".Failover", "…", "must have MasterName and SentinelAddrs")
	}
	for i, addr := range opt.SentinelAddrs {
		if opt.Dialer == nil && !dialableOrSocket(addr) {
			wrong(fmt.Sprintf(".Failover.SentinelAddrs[%d]", i), sayable(addr), mustHavePort)
		}
	}
	// These two make a cluster client of it, and redis.NewFailoverClient panics.
	if opt.RouteByLatency {
		wrong(".Failover.RouteByLatency", true, "must be false: connections go to the master")
	}
	if opt.RouteRandomly {
		wrong(".Failover.RouteRandomly", true, "must be false: connections go to the master")
	}
	if opt.ReplicaOnly {
		wrong(".Failover.ReplicaOnly", true, "must be false: connections go to the master, and a replica takes no writes")
	}
	validateLogin(".Failover", opt.DB, opt.Protocol, opt.StreamingCredentialsProvider != nil, wrong)
}

// validateClient does not look at the address: whether the client has a dialer of its own cannot be told once it is made.
func validateClient(c *redis.Client, wrong complaint) {
	if reflect.ValueOf(c).Elem().IsZero() {
		wrong(".Client", "&redis.Client{}", "must come from redis.NewClient or redis.NewFailoverClient")
		return
	}
	opt := c.Options()
	validateLogin(".Client.Options()", opt.DB, opt.Protocol, opt.StreamingCredentialsProvider != nil, wrong)
}

func blank(name string) bool { return strings.TrimSpace(name) == "" }

// knownProtocol reports whether go-redis speaks that RESP. It replaces what is too small and asks the server for what is
// too large.
func knownProtocol(n int) bool { return n == 0 || n == 2 || n == 3 }

// dialable reports whether a TCP address has a port that can be dialed, by number or by the name of a service.
func dialable(addr string) bool {
	host, service, err := net.SplitHostPort(addr)
	if err != nil || strings.Contains(host, "@") {
		return false
	}
	port, err := net.LookupPort("tcp", service)
	return err == nil && port > 0
}

// dialableOrSocket is dialable where go-redis takes a path for that of a Unix socket.
func dialableOrSocket(addr string) bool { return strings.HasPrefix(addr, "/") || dialable(addr) }

// sayable quotes an address, unless it looks like a URL or has a user in it.
func sayable(addr string) string {
	if strings.ContainsAny(addr, "@/") {
		return unsaid
	}
	return fmt.Sprintf("%q", addr)
}

// requireContext says it in words, before anything has started: a nil context would panic somewhere inside.
func requireContext(ctx context.Context, method string) error {
	if ctx == nil {
		return fmt.Errorf("multidb: %s: ctx = nil: must be a context (context.Background() is one that never ends)", method)
	}
	return nil
}

// prefixed puts the name of the field before each line of a joined error.
func prefixed(field string, err error) error {
	var all []error
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		for _, e := range joined.Unwrap() {
			all = append(all, fmt.Errorf("%s%w", field, e))
		}
		return errors.Join(all...)
	}
	return fmt.Errorf("%s%w", field, err)
}

// String returns the name of the constant.
func (i Initial) String() string {
	switch i {
	case InitialOne:
		return "InitialOne"
	case InitialMajority:
		return "InitialMajority"
	case InitialAll:
		return "InitialAll"
	}
	return fmt.Sprintf("Initial(%d)", int(i))
}

// anyTLS reports whether a database is reached by TLS.
func (o *Options) anyTLS() bool {
	return slices.ContainsFunc(o.Databases, func(db Database) bool {
		return strings.HasPrefix(db.URL, "rediss://") || db.Options != nil && db.Options.TLSConfig != nil
	})
}

// warnOfSamePlaces finds databases that are one and the same. What a Dialer leads to is not known, nor who is master of a group.
func (h *Hook) warnOfSamePlaces() {
	seen := make(map[string]string)
	for _, db := range h.opt.Databases {
		opt := db.Options
		if db.URL != "" {
			opt, _ = redis.ParseURL(db.URL) // it has been validated
		}
		if opt == nil || opt.Dialer != nil || opt.Addr == "" {
			continue
		}
		place := fmt.Sprint(opt.Network, " ", opt.Addr, " ", opt.DB)
		if first, ok := seen[place]; ok {
			h.events.Push(func() {
				h.events.Log.Warn("multidb: two databases have the same address and index: a failover between them changes nothing",
					"database", first, "other", db.Name)
			})
			continue
		}
		seen[place] = db.Name
	}
}
