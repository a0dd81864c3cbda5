package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// Groups that real sentinels watch.

// Group is a master, a replica of it, and a sentinel that watches them under the name GroupName.
type Group struct {
	Master, Replica *Redis
	Sentinel        string // its address
}

// GroupName is the name that sentinels know a Group by.
const GroupName = "group"

// StartGroup starts one, and ends it with the test.
func StartGroup(t testing.TB) *Group {
	t.Helper()
	g := &Group{Master: Start(t), Replica: Start(t)}
	host, port, _ := strings.Cut(g.Master.Addr(), ":")
	ctx := context.Background()
	require.NoError(t, g.Replica.Client().Do(ctx, "REPLICAOF", host, port).Err())
	Eventually(t, 20*time.Second, "the replica", func() bool {
		info, err := g.Replica.Client().Info(ctx, "replication").Result()
		return err == nil && strings.Contains(info, "master_link_status:up")
	})
	g.Sentinel = startSentinel(t, g.Master.Addr())
	return g
}

// Promote has the sentinel make the replica the master. It returns as soon as the sentinel agrees.
func (g *Group) Promote(t testing.TB) {
	t.Helper()
	admin := redis.NewSentinelClient(&redis.Options{Addr: g.Sentinel})
	defer admin.Close()
	Eventually(t, 30*time.Second, "a replica that may become the master", func() bool {
		return admin.Failover(context.Background(), GroupName).Err() == nil
	})
}

// startSentinel starts a redis-server that is a sentinel of a master, and returns its address.
func startSentinel(t testing.TB, master string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	host, port, _ := strings.Cut(master, ":")
	_, own, _ := strings.Cut(addr, ":")
	dir := t.TempDir()
	conf := filepath.Join(dir, "sentinel.conf")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, "bind 127.0.0.1\nport %s\ndir %q\nsentinel monitor %s %s %s 1\n"+
		"sentinel down-after-milliseconds %s 60000\nsentinel failover-timeout %s 10000\n", own, dir, GroupName, host, port, GroupName, GroupName), 0o600))
	cmd := exec.Command("redis-server", conf, "--sentinel")
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	client := redis.NewSentinelClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { _ = client.Close() })
	Eventually(t, 10*time.Second, "a sentinel", func() bool { return client.Ping(context.Background()).Err() == nil })
	return addr
}
