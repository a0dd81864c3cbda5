package fakeserver

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/resp"
	"github.com/redishook/multidb/internal/testkit"
)

// InstantCluster is a Redis Cluster without a network: see [Instant]. All slots are split evenly among its masters.
type InstantCluster struct {
	slots string // the reply to CLUSTER SLOTS
	addr  string // of the first master
}

// NewInstantCluster makes one. Its masters are name0:6379, name1:6379 and so on.
func NewInstantCluster(name string, masters int) *InstantCluster {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", masters)
	for i := range masters {
		host := fmt.Sprint(name, i)
		fmt.Fprintf(&b, "*3\r\n:%d\r\n:%d\r\n*3\r\n$%d\r\n%s\r\n:6379\r\n$40\r\n%040d\r\n",
			i*16384/masters, (i+1)*16384/masters-1, len(host), host, i)
	}
	return &InstantCluster{slots: b.String(), addr: name + "0:6379"}
}

// Options returns options of a client of the cluster.
func (c *InstantCluster) Options() *redis.ClusterOptions {
	return &redis.ClusterOptions{
		Addrs: []string{c.addr}, Protocol: 2, DisableIdentity: true, MaintNotificationsConfig: testkit.MaintenanceOff(),
		Dialer: func(context.Context, string, string) (net.Conn, error) { return &instantNode{cluster: c}, nil },
	}
}

// instantNode is a connection to a node. It answers SET at once, and everything else request by request.
type instantNode struct {
	Instant
	cluster *InstantCluster
}

var setRequest = []byte("*3\r\n$3\r\nset\r\n")

// Write takes requests.
func (c *instantNode) Write(p []byte) (int, error) {
	if bytes.HasPrefix(p, setRequest) {
		c.reply = "+OK\r\n"
		return len(p), nil
	}
	for rest := p; len(rest) > 0; {
		args, more, ok := resp.Parse(rest)
		if !ok {
			return 0, fmt.Errorf("not a whole request: %q", rest)
		}
		c.reply += c.cluster.answer(strings.ToLower(strings.Join(args, " ")))
		rest = more
	}
	return len(p), nil
}

// Read returns what has been answered and not been read.
func (c *instantNode) Read(p []byte) (int, error) {
	n := copy(p, c.reply)
	c.reply = c.reply[n:]
	return n, nil
}

func (c *InstantCluster) answer(request string) string {
	name, _, _ := strings.Cut(request, " ")
	switch {
	case name == "hello":
		return "*0\r\n"
	case name == "ping":
		return "+PONG\r\n"
	case name == "command":
		return "*1\r\n*6\r\n$3\r\nset\r\n:-3\r\n*1\r\n+write\r\n:1\r\n:1\r\n:1\r\n"
	case name == "config":
		return "*2\r\n$20\r\ncluster-node-timeout\r\n$5\r\n15000\r\n"
	case request == "cluster info":
		const text = "cluster_state:ok\r\ncluster_current_epoch:1\r\ncluster_my_epoch:1\r\n"
		return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text)
	case request == "cluster myid":
		return fmt.Sprintf("$40\r\n%040d\r\n", 0)
	case request == "cluster slots":
		return c.slots
	}
	return "+OK\r\n"
}
