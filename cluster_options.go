package multidb

import (
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/cluster"
	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/optioncheck"
)

// Options of databases that are clusters.

// isCluster reports whether the database is a cluster, as far as its options tell.
func (d Database) isCluster() bool {
	_, client := d.Client.(*redis.ClusterClient)
	return client || d.Cluster != nil || optioncheck.IsClusterURL(d.URL)
}

// clusterOptions are those of a database that is a cluster, nil for others.
func (d Database) clusterOptions() (*redis.ClusterOptions, error) {
	if client, ok := d.Client.(*redis.ClusterClient); ok && client != nil && !reflect.ValueOf(client).Elem().IsZero() {
		return client.Options(), nil
	}
	if !optioncheck.IsClusterURL(d.URL) {
		return d.Cluster, nil
	}
	opt, err := redis.ParseClusterURL(d.URL)
	if err != nil {
		return nil, fmt.Errorf("URL: %w", optioncheck.RedactURL(d.URL, err))
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
