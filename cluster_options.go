package multidb

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/cluster"
	"github.com/redishook/multidb/internal/goredis"
)

// Options of databases that are clusters.

// errNotAttached says that a hook whose databases are clusters was given to a client by AddHook.
var errNotAttached = errors.New("the databases of this hook are clusters: use Hook.Attach with a *redis.ClusterClient")

// isCluster reports whether the database is a cluster, as far as its options tell.
func (d Database) isCluster() bool {
	return d.Cluster != nil || isClusterURL(d.URL)
}

// isClusterURL reports whether a URL names more than one node (addr=), which makes it one of a cluster.
func isClusterURL(raw string) bool {
	if raw == "" {
		return false
	}
	u, err := url.Parse(raw)
	return err == nil && (u.Scheme == "redis" || u.Scheme == "rediss") && u.Query().Has("addr")
}

// clusterOptions are those of a database that is a cluster, nil for others.
func (d Database) clusterOptions() (*redis.ClusterOptions, error) {
	if !isClusterURL(d.URL) {
		return d.Cluster, nil
	}
	opt, err := redis.ParseClusterURL(d.URL)
	if err != nil {
		return nil, fmt.Errorf("URL: %w", redactURL(d.URL, err))
	}
	return opt, nil
}

// clusterSeams tries, once in a process, what a hook on a ClusterClient leans on.
var clusterSeams = sync.OnceValue(func() error {
	return goredis.TryCluster(func() error { return goredis.NoRetry(commandError(nil, true, io.EOF)) }).Err()
})

// trySeams returns an error if a database is a cluster and this version of go-redis does not do what routing needs: it would
// run a command again that was sent and not answered, or not follow a switch.
func trySeams(dbs []Database) error {
	for _, d := range dbs {
		if d.isCluster() {
			if err := clusterSeams(); err != nil {
				return fmt.Errorf("multidb: clusters cannot be used with this version of go-redis: %w", err)
			}
		}
	}
	return nil
}

// sameKind reports databases of both kinds.
func sameKind(dbs []Database) error {
	var errs []error
	first, loopback, remote := -1, -1, -1
	for i, d := range dbs {
		if d.isCluster() && first < 0 {
			first = i
		}
	}
	for i, d := range dbs {
		if first >= 0 && !d.isCluster() {
			errs = append(errs, fmt.Errorf("Databases[%d] = %q: must be a cluster, because Databases[%d] is one", i, d.Name, first))
		}
		if opt, err := d.clusterOptions(); err == nil && opt != nil && len(opt.Addrs) > 0 {
			if host, _, err := net.SplitHostPort(opt.Addrs[0]); err == nil && cluster.IsLoopback(host) {
				loopback = i
			} else {
				remote = i
			}
		}
	}
	if loopback >= 0 && remote >= 0 {
		errs = append(errs, fmt.Errorf("Databases[%d].Cluster.Addrs: must not be of this machine, because those of Databases[%d] are not: "+
			"go-redis would replace the host of its nodes", loopback, remote))
	}
	return errors.Join(errs...)
}

// validateCluster reports what is not a cluster's to say, and what this package cannot do.
func validateCluster(opt *redis.ClusterOptions, wrong complaint) {
	if len(opt.Addrs) == 0 {
		wrong(".Cluster.Addrs", "[]", "must have the address of a node at least")
	}
	for i, addr := range opt.Addrs {
		if !dialable(addr) && (opt.Dialer == nil || !strings.Contains(addr, ":")) {
			wrong(fmt.Sprintf(".Cluster.Addrs[%d]", i), sayable(addr), mustHavePort)
		}
	}
	if opt.ClusterSlots != nil {
		wrong(".Cluster.ClusterSlots", "set", "must be nil: the nodes are asked for the topology")
	}
	if opt.NewClient != nil {
		wrong(".Cluster.NewClient", "set", "must be nil")
	}
	for name, set := range map[string]bool{
		"ReadOnly": opt.ReadOnly, "RouteByLatency": opt.RouteByLatency, "RouteRandomly": opt.RouteRandomly,
	} {
		if set {
			wrong(".Cluster."+name, true, "must be false: set it on the client that has the hook")
		}
	}
	validateLogin(".Cluster", 0, opt.Protocol, opt.StreamingCredentialsProvider != nil, wrong)
}

// validateClusterURL is validateURL for a URL with addr=.
func validateClusterURL(raw string, wrong complaint) {
	opt, err := redis.ParseClusterURL(raw)
	if err != nil {
		wrong(".URL", unsaid, fmt.Sprintf("does not parse: %v", redactURL(raw, err)))
		return
	}
	for _, addr := range opt.Addrs {
		if !dialable(addr) {
			wrong(".URL", unsaid, "must have a port from 1 to 65535 for each node, or none")
		}
	}
	validateCluster(opt, func(name string, value any, must string) {
		wrong(".URL", unsaid, fmt.Sprintf("must not say %s: %s", strings.TrimPrefix(name, ".Cluster."), must))
	})
}
