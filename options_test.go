package multidb_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/auth"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/probes"
	"github.com/redishook/multidb/window"
)

// nowhere is a database that is never asked, because the options are wrong.
func nowhere(name string) multidb.Database {
	return multidb.Database{Name: name, URL: "redis://127.0.0.1:1"}
}

// TestWrongOptionsAreNamed: what is wrong with a field is said with the field's name.
func TestWrongOptionsAreNamed(t *testing.T) {
	addr := &redis.Options{Addr: "127.0.0.1:1"}
	for name, c := range map[string]struct {
		change func(*multidb.Options)
		want   []string
	}{
		"no database":     {func(o *multidb.Options) { o.Databases = nil }, []string{"Databases", "at least one"}},
		"no name":         {func(o *multidb.Options) { o.Databases[1].Name = "" }, []string{"Databases[1].Name", "must be set"}},
		"a name twice":    {func(o *multidb.Options) { o.Databases[1].Name = "a" }, []string{"Databases[1].Name", `"a"`, "Databases[0]"}},
		"no source":       {func(o *multidb.Options) { o.Databases[1].URL = "" }, []string{"Databases[1]", "exactly one of URL, Options, Failover, Client and Cluster", "has 0"}},
		"two sources":     {func(o *multidb.Options) { o.Databases[1].Options = addr }, []string{"Databases[1]", "has 2"}},
		"negative weight": {func(o *multidb.Options) { o.Databases[1].Weight = -2 }, []string{"Databases[1].Weight = -2", "must be > 0"}},
		"NaN weight":      {func(o *multidb.Options) { o.Databases[1].Weight = math.NaN() }, []string{"Databases[1].Weight = NaN"}},
		"infinite weight": {func(o *multidb.Options) { o.Databases[1].Weight = math.Inf(1) }, []string{"Databases[1].Weight = +Inf"}},
		"URL scheme":      {func(o *multidb.Options) { o.Databases[0].URL = "http://h:1" }, []string{"Databases[0].URL", "does not parse", "http"}},
		"URL port":        {func(o *multidb.Options) { o.Databases[0].URL = "redis://h:port" }, []string{"Databases[0].URL", "does not parse"}},
		"URL index":       {func(o *multidb.Options) { o.Databases[0].URL = "redis://h:1/x" }, []string{"Databases[0].URL", "does not parse"}},
		"Sentinel group": {func(o *multidb.Options) {
			o.Databases[0] = multidb.Database{Name: "a", Failover: &redis.FailoverOptions{}}
		}, []string{"Databases[0].Failover", "MasterName", "SentinelAddrs"}},
		"Initial":           {func(o *multidb.Options) { o.Initial = 7 }, []string{"Initial = 7", "InitialMajority"}},
		"interval":          {func(o *multidb.Options) { o.Health.Interval = -1 }, []string{"Health.Interval = -1ns", "must be > 0"}},
		"active interval":   {func(o *multidb.Options) { o.Health.ActiveInterval = -time.Second }, []string{"Health.ActiveInterval = -1s"}},
		"timeout":           {func(o *multidb.Options) { o.Health.Timeout = -1 }, []string{"Health.Timeout"}},
		"checks":            {func(o *multidb.Options) { o.Health.Checks = []probes.Check{{}} }, []string{"Health.Checks[0]"}},
		"own checks":        {func(o *multidb.Options) { o.Databases[1].Checks = []probes.Check{{}} }, []string{"Databases[1].Checks[0]"}},
		"breaker delay":     {func(o *multidb.Options) { o.Breaker.Delay = -1 }, []string{"Breaker.Delay"}},
		"breaker successes": {func(o *multidb.Options) { o.Breaker.Successes = -1 }, []string{"Breaker.Successes = -1"}},
		"factor":            {func(o *multidb.Options) { o.Failback.Factor = 0.5 }, []string{"Failback.Factor = 0.5", ">= 1"}},
		"grace for ever":    {func(o *multidb.Options) { o.Failback.GracePeriod = math.MaxInt64 }, []string{"Failback.GracePeriod", "must be <= 87600h"}},
		"timeout for ever":  {func(o *multidb.Options) { o.Health.Timeout = math.MaxInt64 }, []string{"Health.Timeout", "must be <= 87600h"}},
		"many successes":    {func(o *multidb.Options) { o.Breaker.Successes = math.MaxInt }, []string{"Breaker.Successes", "must be <= 1000"}},
		"check for ever": {func(o *multidb.Options) {
			o.Health.Checks = []probes.Check{{Probe: probes.Ping(), Timeout: math.MaxInt64, Delay: math.MaxInt64}}
		}, []string{"Health.Checks[0]", "Timeout", "Delay", "must be <= 24h"}},
		"NaN factor": {func(o *multidb.Options) { o.Failback.Factor = math.NaN() }, []string{"Failback.Factor = NaN"}},
		"jitter":     {func(o *multidb.Options) { o.Failback.Jitter = 2 }, []string{"Failback.Jitter = 2"}},
		"max grace": {func(o *multidb.Options) {
			o.Failback = multidb.Failback{GracePeriod: time.Hour, MaxGracePeriod: time.Minute}
		}, []string{"Failback.MaxGracePeriod = 1m0s", "Failback.GracePeriod (1h0m0s)"}},
		"min backoff":           {func(o *multidb.Options) { o.Retry.MinBackoff = -1 }, []string{"Retry.MinBackoff"}},
		"max backoff":           {func(o *multidb.Options) { o.Retry.MinBackoff, o.Retry.MaxBackoff = 2, 1 }, []string{"Retry.MaxBackoff = 1ns", "Retry.MinBackoff (2ns)"}},
		"replay":                {func(o *multidb.Options) { o.Replay = 99 }, []string{"Replay", "99"}},
		"replay command":        {func(o *multidb.Options) { o.ReplayCommands = map[string]multidb.Replay{"json.get": 99} }, []string{"ReplayCommands", "json.get"}},
		"health check scheme":   {func(o *multidb.Options) { o.Databases[0].HealthCheckURL = "ftp://api:9443" }, []string{"Databases[0].HealthCheckURL", "https://"}},
		"health check host":     {func(o *multidb.Options) { o.Databases[0].HealthCheckURL = "https://:9443" }, []string{"Databases[0].HealthCheckURL", "host"}},
		"health check no URL":   {func(o *multidb.Options) { o.Databases[0].HealthCheckURL = "api:9443" }, []string{"Databases[0].HealthCheckURL", "https://"}},
		"health check port":     {func(o *multidb.Options) { o.Databases[0].HealthCheckURL = "https://api:70000" }, []string{"Databases[0].HealthCheckURL", "65535"}},
		"health check password": {func(o *multidb.Options) { o.Databases[0].HealthCheckURL = "https://me:se%cret@api" }, []string{"Databases[0].HealthCheckURL", "percent-encoded"}},
		"nil detector":          {func(o *multidb.Options) { o.Detectors = []window.Factory{window.NewFailureRate(window.Config{}), nil} }, []string{"Detectors[1]", "nil"}},
		"detector": {func(o *multidb.Options) {
			o.Detectors = []window.Factory{window.NewFailureRate(window.Config{FailureRate: 2})}
		}, []string{"Detectors[0]", "FailureRate = 2"}},
	} {
		opt := multidb.Options{Databases: []multidb.Database{nowhere("a"), nowhere("b")}}
		c.change(&opt)
		hook, err := multidb.New(t.Context(), opt)
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
	url := func(raw string) multidb.Database { return multidb.Database{URL: raw} }
	single := func(opt redis.Options) multidb.Database { return multidb.Database{Options: &opt} }
	group := func(change func(*redis.FailoverOptions)) multidb.Database {
		opt := &redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{"h:1", "h:2"}}
		change(opt)
		return multidb.Database{Failover: opt}
	}
	ended, end := context.WithCancel(t.Context()) // what is not refused is not waited for either
	end()
	ready := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", DB: -1, Protocol: 4})
	defer ready.Close()
	for name, c := range map[string]struct {
		source multidb.Database
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
		"client that was not made": {multidb.Database{Client: &redis.Client{}}, "Client = not made: must come from redis.NewClient, redis.NewFailoverClient or redis.NewClusterClient"},
		"client, index":            {multidb.Database{Client: ready}, "Client.Options().DB = -1: " + index},
		"client, protocol":         {multidb.Database{Client: ready}, "Client.Options().Protocol = 4: " + protocol},
	} {
		c.source.Name = "b"
		_, err := multidb.New(ended, multidb.Options{Databases: []multidb.Database{nowhere("a"), c.source}, Logger: testkit.Log(t)})
		if assert.ErrorContains(t, err, "Databases[1]."+c.want, name) {
			assert.NotContains(t, err.Error(), "hush", name)
		}
	}
	for _, name := range []string{" ", "\t\n"} {
		_, err := multidb.New(ended, multidb.Options{Databases: []multidb.Database{nowhere(name), nowhere(name)}, Logger: testkit.Log(t)})
		require.ErrorContains(t, err, fmt.Sprintf("Databases[1].Name = %q: must be set", name))
		require.Len(t, strings.Split(err.Error(), "\n"), 2, "a name that is none is not unique, and that is no news:\n%v", err)
	}
}

// TestNilContextIsSaid, before anything has started; the check for leaks would find what has.
func TestNilContextIsSaid(t *testing.T) {
	var none context.Context
	hook, err := multidb.New(none, multidb.Options{Databases: []multidb.Database{nowhere("a")}, Logger: testkit.Log(t)})
	require.EqualError(t, err, "multidb: New: ctx = nil: must be a context (context.Background() is one that never ends)")
	require.Nil(t, hook)

	p := pair.New(t, nil)
	require.ErrorContains(t, p.Hook.Add(none, nowhere("a")), "Add: ctx = nil")
	require.ErrorContains(t, p.Hook.SetActive(none, "west"), "SetActive: ctx = nil")
	require.ErrorContains(t, p.Hook.Remove(none, "east"), "Remove: ctx = nil")
	require.Equal(t, "east", p.Hook.Active())
	require.Len(t, p.Hook.Stats().Databases, 2, "nothing was added or removed")
}

// TestAllThatIsWrongIsSaidAtOnce, in one error that names each field, and shows no password.
func TestAllThatIsWrongIsSaidAtOnce(t *testing.T) {
	_, err := multidb.New(t.Context(), multidb.Options{
		Databases: []multidb.Database{
			{Name: "a", URL: "redis://user:s3cr%zzet@h:1"},
			{Name: "a", Weight: -1, URL: "redis://user:s3cret@h:port", Options: &redis.Options{Addr: "h:1", Password: "s3cret"}},
			{},
		},
		Initial: -1,
		Health:  multidb.Health{Timeout: -1},
		Retry:   multidb.Retry{MinBackoff: -1},
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
	hook, err := multidb.New(t.Context(), multidb.Options{
		Databases: []multidb.Database{{Name: "a", Options: server.Options()}}, Logger: testkit.Log(t), Replay: -5, DrainTimeout: -1, MaxWait: -1,
		Health: multidb.Health{StallTimeout: -1}, Failback: multidb.Failback{GracePeriod: -1, Jitter: -1}, Retry: multidb.Retry{MaxAttempts: -1},
		Detectors: []window.Factory{}, Breaker: multidb.Breaker{},
	})
	require.NoError(t, err)
	require.NoError(t, hook.Close())
}

// streaming is a provider of credentials that change on an open connection.
type streaming struct{}

func (streaming) Subscribe(auth.CredentialsListener) (auth.Credentials, auth.UnsubscribeFunc, error) {
	panic("nobody may ask for these credentials")
}
