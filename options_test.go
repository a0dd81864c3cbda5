package multidb

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/faultproxy"
	"github.com/redishook/multidb/internal/redistest"
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
		"no database":       {func(o *Options) { o.Databases = nil }, []string{"Databases", "at least one"}},
		"no name":           {func(o *Options) { o.Databases[1].Name = "" }, []string{"Databases[1].Name", "must be set"}},
		"a name twice":      {func(o *Options) { o.Databases[1].Name = "a" }, []string{"Databases[1].Name", `"a"`, "Databases[0]"}},
		"no source":         {func(o *Options) { o.Databases[1].URL = "" }, []string{"Databases[1]", "exactly one of URL, Options, Failover and Client", "has 0"}},
		"two sources":       {func(o *Options) { o.Databases[1].Options = addr }, []string{"Databases[1]", "has 2"}},
		"negative weight":   {func(o *Options) { o.Databases[1].Weight = -2 }, []string{"Databases[1].Weight = -2", "must be > 0"}},
		"NaN weight":        {func(o *Options) { o.Databases[1].Weight = math.NaN() }, []string{"Databases[1].Weight = NaN"}},
		"infinite weight":   {func(o *Options) { o.Databases[1].Weight = math.Inf(1) }, []string{"Databases[1].Weight = +Inf"}},
		"URL scheme":        {func(o *Options) { o.Databases[0].URL = "http://h:1" }, []string{"Databases[0].URL", "does not parse", "http"}},
		"URL port":          {func(o *Options) { o.Databases[0].URL = "redis://h:port" }, []string{"Databases[0].URL", "does not parse"}},
		"URL index":         {func(o *Options) { o.Databases[0].URL = "redis://h:1/x" }, []string{"Databases[0].URL", "does not parse"}},
		"Sentinel group":    {func(o *Options) { o.Databases[0] = Database{Name: "a", Failover: &redis.FailoverOptions{}} }, []string{"Databases[0].Failover", "MasterName", "SentinelAddrs"}},
		"Initial":           {func(o *Options) { o.Initial = 7 }, []string{"Initial = 7", "InitialMajority"}},
		"interval":          {func(o *Options) { o.Health.Interval = -1 }, []string{"Health.Interval = -1ns", "must be > 0"}},
		"active interval":   {func(o *Options) { o.Health.ActiveInterval = -time.Second }, []string{"Health.ActiveInterval = -1s"}},
		"timeout":           {func(o *Options) { o.Health.Timeout = -1 }, []string{"Health.Timeout"}},
		"checks":            {func(o *Options) { o.Health.Checks = []probes.Check{{}} }, []string{"Health.Checks[0]"}},
		"own checks":        {func(o *Options) { o.Databases[1].Checks = []probes.Check{{}} }, []string{"Databases[1].Checks[0]"}},
		"breaker delay":     {func(o *Options) { o.Breaker.Delay = -1 }, []string{"Breaker.Delay"}},
		"breaker successes": {func(o *Options) { o.Breaker.Successes = -1 }, []string{"Breaker.Successes = -1"}},
		"factor":            {func(o *Options) { o.Failback.Factor = 0.5 }, []string{"Failback.Factor = 0.5", ">= 1"}},
		"NaN factor":        {func(o *Options) { o.Failback.Factor = math.NaN() }, []string{"Failback.Factor = NaN"}},
		"jitter":            {func(o *Options) { o.Failback.Jitter = 2 }, []string{"Failback.Jitter = 2"}},
		"max grace":         {func(o *Options) { o.Failback = Failback{GracePeriod: time.Hour, MaxGracePeriod: time.Minute} }, []string{"Failback.MaxGracePeriod = 1m0s", "Failback.GracePeriod (1h0m0s)"}},
		"min backoff":       {func(o *Options) { o.Retry.MinBackoff = -1 }, []string{"Retry.MinBackoff"}},
		"max backoff":       {func(o *Options) { o.Retry.MinBackoff, o.Retry.MaxBackoff = 2, 1 }, []string{"Retry.MaxBackoff = 1ns", "Retry.MinBackoff (2ns)"}},
		"replay":            {func(o *Options) { o.Replay = 99 }, []string{"Replay", "99"}},
		"replay command":    {func(o *Options) { o.ReplayCommands = map[string]Replay{"json.get": 99} }, []string{"ReplayCommands", "json.get"}},
		"detector":          {func(o *Options) { o.Detectors = []window.Factory{window.NewFailureRate(window.Config{FailureRate: 2})} }, []string{"Detectors[0]", "FailureRate = 2"}},
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
	require.True(t, hook.rules.may(t.Context(), redis.NewCmd(t.Context(), "json.get", "k")))
	require.NoError(t, hook.Close())
	require.NoError(t, ready.Ping(t.Context()).Err(), "a ready client is not closed")
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
				patience = 200 * time.Millisecond
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
	require.Less(t, took, 3*time.Second)
	t.Logf("ready %v after the database", took.Round(time.Millisecond))
}
