package multidb

import (
	"context"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"reflect"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/probes"
	"github.com/redishook/multidb/window"
)

// TestRightSourcesAreNotRefused: what go-redis has a default for, and what only the caller's own dialer understands.
func TestRightSourcesAreNotRefused(t *testing.T) {
	dialer := func(context.Context, string, string) (net.Conn, error) { return nil, io.EOF }
	ready := redis.NewClient(&redis.Options{
		Network: "bus", Addr: "stop", Dialer: dialer,
		MaintNotificationsConfig: testkit.MaintenanceOff(), // go-redis would look the name up, beside the test
	})
	defer ready.Close()
	for name, source := range map[string]Database{
		"no port in a URL":    {URL: "redis://h"},
		"no host in a URL":    {URL: "redis:///1?protocol=3"},
		"IPv6":                {URL: "rediss://[::1]:1/2?protocol=2"},
		"no address":          {Options: &redis.Options{}},
		"no host":             {Options: &redis.Options{Addr: ":65535", Protocol: 2}},
		"port by name":        {Options: &redis.Options{Network: "tcp6", Addr: "[::1]:http"}},
		"path":                {Options: &redis.Options{Addr: "/s.sock", Protocol: 3}},
		"relative path":       {Options: &redis.Options{Network: "unix", Addr: "s.sock"}},
		"dialer":              {Options: &redis.Options{Network: "bus", Addr: "stop", Dialer: dialer}},
		"dialer of a client":  {Client: ready},
		"dialer to Sentinels": {Failover: &redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{"stop"}, Dialer: dialer}},
	} {
		source.Name = "a"
		require.NoError(t, source.withDefaults().validate("Database"), name)
	}
}

// TestOptionsAreTheCallers: New writes to nothing of the caller's, and what the caller writes later changes nothing.
func TestOptionsAreTheCallers(t *testing.T) {
	server := redistest.Start(t)
	sentinel := &redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{"127.0.0.1:1"}}
	ready := redis.NewClient(server.Options())
	defer ready.Close()
	readyBefore := *ready.Options()
	build := func() Options {
		return Options{
			Databases: []Database{
				{Name: "a", Options: server.Options(), Checks: []probes.Check{{Probe: probes.Ping(), Probes: 1}}},
				{Name: "b", Failover: sentinel}, {Name: "c", Client: ready},
			},
			Health:         Health{Checks: []probes.Check{{Probe: probes.Ping(), Probes: 1}}},
			ReplayCommands: map[string]Replay{"JSON.GET": ReplayRead},
			Logger:         slog.New(slog.DiscardHandler),
		}
	}
	opt, before := build(), build()
	sentinelBefore := *sentinel
	hook, err := New(t.Context(), opt)
	require.NoError(t, err)
	defer hook.Close()
	for i := range before.Databases {
		before.Databases[i].Checks = opt.Databases[i].Checks // probes are functions, which cannot be compared
	}
	before.Health.Checks, before.Logger = opt.Health.Checks, opt.Logger
	require.Equal(t, before, opt)
	require.Equal(t, sentinelBefore, *sentinel)
	require.True(t, reflect.DeepEqual(fieldsOf(readyBefore), fieldsOf(*ready.Options())), "the options of a ready client")

	opt.Databases[0].Name, opt.Databases[0].Options.Addr, opt.Databases[0].Options.Password = "changed", "127.0.0.1:1", "changed"
	opt.Databases[0].Checks[0], opt.Health.Checks[0] = probes.Check{}, probes.Check{}
	opt.ReplayCommands["JSON.GET"] = ReplayNone
	require.Equal(t, "a", hook.Active())
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer rdb.Close()
	rdb.AddHook(hook)
	require.NoError(t, rdb.Set(t.Context(), "k", 1, 0).Err())
	require.NoError(t, hook.SetActive(t.Context(), "c"))
	require.NoError(t, hook.SetActive(t.Context(), "a"), "with the checks that it was given")
	require.True(t, hook.rules.May(t.Context(), redis.NewCmd(t.Context(), "json.get", "k")))
	require.NoError(t, hook.Close())
	require.NoError(t, ready.Ping(t.Context()).Err(), "a ready client is not closed")
}

// TestLaterChangesOfTheCallersChangeNothing: what hangs on the options by a pointer, a map or a slice is the caller's again
// when New has returned.
func TestLaterChangesOfTheCallersChangeNothing(t *testing.T) {
	secure, other := redistest.Start(t, redistest.TLS()), redistest.Start(t)
	own := secure.Options()
	opt := Options{
		Databases:      []Database{{Name: "a", Options: own}},
		Detectors:      []window.Factory{window.NewFailureRate(window.Config{})},
		ReplayCommands: map[string]Replay{"JSON.GET": ReplayRead},
		Logger:         testkit.Log(t),
	}
	hook, err := New(t.Context(), opt)
	require.NoError(t, err)
	defer hook.Close()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer rdb.Close()
	rdb.AddHook(hook)

	own.TLSConfig.RootCAs = x509.NewCertPool()
	opt.Detectors[0] = nil
	clear(opt.ReplayCommands)
	require.NoError(t, rdb.Set(t.Context(), "k", 1, 0).Err(), "with the certificates that it was given")
	require.NoError(t, hook.Add(t.Context(), Database{Name: "b", Options: other.Options()}), "with the detectors that it was given")
	require.True(t, hook.rules.May(t.Context(), redis.NewCmd(t.Context(), "json.get", "k")))
	require.Len(t, hook.opt.ReplayCommands, 1)

	group := &redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{other.Addr()}}
	group.TLSConfig = secure.TLSConfig()
	client, err := Database{Failover: group}.client()
	require.NoError(t, err)
	defer client.Close()
	require.NotSame(t, group.TLSConfig, client.Options().TLSConfig)
}

// fieldsOf are the comparable fields of options.
func fieldsOf(opt redis.Options) map[string]any {
	fields := make(map[string]any)
	v := reflect.ValueOf(opt)
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.IsExported() && v.Field(i).Kind() != reflect.Func {
			fields[f.Name] = v.Field(i).Interface()
		}
	}
	return fields
}

// TestDefaults of what has no row of its own in the table of docs/options.md.
func TestDefaults(t *testing.T) {
	o := Options{Databases: []Database{{Name: "a"}, {Name: "b", Weight: 0.5}}}.withDefaults()
	require.Equal(t, 1.0, o.Databases[0].Weight)
	require.Equal(t, 0.5, o.Databases[1].Weight)
	require.Len(t, o.Health.Checks, 1)
	require.Len(t, o.Detectors, 1)
	require.Equal(t, HighestWeight{}, o.Strategy)
	require.Same(t, slog.Default(), o.Logger)
	require.Zero(t, o.MaxWait)
	require.Empty(t, Options{Detectors: []window.Factory{}}.withDefaults().Detectors, "empty is off")
	grace := Options{Failback: Failback{GracePeriod: time.Hour}}.withDefaults()
	require.Equal(t, time.Hour, grace.Failback.MaxGracePeriod, "the default of one follows the other")
}

// nowhere is a database that is never asked, because the options are wrong.
