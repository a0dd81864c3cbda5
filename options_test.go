package multidb

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/auth"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/probes"
	"github.com/redishook/multidb/window"
)

// nowhere is a database that is never asked, because the options are wrong.
func nowhere(name string) Database { return Database{Name: name, URL: "redis://127.0.0.1:1"} }

// TestWrongOptionsAreNamed: what is wrong with a field is said with the field's name.
func TestWrongOptionsAreNamed(t *testing.T) {
	addr := &redis.Options{Addr: "127.0.0.1:1"}
	for name, c := range map[string]struct {
		change func(*Options)
		want   []string
	}{
		"no database":           {func(o *Options) { o.Databases = nil }, []string{"Databases", "at least one"}},
		"no name":               {func(o *Options) { o.Databases[1].Name = "" }, []string{"Databases[1].Name", "must be set"}},
		"a name twice":          {func(o *Options) { o.Databases[1].Name = "a" }, []string{"Databases[1].Name", `"a"`, "Databases[0]"}},
		"no source":             {func(o *Options) { o.Databases[1].URL = "" }, []string{"Databases[1]", "exactly one of URL, Options, Failover and Client", "has 0"}},
		"two sources":           {func(o *Options) { o.Databases[1].Options = addr }, []string{"Databases[1]", "has 2"}},
		"negative weight":       {func(o *Options) { o.Databases[1].Weight = -2 }, []string{"Databases[1].Weight = -2", "must be > 0"}},
		"NaN weight":            {func(o *Options) { o.Databases[1].Weight = math.NaN() }, []string{"Databases[1].Weight = NaN"}},
		"infinite weight":       {func(o *Options) { o.Databases[1].Weight = math.Inf(1) }, []string{"Databases[1].Weight = +Inf"}},
		"URL scheme":            {func(o *Options) { o.Databases[0].URL = "http://h:1" }, []string{"Databases[0].URL", "does not parse", "http"}},
		"URL port":              {func(o *Options) { o.Databases[0].URL = "redis://h:port" }, []string{"Databases[0].URL", "does not parse"}},
		"URL index":             {func(o *Options) { o.Databases[0].URL = "redis://h:1/x" }, []string{"Databases[0].URL", "does not parse"}},
		"Sentinel group":        {func(o *Options) { o.Databases[0] = Database{Name: "a", Failover: &redis.FailoverOptions{}} }, []string{"Databases[0].Failover", "MasterName", "SentinelAddrs"}},
		"Initial":               {func(o *Options) { o.Initial = 7 }, []string{"Initial = 7", "InitialMajority"}},
		"interval":              {func(o *Options) { o.Health.Interval = -1 }, []string{"Health.Interval = -1ns", "must be > 0"}},
		"active interval":       {func(o *Options) { o.Health.ActiveInterval = -time.Second }, []string{"Health.ActiveInterval = -1s"}},
		"timeout":               {func(o *Options) { o.Health.Timeout = -1 }, []string{"Health.Timeout"}},
		"checks":                {func(o *Options) { o.Health.Checks = []probes.Check{{}} }, []string{"Health.Checks[0]"}},
		"own checks":            {func(o *Options) { o.Databases[1].Checks = []probes.Check{{}} }, []string{"Databases[1].Checks[0]"}},
		"breaker delay":         {func(o *Options) { o.Breaker.Delay = -1 }, []string{"Breaker.Delay"}},
		"breaker successes":     {func(o *Options) { o.Breaker.Successes = -1 }, []string{"Breaker.Successes = -1"}},
		"factor":                {func(o *Options) { o.Failback.Factor = 0.5 }, []string{"Failback.Factor = 0.5", ">= 1"}},
		"NaN factor":            {func(o *Options) { o.Failback.Factor = math.NaN() }, []string{"Failback.Factor = NaN"}},
		"jitter":                {func(o *Options) { o.Failback.Jitter = 2 }, []string{"Failback.Jitter = 2"}},
		"max grace":             {func(o *Options) { o.Failback = Failback{GracePeriod: time.Hour, MaxGracePeriod: time.Minute} }, []string{"Failback.MaxGracePeriod = 1m0s", "Failback.GracePeriod (1h0m0s)"}},
		"min backoff":           {func(o *Options) { o.Retry.MinBackoff = -1 }, []string{"Retry.MinBackoff"}},
		"max backoff":           {func(o *Options) { o.Retry.MinBackoff, o.Retry.MaxBackoff = 2, 1 }, []string{"Retry.MaxBackoff = 1ns", "Retry.MinBackoff (2ns)"}},
		"replay":                {func(o *Options) { o.Replay = 99 }, []string{"Replay", "99"}},
		"replay command":        {func(o *Options) { o.ReplayCommands = map[string]Replay{"json.get": 99} }, []string{"ReplayCommands", "json.get"}},
		"health check scheme":   {func(o *Options) { o.Databases[0].HealthCheckURL = "ftp://api:9443" }, []string{"Databases[0].HealthCheckURL", "https://"}},
		"health check host":     {func(o *Options) { o.Databases[0].HealthCheckURL = "https://:9443" }, []string{"Databases[0].HealthCheckURL", "host"}},
		"health check no URL":   {func(o *Options) { o.Databases[0].HealthCheckURL = "api:9443" }, []string{"Databases[0].HealthCheckURL", "https://"}},
		"health check port":     {func(o *Options) { o.Databases[0].HealthCheckURL = "https://api:70000" }, []string{"Databases[0].HealthCheckURL", "65535"}},
		"health check password": {func(o *Options) { o.Databases[0].HealthCheckURL = "https://me:se%cret@api" }, []string{"Databases[0].HealthCheckURL", "percent-encoded"}},
		"nil detector":          {func(o *Options) { o.Detectors = []window.Factory{window.NewFailureRate(window.Config{}), nil} }, []string{"Detectors[1]", "nil"}},
		"detector":              {func(o *Options) { o.Detectors = []window.Factory{window.NewFailureRate(window.Config{FailureRate: 2})} }, []string{"Detectors[0]", "FailureRate = 2"}},
	} {
		opt := Options{Databases: []Database{nowhere("a"), nowhere("b")}}
		c.change(&opt)
		hook, err := New(t.Context(), opt)
		if !assert.Error(t, err, name) {
			_ = hook.Close()
			continue
		}
		assert.Nil(t, hook, name)
		for _, want := range c.want {
			assert.ErrorContains(t, err, want, name)
		}
		assert.NotContains(t, err.Error(), "%!", name)
	}
}

// TestWrongSourcesAreNamed: what go-redis would panic on, ignore or fail at with each dial is refused by the name of its field.
func TestWrongSourcesAreNamed(t *testing.T) {
	const index, protocol, port = "must not be negative", "must be 2 or 3", "must be host:port, with a port from 1 to 65535"
	url := func(raw string) Database { return Database{URL: raw} }
	single := func(opt redis.Options) Database { return Database{Options: &opt} }
	group := func(change func(*redis.FailoverOptions)) Database {
		opt := &redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{"h:1", "h:2"}}
		change(opt)
		return Database{Failover: opt}
	}
	ended, end := context.WithCancel(t.Context()) // what is not refused is not waited for either
	end()
	ready := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", DB: -1, Protocol: 4})
	defer ready.Close()
	for name, c := range map[string]struct {
		source Database
		want   string // after the name of the database
	}{
		"URL, index":               {url("redis://h:1/-1"), `URL = "…": must not have a negative database index`},
		"URL, index as parameter":  {url("unix:///s.sock?db=-1"), `URL = "…": must not have a negative database index`},
		"URL, protocol":            {url("redis://h:1?protocol=4"), `URL = "…": must have protocol=2, protocol=3 or no protocol`},
		"URL, early protocol":      {url("redis://h:1?protocol=1"), `URL = "…": must have protocol=2`},
		"URL, port":                {url("rediss://h:65536"), `URL = "…": must have a port from 1 to 65535`},
		"URL, port 0":              {url("redis://h:0"), `URL = "…": must have a port from 1 to 65535`},
		"URL, password as port":    {url("redis://:99999#hush@h:1"), `URL = "…": must have a port from 1 to 65535`},
		"index":                    {single(redis.Options{Addr: "h:1", DB: -1}), "Options.DB = -1: " + index},
		"protocol":                 {single(redis.Options{Addr: "h:1", Protocol: 1}), "Options.Protocol = 1: " + protocol},
		"port":                     {single(redis.Options{Addr: "h:65536"}), `Options.Addr = "h:65536": ` + port},
		"port 0":                   {single(redis.Options{Addr: "h:0"}), `Options.Addr = "h:0": ` + port},
		"negative port":            {single(redis.Options{Addr: "h:-1"}), `Options.Addr = "h:-1": ` + port},
		"no port":                  {single(redis.Options{Network: "tcp4", Addr: "h"}), `Options.Addr = "h": ` + port},
		"empty port":               {single(redis.Options{Addr: "h:"}), `Options.Addr = "h:": ` + port},
		"port that is no service":  {single(redis.Options{Addr: "h:no-such-service"}), `Options.Addr = "h:no-such-service": ` + port},
		"IPv6 without brackets":    {single(redis.Options{Addr: "::1:6379"}), `Options.Addr = "::1:6379": ` + port},
		"URL as address":           {single(redis.Options{Addr: "redis://:hush@h:1"}), `Options.Addr = "…": ` + port},
		"password in an address":   {single(redis.Options{Addr: "hush@h:1"}), `Options.Addr = "…": ` + port},
		"socket by tcp":            {single(redis.Options{Network: "tcp", Addr: "/s.sock"}), `Options.Addr = "…": ` + port},
		"socket without a path":    {single(redis.Options{Network: "unix"}), `Options.Addr = "": must be the path of the socket`},
		"network":                  {single(redis.Options{Network: "udp", Addr: "h:1"}), `Options.Network = "udp": must be tcp, tcp4, tcp6 or unix, or come with a Dialer`},
		"Sentinel, replicas":       {group(func(o *redis.FailoverOptions) { o.ReplicaOnly = true }), "Failover.ReplicaOnly = true: must be false"},
		"Sentinel, index":          {group(func(o *redis.FailoverOptions) { o.DB = -1 }), "Failover.DB = -1: " + index},
		"Sentinel, protocol":       {group(func(o *redis.FailoverOptions) { o.Protocol = 4 }), "Failover.Protocol = 4: " + protocol},
		"Sentinel, address":        {group(func(o *redis.FailoverOptions) { o.SentinelAddrs[1] = "h" }), `Failover.SentinelAddrs[1] = "h": ` + port},
		"Sentinel, empty address":  {group(func(o *redis.FailoverOptions) { o.SentinelAddrs[1] = "" }), `Failover.SentinelAddrs[1] = "": ` + port},
		"Sentinel, by latency":     {group(func(o *redis.FailoverOptions) { o.RouteByLatency = true }), "Failover.RouteByLatency = true: must be false"},
		"Sentinel, at random":      {group(func(o *redis.FailoverOptions) { o.RouteRandomly = true }), "Failover.RouteRandomly = true: must be false"},
		"Sentinel, credentials":    {group(func(o *redis.FailoverOptions) { o.StreamingCredentialsProvider = streaming{} }), "Failover.StreamingCredentialsProvider = set: is not supported; use CredentialsProviderContext"},
		"streaming credentials":    {single(redis.Options{Addr: "h:1", StreamingCredentialsProvider: streaming{}}), "Options.StreamingCredentialsProvider = set: is not supported"},
		"client that was not made": {Database{Client: &redis.Client{}}, "Client = &redis.Client{}: must come from redis.NewClient or redis.NewFailoverClient"},
		"client, index":            {Database{Client: ready}, "Client.Options().DB = -1: " + index},
		"client, protocol":         {Database{Client: ready}, "Client.Options().Protocol = 4: " + protocol},
	} {
		c.source.Name = "b"
		_, err := New(ended, Options{Databases: []Database{nowhere("a"), c.source}, Logger: testLog(t)})
		if assert.ErrorContains(t, err, "Databases[1]."+c.want, name) {
			assert.NotContains(t, err.Error(), "hush", name)
		}
	}
	for _, name := range []string{" ", "\t\n"} {
		_, err := New(ended, Options{Databases: []Database{nowhere(name), nowhere(name)}, Logger: testLog(t)})
		require.ErrorContains(t, err, fmt.Sprintf("Databases[1].Name = %q: must be set", name))
		require.Len(t, strings.Split(err.Error(), "\n"), 2, "a name that is none is not unique, and that is no news:\n%v", err)
	}
}

// streaming is a provider of credentials that change on an open connection.
type streaming struct{}

func (streaming) Subscribe(auth.CredentialsListener) (auth.Credentials, auth.UnsubscribeFunc, error) {
	panic("nobody may ask for these credentials")
}

// TestRightSourcesAreNotRefused: what go-redis has a default for, and what only the caller's own dialer understands.
func TestRightSourcesAreNotRefused(t *testing.T) {
	dialer := func(context.Context, string, string) (net.Conn, error) { return nil, io.EOF }
	ready := redis.NewClient(&redis.Options{
		Network: "bus", Addr: "stop", Dialer: dialer,
		MaintNotificationsConfig: maintenanceOff(), // go-redis would look the name up, beside the test
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

// TestNilContextIsSaid, before anything has started; the check for leaks would find what has.
func TestNilContextIsSaid(t *testing.T) {
	var none context.Context
	hook, err := New(none, Options{Databases: []Database{nowhere("a")}, Logger: testLog(t)})
	require.EqualError(t, err, "multidb: New: ctx = nil: must be a context (context.Background() is one that never ends)")
	require.Nil(t, hook)

	p := newPair(t, nil)
	require.ErrorContains(t, p.hook.Add(none, nowhere("a")), "Add: ctx = nil")
	require.ErrorContains(t, p.hook.SetActive(none, "west"), "SetActive: ctx = nil")
	require.ErrorContains(t, p.hook.Remove(none, "east"), "Remove: ctx = nil")
	require.Equal(t, "east", p.hook.Active())
	require.Len(t, p.hook.Stats().Databases, 2, "nothing was added or removed")
}

// TestAllThatIsWrongIsSaidAtOnce, in one error that names each field, and shows no password.
func TestAllThatIsWrongIsSaidAtOnce(t *testing.T) {
	_, err := New(t.Context(), Options{
		Databases: []Database{
			{Name: "a", URL: "redis://user:s3cr%zzet@h:1"},
			{Name: "a", Weight: -1, URL: "redis://user:s3cret@h:port", Options: &redis.Options{Addr: "h:1", Password: "s3cret"}},
			{},
		},
		Initial: -1,
		Health:  Health{Timeout: -1},
		Retry:   Retry{MinBackoff: -1},
	})
	require.Error(t, err)
	for _, field := range []string{"Databases[0].URL", "Databases[1].Name", "Databases[1].Weight", "Databases[1].URL", "Databases[1] ",
		"Databases[2].Name", "Databases[2] ", "Initial", "Health.Timeout", "Retry.MinBackoff"} {
		require.ErrorContains(t, err, field)
	}
	require.NotContains(t, err.Error(), "s3cr", "passwords stay out of errors")
	require.Len(t, strings.Split(err.Error(), "\n"), 10, "one problem a line, and none twice:\n%v", err)
}

// TestNegativeIsOff: negative is off where that makes sense.
func TestNegativeIsOff(t *testing.T) {
	server := redistest.Start(t)
	hook, err := New(t.Context(), Options{
		Databases: []Database{{Name: "a", Options: server.Options()}}, Logger: testLog(t), Replay: -5, DrainTimeout: -1, MaxWait: -1,
		Health: Health{StallTimeout: -1}, Failback: Failback{GracePeriod: -1, Jitter: -1}, Retry: Retry{MaxAttempts: -1},
		Detectors: []window.Factory{}, Breaker: Breaker{},
	})
	require.NoError(t, err)
	require.NoError(t, hook.Close())
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
		Logger:         testLog(t),
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

	group := groupOf(t, other.Options())
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

// TestDefaults of what has no row of its own in the README's table.
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

// TestAttachSaysWhatItCannotRoute, instead of routing half of it.
func TestAttachSaysWhatItCannotRoute(t *testing.T) {
	server := redistest.Start(t)
	hook, err := New(t.Context(), Options{Databases: []Database{{Name: "a", Options: server.Options()}}, Logger: testLog(t)})
	require.NoError(t, err)
	defer hook.Close()
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{server.Addr()}})
	defer cluster.Close()
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": server.Addr()}})
	defer ring.Close()
	require.ErrorContains(t, hook.Attach(cluster), "*redis.ClusterClient")
	require.ErrorContains(t, hook.Attach(ring), "*redis.Ring")
	require.Error(t, hook.Attach(nil))
	require.ErrorContains(t, hook.Attach((*redis.Client)(nil)), "nil")
	rdb := redis.NewClient(server.Options())
	defer rdb.Close()
	require.NoError(t, hook.Attach(rdb))
	require.NoError(t, rdb.Ping(t.Context()).Err())
}

// TestUnknownNames in the methods of control.
func TestUnknownNames(t *testing.T) {
	p := newPair(t, nil)
	ctx := t.Context()
	for name, err := range map[string]error{
		"SetActive": p.hook.SetActive(ctx, "nord"), "ForceActive": p.hook.ForceActive("nord", 0),
		"SetWeight": p.hook.SetWeight("nord", 1), "Remove": p.hook.Remove(ctx, "nord"),
	} {
		require.ErrorIs(t, err, ErrUnknownDatabase, name)
		for _, word := range []string{`"nord"`, `"east"`, `"west"`} {
			require.ErrorContains(t, err, word, "%s: what it is and what there is", name)
		}
	}
	require.ErrorContains(t, p.hook.SetWeight("east", math.NaN()), "NaN")
	require.Error(t, p.hook.ForceActive("east", -1))
	require.ErrorContains(t, p.hook.Add(ctx, Database{Name: "east", Options: p.east.Options()}), "Name")
	require.ErrorContains(t, p.hook.Add(ctx, Database{Name: "x", Weight: -1, URL: "redis://h:1"}), "Weight = -1")
	require.Equal(t, "east", p.hook.Active())
	require.NoError(t, p.hook.Close())
	require.ErrorIs(t, p.hook.SetActive(ctx, "east"), ErrClosed)
}

// TestInitialPolicies: New waits for as many as it was told, and says which are missing.
func TestInitialPolicies(t *testing.T) {
	servers := []*redistest.Redis{redistest.Start(t), redistest.Start(t), redistest.Start(t)}
	names := []string{"one", "two", "three"}
	for _, c := range []struct {
		policy  Initial
		healthy int
		ok      bool
	}{
		{InitialOne, 0, false}, {InitialOne, 1, true}, {InitialMajority, 1, false}, {InitialMajority, 2, true},
		{InitialAll, 2, false}, {InitialAll, 3, true},
	} {
		t.Run(fmt.Sprintf("%v, %d of 3", c.policy, c.healthy), func(t *testing.T) {
			opt := Options{Initial: c.policy, Logger: testLog(t)}
			for i, server := range servers {
				proxy := faultproxy.Start(t, server.Addr())
				if i >= c.healthy {
					proxy.Refuse()
				}
				opt.Databases = append(opt.Databases, Database{Name: names[i], Options: through(server, proxy)})
			}
			patience := 20 * time.Second
			if !c.ok {
				patience = 2 * time.Second // for the answers of all three
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			hook, err := New(ctx, opt)
			if c.ok {
				require.NoError(t, err)
				require.Equal(t, "one", hook.Active())
				require.NoError(t, hook.Close())
				return
			}
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, c.healthy == 0, strings.Contains(err.Error(), ErrNoDatabase.Error()))
			require.ErrorContains(t, err, fmt.Sprintf("%d of 3", c.healthy))
			for i, name := range names {
				if missing := fmt.Sprintf("database %q", name); i < c.healthy {
					require.NotContains(t, err.Error(), missing)
				} else {
					require.ErrorContains(t, err, missing+": ")
				}
			}
			require.ErrorContains(t, err, "refused", "what they answered")
		})
	}
}

// TestNewWaitsForADatabaseThatComesUp.
func TestNewWaitsForADatabaseThatComesUp(t *testing.T) {
	server := redistest.Start(t)
	proxy := faultproxy.Start(t, server.Addr())
	proxy.Refuse()
	up := make(chan time.Time, 1)
	time.AfterFunc(300*time.Millisecond, func() {
		proxy.Pass()
		up <- time.Now()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	hook, err := New(ctx, Options{Databases: []Database{{Name: "a", Options: through(server, proxy)}}, Logger: testLog(t)})
	require.NoError(t, err)
	took := time.Since(<-up)
	require.NoError(t, hook.Close())
	require.Less(t, took, 10*time.Second)
	t.Logf("ready %v after the database", took.Round(time.Millisecond))
}

// TestAddNamesItself: what is wrong with a database that is added is said with the package, the method and the field.
func TestAddNamesItself(t *testing.T) {
	bubble(t, 1, Options{}, func(h *Hook, _ []*virtual) {
		err := h.Add(t.Context(), Database{Name: " ", Options: &redis.Options{Addr: "h:1"}, HealthCheckURL: "https://me:hunter2%@api"})
		require.ErrorContains(t, err, "multidb: Add: Database.Name")
		require.ErrorContains(t, err, "Database.HealthCheckURL")
		require.NotContains(t, err.Error(), "hunter2")
		err = h.Add(t.Context(), Database{Name: "a", Options: &redis.Options{Addr: "h:1"}})
		require.ErrorContains(t, err, "multidb: Add: Database.Name = \"a\": is in use already")
	})
}
