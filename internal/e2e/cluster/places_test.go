package cluster_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"strings"

	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/auth"
	"github.com/stretchr/testify/require"

	multidb "github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/clustertest"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

func both(masters, replicas int) []clustertest.Option {
	return []clustertest.Option{clustertest.Masters(masters, replicas)}
}

// callsAtReplicas is how often the replicas of a cluster have executed a command.
func callsAtReplicas(c *clustertest.Cluster, command string) (calls int64) {
	for _, n := range c.Nodes[c.Masters:] {
		calls += n.Calls(command)
	}
	return calls
}

// TestCredentialsOfClustersStayApart: each cluster has a login of its own, and no node of any sees another one.
func TestCredentialsOfClustersStayApart(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{
		a: []clustertest.Option{clustertest.Nodes(redistest.Password("pa"))},
		b: []clustertest.Option{clustertest.Nodes(redistest.Users("default off", "bob on >pb ~* &* +@all"))},
		hook: func(o *multidb.Options) {
			o.Databases[1].Cluster.Username, o.Databases[1].Cluster.Password = "bob", "pb"
		},
	})
	l := start(8, incr(p.rdb))
	p.storm(t, switches, 30*time.Millisecond)
	l.end(t)
	p.exact(t, l)
	require.Zero(t, p.a.Denied())
	require.Zero(t, p.b.Denied())
}

// TestOneClusterSpeaksTLS: only where it is said.
func TestOneClusterSpeaksTLS(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{
		b: []clustertest.Option{clustertest.Masters(3, 0), clustertest.Nodes(redistest.TLS())},
		hook: func(o *multidb.Options) {
			o.Databases[1].Cluster.TLSConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // each node has a certificate of its own
		},
	})
	l := start(8, incr(p.rdb))
	p.storm(t, 20, 50*time.Millisecond)
	l.end(t)
	p.exact(t, l)
}

// TestOneClusterIsBothDatabases: with two users. Addresses prove nothing.
func TestOneClusterIsBothDatabases(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Nodes(redistest.Users("ann on >pa ~* &* +@all", "bob on >pb ~* &* +@all")))
	as := func(user, password string) *redis.ClusterOptions {
		opt := c.Options()
		opt.Username, opt.Password = user, password
		return opt
	}
	hook := newHook(t, multidb.Options{
		Databases: []multidb.Database{{Name: "A", Cluster: as("ann", "pa")}, {Name: "B", Weight: 0.5, Cluster: as("bob", "pb")}},
		Failback:  multidb.Failback{GracePeriod: -1}, Logger: slog.New(slog.DiscardHandler),
	})
	rdb := newClient(t, c.Options())
	require.NoError(t, hook.Attach(rdb))
	l := start(8, incr(rdb))
	for i := range 21 {
		time.Sleep(30 * time.Millisecond)
		require.NoError(t, hook.SetActive(t.Context(), []string{"B", "A"}[i%2]))
	}
	time.Sleep(50 * time.Millisecond)
	l.end(t)
	require.Zero(t, l.unknown.Load()+l.failed.Load())
	require.Equal(t, l.confirmed.Load(), c.Sum("n:"))
	who, err := rdb.Do(t.Context(), "acl", "whoami").Text()
	require.NoError(t, err)
	require.Equal(t, "bob", who)
	require.Zero(t, c.Denied())
}

// TestClientInUseIsAttached: it knows its nodes by other names than they have for themselves, and it is under load.
func TestClientInUseIsAttached(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{})
	opt := p.a.Options()
	for i, addr := range opt.Addrs {
		opt.Addrs[i] = strings.Replace(addr, "127.0.0.1", "localhost", 1)
	}
	rdb := newClient(t, opt)
	l := start(8, incr(rdb))
	time.Sleep(300 * time.Millisecond)
	require.NoError(t, p.hook.Attach(rdb))
	require.Same(t, p.hook, multidb.HookOf(rdb))
	require.NoError(t, p.hook.Attach(rdb), "attaching again does no harm")
	p.storm(t, 20, 50*time.Millisecond)
	l.end(t)
	p.exact(t, l)
	require.Positive(t, p.b.Sum("n:"))
}

// TestClosedHookPassesClustersThrough: to the cluster that was in use last.
func TestClosedHookPassesClustersThrough(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{})
	require.NoError(t, p.hook.SetActive(t.Context(), "B"))
	require.NoError(t, p.rdb.Set(t.Context(), "k", "B", 0).Err())
	l := start(8, incr(p.rdb))
	time.Sleep(100 * time.Millisecond)
	require.NoError(t, p.hook.Close())
	p.rdb.ReloadState(t.Context())
	time.Sleep(300 * time.Millisecond)
	l.end(t)
	p.exact(t, l)
	require.Zero(t, p.a.Sum("n:"))
	require.Equal(t, "B", p.rdb.Get(t.Context(), "k").Val())
	require.ErrorIs(t, p.hook.Attach(newClient(t, p.a.Options())), multidb.ErrClosed)
}

// TestIdleConnectionsAreDialedByTheHook: go-redis dials MinIdleConns before a hook can be added to a node. Each cluster has a login
// of its own, and none sees another one's.
func TestIdleConnectionsAreDialedByTheHook(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{
		a: []clustertest.Option{clustertest.Nodes(redistest.Password("pa"))},
		b: []clustertest.Option{clustertest.Nodes(redistest.Password("pb"))},
	})
	opt := p.a.Options()
	opt.MinIdleConns = 3
	routed := p.hook.ClusterOptions(opt)
	require.Nil(t, opt.NewClient, "the options of the caller stay as they are")
	early := newClient(t, p.hook.ClusterOptions(p.a.Options()))
	require.ErrorContains(t, early.Ping(t.Context()).Err(), "not given to Hook.Attach")
	rdb := newClient(t, routed)
	require.NoError(t, p.hook.Attach(rdb))
	require.ErrorContains(t, p.hook.Attach(newClient(t, routed)), "call Hook.ClusterOptions for each")
	other := newHook(t, multidb.Options{
		Databases: []multidb.Database{{Name: "A", Client: p.rdb}}, Logger: slog.New(slog.DiscardHandler),
	})
	require.ErrorContains(t, other.Attach(newClient(t, p.hook.ClusterOptions(p.a.Options()))), "of another hook")
	l := start(8, incr(rdb))
	p.storm(t, switches, 30*time.Millisecond)
	l.end(t)
	p.exact(t, l)
	require.Positive(t, p.b.Sum("n:"))
	require.Zero(t, p.a.Denied()+p.b.Denied())
	require.Positive(t, rdb.PoolStats().IdleConns)
}

// streaming is a provider that is never asked.
type streaming struct{}

func (streaming) Subscribe(auth.CredentialsListener) (auth.Credentials, auth.UnsubscribeFunc, error) {
	return nil, nil, errors.New("asked")
}

// TestTwoClientsFollowOneHook, and a client that is gone is forgotten.
func TestTwoClientsFollowOneHook(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{})
	second := newClient(t, p.b.Options())
	require.NoError(t, p.hook.Attach(second))
	l := start(16, func(ctx context.Context, l *load, g, i int) error {
		return incr([]redis.Cmdable{p.rdb, second}[g%2])(ctx, l, g, i)
	})
	p.storm(t, switches, 30*time.Millisecond)
	l.end(t)
	p.exact(t, l)
}

// TestNothingIsHalfRouted: what cannot follow is refused by name, with the reason and the way out.
func TestNothingIsHalfRouted(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t)
	single := redistest.Start(t)
	hook := newHook(t, multidb.Options{
		Databases: []multidb.Database{{Name: "A", Cluster: c.Options()}}, Logger: slog.New(slog.DiscardHandler),
	})
	singles := newHook(t, multidb.Options{
		Databases: []multidb.Database{{Name: "A", Options: single.Options()}}, Logger: slog.New(slog.DiscardHandler),
	})
	with := func(change func(*redis.ClusterOptions)) *redis.ClusterClient {
		opt := c.Options()
		change(opt)
		return newClient(t, opt)
	}
	plain := redis.NewClient(single.Options())
	defer plain.Close()
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": single.Addr()}})
	defer ring.Close()
	for want, rdb := range map[string]redis.UniversalClient{
		"no topology": ring,
		"ClusterSlots": with(func(o *redis.ClusterOptions) {
			o.ClusterSlots = func(context.Context) ([]redis.ClusterSlot, error) { return nil, nil }
		}),
		"hook.ClusterOptions(opt)": with(func(o *redis.ClusterOptions) { o.MinIdleConns = 3 }),
		"CredentialsProviderContext": with(func(o *redis.ClusterOptions) {
			o.StreamingCredentialsProvider = streaming{}
		}),
		"client-side cache": with(func(o *redis.ClusterOptions) {
			o.NewClient = func(o *redis.Options) *redis.Client {
				o.Protocol, o.ClientSideCacheConfig = 3, &redis.ClientSideCacheConfig{}
				return redis.NewClient(o)
			}
		}),
		"use a *redis.Clus": plain,
		"is nil":            (*redis.ClusterClient)(nil),
	} {
		require.ErrorContains(t, hook.Attach(rdb), want)
	}
	require.ErrorContains(t, singles.Attach(with(func(*redis.ClusterOptions) {})), "the databases are single ones")
	other := newHook(t, multidb.Options{
		Databases: []multidb.Database{{Name: "A", Cluster: c.Options()}}, Logger: slog.New(slog.DiscardHandler),
	})
	taken := with(func(*redis.ClusterOptions) {})
	require.NoError(t, hook.Attach(taken))
	require.ErrorContains(t, other.Attach(taken), "follows another hook")
	require.ErrorContains(t, hook.Add(t.Context(), multidb.Database{Name: "s", Options: single.Options()}), "must be a cluster")
	_, err := hook.DatabaseOptions("A")
	require.ErrorContains(t, err, "is a cluster")
	added := redis.NewClient(single.Options())
	defer added.Close()
	added.AddHook(hook)
	require.ErrorContains(t, added.Ping(t.Context()).Err(), "use Hook.Attach")
}

func TestOptionsOfClustersAreChecked(t *testing.T) {
	t.Parallel()
	ok := &redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}}
	plain := newClient(t, &redis.ClusterOptions{Addrs: ok.Addrs})
	readOnly := newClient(t, &redis.ClusterOptions{Addrs: ok.Addrs, ReadOnly: true})
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": ok.Addrs[0]}})
	defer ring.Close()
	for want, dbs := range map[string][]multidb.Database{
		"Databases[1] = \"s\": must be a cluster":           {{Name: "c", Cluster: ok}, {Name: "s", URL: "redis://h:1"}},
		"Databases[0].Cluster.Addrs = []":                   {{Name: "c", Cluster: &redis.ClusterOptions{}}},
		"Databases[0].Cluster.Addrs[1] = \"h\"":             {{Name: "c", Cluster: &redis.ClusterOptions{Addrs: []string{"h:1", "h"}}}},
		"Databases[0].Cluster.ReadOnly = true":              {{Name: "c", Cluster: &redis.ClusterOptions{Addrs: ok.Addrs, ReadOnly: true}}},
		"Databases[0].Cluster.Protocol = 4":                 {{Name: "c", Cluster: &redis.ClusterOptions{Addrs: ok.Addrs, Protocol: 4}}},
		"exactly one of URL, Options, Failover, Client and": {{Name: "c", Cluster: ok, URL: "redis://h:1"}},
		"go-redis would replace the host":                   {{Name: "c", Cluster: ok}, {Name: "d", Cluster: &redis.ClusterOptions{Addrs: []string{"far:1"}}}},
		"Databases[1].Cluster.NewClient = set": {
			{Name: "c", Cluster: ok}, {Name: "d", Cluster: &redis.ClusterOptions{Addrs: ok.Addrs, NewClient: func(o *redis.Options) *redis.Client { return redis.NewClient(o) }}}},
		"Databases[0].Client.Options().ReadOnly = true":        {{Name: "c", Client: readOnly}},
		"Databases[0].Client = *redis.Ring: must be":           {{Name: "c", Client: ring}},
		"Databases[0].Client = not made: must come":            {{Name: "c", Client: (*redis.ClusterClient)(nil)}},
		"must be a cluster, because Databases[0]":              {{Name: "c", Client: plain}, {Name: "s", URL: "redis://h:1"}},
		"Databases[0].URL = \"…\": does not parse":             {{Name: "c", URL: "redis://h:1?addr=h:2&nonsense=1"}},
		"Databases[0].URL = \"…\": must have a port from 1 to": {{Name: "c", URL: "redis://h:1?addr=h:99999"}},
	} {
		_, err := multidb.New(t.Context(), multidb.Options{Databases: dbs})
		require.ErrorContains(t, err, want)
	}
}

// TestURLOfACluster: a URL with addr= is one.
func TestURLOfACluster(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Nodes(redistest.Users("ann on >pa ~* &* +@all")))
	hook := newHook(t, multidb.Options{
		Databases: []multidb.Database{{Name: "A", URL: "redis://ann:pa@" + c.Addrs()[0] + "?addr=" + c.Addrs()[1]}},
		Logger:    slog.New(slog.DiscardHandler),
	})
	rdb := newClient(t, &redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})
	require.NoError(t, hook.Attach(rdb))
	who, err := rdb.Do(t.Context(), "acl", "whoami").Text()
	require.NoError(t, err)
	require.Equal(t, "ann", who)
	stats := hook.Stats().Databases[0]
	require.Equal(t, 3, stats.Masters)
	require.Equal(t, 16384, stats.Slots)
	require.Zero(t, stats.Degraded)
}
