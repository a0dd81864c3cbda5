package optioncheck

import (
	"fmt"
	"net"
	"net/url"
	"reflect"
	"strings"

	"github.com/redis/go-redis/v9"
)

// The options of a single database.

// URL reports what is wrong with the URL of a single database.
func URL(raw string, wrong Complaint) {
	if !strings.Contains(raw, "://") {
		wrong(".URL", unsaid, "has no scheme: write redis:// before it, or rediss:// for TLS")
		return
	}
	opt, err := redis.ParseURL(raw)
	if err != nil {
		wrong(".URL", unsaid, fmt.Sprintf("does not parse: %v", RedactURL(raw, err)))
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

// HealthCheckURL reports what no probe could use. A probe may ask for more.
func HealthCheckURL(raw string, wrong Complaint) {
	const must = "must be https://[user:password@]host[:port][/path], or the same with http, with user and password percent-encoded"
	u, err := url.Parse(raw)
	switch {
	case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "":
		wrong(".HealthCheckURL", unsaid, must) // what the parser says may quote the password
	case u.Port() != "" && !dialable(net.JoinHostPort(u.Hostname(), u.Port())):
		wrong(".HealthCheckURL", unsaid, "must have a port from 1 to 65535, or none")
	}
}

// login reports what go-redis would ignore or replace in silence, and what this package cannot do.
func login(name string, index, protocol int, streaming bool, wrong Complaint) {
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

// place reports a place that cannot be dialed. What a place is called is the dialer's business if the caller
// brings one.
func place(opt *redis.Options, wrong Complaint) {
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

// Options reports what is wrong with the options of a client.
func Options(opt *redis.Options, wrong Complaint) {
	login(".Options", opt.DB, opt.Protocol, opt.StreamingCredentialsProvider != nil, wrong)
	place(opt, wrong)
}

// Failover reports what is wrong with a group that Sentinel watches.
func Failover(opt *redis.FailoverOptions, wrong Complaint) {
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
	login(".Failover", opt.DB, opt.Protocol, opt.StreamingCredentialsProvider != nil, wrong)
}

// Client reports what is wrong with a client. It does not look at the address: whether the client has a dialer of its own cannot
// be told once it is made.
func Client(client redis.UniversalClient, wrong Complaint) {
	value := reflect.ValueOf(client)
	if value.Kind() == reflect.Pointer && (value.IsNil() || value.Elem().IsZero()) {
		wrong(".Client", "not made", "must come from redis.NewClient, redis.NewFailoverClient or redis.NewClusterClient")
		return
	}
	switch c := client.(type) {
	case *redis.Client:
		opt := c.Options()
		login(".Client.Options()", opt.DB, opt.Protocol, opt.StreamingCredentialsProvider != nil, wrong)
	case *redis.ClusterClient:
		Cluster(".Client.Options()", c.Options(), wrong)
	default:
		wrong(".Client", fmt.Sprintf("%T", client), "must be a *redis.Client or a *redis.ClusterClient")
	}
}
