package optioncheck

import (
	"fmt"
	"net/url"
	"reflect"
	"strings"

	"github.com/redis/go-redis/v9"
)

// The options of a database that is a cluster.

// IsClusterURL reports whether a URL names more than one node (addr=), which makes it one of a cluster.
func IsClusterURL(raw string) bool {
	if raw == "" {
		return false
	}
	u, err := url.Parse(raw)
	return err == nil && (u.Scheme == "redis" || u.Scheme == "rediss") && u.Query().Has("addr")
}

// Cluster reports what is not a cluster's to say, and what this package cannot do. name is the field of the options.
func Cluster(name string, opt *redis.ClusterOptions, wrong Complaint) {
	if len(opt.Addrs) == 0 {
		wrong(name+".Addrs", "[]", "must have the address of a node at least")
	}
	for i, addr := range opt.Addrs {
		if !dialable(addr) && (opt.Dialer == nil || !strings.Contains(addr, ":")) {
			wrong(fmt.Sprintf("%s.Addrs[%d]", name, i), sayable(addr), mustHavePort)
		}
	}
	if opt.ClusterSlots != nil {
		wrong(name+".ClusterSlots", "set", "must be nil: the nodes are asked for the topology")
	}
	if opt.NewClient != nil && reflect.ValueOf(opt.NewClient).Pointer() != reflect.ValueOf(redis.NewClient).Pointer() {
		wrong(name+".NewClient", "set", "must be nil")
	}
	for field, set := range map[string]bool{
		"ReadOnly": opt.ReadOnly, "RouteByLatency": opt.RouteByLatency, "RouteRandomly": opt.RouteRandomly,
	} {
		if set {
			wrong(name+"."+field, true, "must be false: set it on the client that has the hook")
		}
	}
	login(name, 0, opt.Protocol, opt.StreamingCredentialsProvider != nil, wrong)
}

// ClusterURL is URL for a URL with addr=.
func ClusterURL(raw string, wrong Complaint) {
	opt, err := redis.ParseClusterURL(raw)
	if err != nil {
		wrong(".URL", unsaid, fmt.Sprintf("does not parse: %v", RedactURL(raw, err)))
		return
	}
	for _, addr := range opt.Addrs {
		if !dialable(addr) {
			wrong(".URL", unsaid, "must have a port from 1 to 65535 for each node, or none")
		}
	}
	Cluster(".Cluster", opt, func(name string, value any, must string) {
		wrong(".URL", unsaid, fmt.Sprintf("must not say %s: %s", strings.TrimPrefix(name, ".Cluster."), must))
	})
}
