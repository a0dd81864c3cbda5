package e2e_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/load"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// Groups that real sentinels watch.

// acceptsInSilence accepts connections and never answers.
func acceptsInSilence(t testing.TB) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var accepting sync.WaitGroup
	var conns []net.Conn
	accepting.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns = append(conns, c)
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		accepting.Wait()
		for _, c := range conns {
			_ = c.Close()
		}
	})
	return l.Addr().String()
}

// arrival asks again and again which server answers, and notes when it is another one than at first.
func arrival(t testing.TB, rdb *redis.Client, old *redistest.Redis, stop *atomic.Bool, wg *sync.WaitGroup) *atomic.Int64 {
	t.Helper()
	_, port, _ := strings.Cut(old.Addr(), ":")
	at := &atomic.Int64{}
	ctx := context.Background()
	require.NoError(t, rdb.ConfigGet(ctx, "port").Err())
	wg.Go(func() {
		for !stop.Load() {
			config, err := rdb.ConfigGet(ctx, "port").Result()
			if err == nil && config["port"] != port {
				at.CompareAndSwap(0, time.Now().UnixNano())
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
	return at
}

// Events: the sentinels make a replica the master. The master of before is healthy, and answers all that is sent to it. The hook
// hears it from the sentinels, as go-redis' own client does, and is as fast.
func TestANewMasterIsHeardFromTheSentinels(t *testing.T) {
	servers := redistest.StartGroup(t)
	group := &redis.FailoverOptions{MasterName: redistest.GroupName, SentinelAddrs: []string{servers.Sentinel, acceptsInSilence(t)}}
	began := time.Now()
	h := pair.Hook(t, multidb.Options{Databases: []multidb.Database{{Name: "group", Failover: group}}})
	require.Less(t, time.Since(began), 1500*time.Millisecond, "a silent sentinel has delayed New")
	rdb := redis.NewClient(&redis.Options{Addr: "elsewhere:6379"})
	defer rdb.Close()
	rdb.AddHook(h)
	plain := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: redistest.GroupName, SentinelAddrs: []string{servers.Sentinel}})
	defer plain.Close()
	var stop atomic.Bool
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop.Store(true)
	hook, without := arrival(t, rdb, servers.Master, &stop, &wg), arrival(t, plain, servers.Master, &stop, &wg)

	admin := redis.NewSentinelClient(&redis.Options{Addr: servers.Sentinel})
	defer admin.Close()
	told := admin.Subscribe(t.Context(), "+switch-master")
	defer told.Close()
	_, err := told.Receive(t.Context())
	require.NoError(t, err)
	servers.Promote(t)
	_, err = told.ReceiveMessage(t.Context())
	require.NoError(t, err)
	at := time.Now().UnixNano()
	redistest.Eventually(t, 10*time.Second, "both clients to be on the new master", func() bool { return hook.Load() != 0 && without.Load() != 0 })
	took, plainTook := time.Duration(hook.Load()-at), time.Duration(without.Load()-at)
	t.Logf("after the message: with the hook %v, without %v", took, plainTook)
	load.Report(t, "Sentinel makes another master, the old one answers", "reads", took.Round(time.Millisecond).String()+
		" (go-redis' FailoverClient: "+plainTook.Round(time.Millisecond).String()+")", "0")
	require.Less(t, took, max(plainTook, 0)+250*time.Millisecond)
	require.Empty(t, h.Stats().Switches)
}
