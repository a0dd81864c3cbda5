package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/virtual"
	"github.com/redishook/multidb/probes"
)

// gateOf makes a check that only gates: closed says which databases it keeps out.
func gateOf(closed func(name string) bool) probes.Check {
	return probes.Check{Probes: 1, Probe: probes.Gate(probes.Func("lag", func(_ context.Context, db probes.Target) error {
		if closed(db.Name) {
			return errors.New("lags")
		}
		return nil
	}))}
}

// Events: a dies; b, the next by weight, lags, and c does not. The failover went to b: gates were asked before planned moves
// only.
func TestFailoverPrefersAnOpenGate(t *testing.T) {
	for closed, to := range map[string]string{"": "b", "b": "c", "c": "b", "bc": "b"} {
		t.Run("closed for "+closed, func(t *testing.T) {
			gate := gateOf(func(name string) bool { return name != "a" && len(closed) > 0 && (closed == "bc" || closed == name) })
			opt := multidb.Options{Health: multidb.Health{Checks: []probes.Check{ping(), gate}}}
			switches := recordSwitches(&opt)
			bubble(t, 3, opt, func(h *multidb.Hook, dbs []*virtual.DB) {
				time.Sleep(20 * time.Second)
				for i, name := range []string{"a", "b", "c"} {
					require.Equal(t, name != "a" && (closed == "bc" || closed == name), h.Stats().Databases[i].GateError != nil, name)
				}
				dbs[0].Up.Store(false)
				h.Report("a", virtual.ErrUnreachable)
				time.Sleep(2 * time.Second)
				require.Equal(t, to, h.Active())
				require.Len(t, switches.list(), 1, "at once, and not by way of another")
			})
		})
	}
}

// TestFailoverWaitsForNoGate: a gate that takes its time delays no failover.
func TestFailoverWaitsForNoGate(t *testing.T) {
	var slow atomic.Bool
	gate := slowly(func(ctx context.Context, _ probes.Target) error {
		if slow.Load() {
			return nineSeconds(ctx)
		}
		return nil
	})
	gate.Probe = probes.Gate(gate.Probe)
	bubble(t, 3, multidb.Options{Health: multidb.Health{Checks: []probes.Check{ping(), gate}}}, func(h *multidb.Hook, dbs []*virtual.DB) {
		time.Sleep(10 * time.Second)
		slow.Store(true)
		time.Sleep(10 * time.Second)
		dbs[0].Up.Store(false)
		h.Report("a", virtual.ErrUnreachable)
		time.Sleep(100 * time.Millisecond)
		require.Equal(t, "b", h.Active())
	})
}

// notPermitted is a probe whose user may not do what it does.
func notPermitted(context.Context, probes.Target) error {
	return fmt.Errorf("%w: NOPERM", probes.ErrNotPermitted)
}

// Events: a check that may evict is not permitted to ask, which is no reason to leave a database; next to it is a gate that
// lets pass. SetActive, Remove and the failback took the first one for a gate, and refused.
func TestCheckThatIsNotPermittedIsNoGate(t *testing.T) {
	opt := multidb.Options{
		Failback: multidb.Failback{GracePeriod: time.Second, Jitter: -1},
		Health: multidb.Health{Checks: []probes.Check{
			{Probes: 1, Probe: probes.Func("write", notPermitted)}, gateOf(func(string) bool { return false }),
		}},
	}
	bubble(t, 3, opt, func(h *multidb.Hook, dbs []*virtual.DB) {
		ctx := context.Background()
		require.NoError(t, h.SetActive(ctx, "b"))
		h.Release()
		time.Sleep(20 * time.Second)
		require.Equal(t, "a", h.Active(), "failback")
		require.NoError(t, h.Remove(ctx, "a"))
		require.Equal(t, "b", h.Active())
	})
}

// TestGateThatIsNotPermittedKeepsOut: it has not been asked.
func TestGateThatIsNotPermittedKeepsOut(t *testing.T) {
	opt := multidb.Options{
		Failback: multidb.Failback{GracePeriod: time.Second, Jitter: -1},
		Health:   multidb.Health{Checks: []probes.Check{ping(), {Probes: 1, Probe: probes.Gate(probes.Func("lag", notPermitted))}}},
	}
	bubble(t, 2, opt, func(h *multidb.Hook, _ []*virtual.DB) {
		require.ErrorIs(t, h.SetActive(context.Background(), "b"), probes.ErrNotPermitted)
		require.NoError(t, h.ForceActive("b", 0), "who is asked for nothing needs no permission")
		h.Release()
		time.Sleep(time.Minute)
		require.Equal(t, "b", h.Active())
	})
}

// restAPI answers as the REST API of Redis Software does, for the databases at 6379 of three clusters; which of them lag is
// said by the host of their API.
type restAPI struct {
	mu      sync.Mutex
	lagging map[string]bool
	asked   map[string]int
}

func (r *restAPI) set(host string, lagging bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lagging[host] = lagging
}

func (r *restAPI) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked[req.URL.Host]++
	answer := func(status int, body string) (*http.Response, error) {
		return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
	}
	user, password, _ := req.BasicAuth()
	switch {
	case user != "me" || password != "hunter2":
		return answer(401, "")
	case req.URL.Path == "/v1/bdbs":
		name := strings.TrimPrefix(req.URL.Hostname(), "api.")
		return answer(200, `[{"uid":7,"endpoints":[{"dns_name":"`+name+`","port":6379}]}]`)
	case req.URL.Path != "/v1/bdbs/7/availability" || req.URL.Query().Get("availability_lag_tolerance_ms") != "5000":
		return answer(404, "")
	case r.lagging[req.URL.Hostname()]:
		return answer(503, `{"error_code":"bdb_unavailable","description":"lag"}`)
	}
	return answer(200, "")
}

// TestLagAwareInTheHook: replication lag keeps a database from being moved to by hand and in a failover, and never evicts
// the active one.
func TestLagAwareInTheHook(t *testing.T) {
	api := &restAPI{lagging: make(map[string]bool), asked: make(map[string]int)}
	lag, err := probes.LagAware(probes.LagAwareOptions{HTTPClient: &http.Client{Transport: api}})
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		dbs, specs := newVirtuals(t, 3)
		for i := range specs {
			specs[i].HealthCheckURL = "https://me:hunter2@api." + specs[i].Name
		}
		h, err := multidb.New(t.Context(), multidb.Options{Databases: specs, Logger: testkit.Log(t),
			Health: multidb.Health{Checks: []probes.Check{ping(), {Probe: lag, Probes: 1}}}})
		require.NoError(t, err)
		api.set("api.a", true)
		api.set("api.b", true)
		time.Sleep(20 * time.Second)
		require.Equal(t, "a", h.Active(), "lag evicts nobody")
		gate := h.Stats().Databases[1].GateError
		var refused *probes.RESTError
		require.ErrorAs(t, gate, &refused)
		require.Equal(t, "bdb_unavailable", refused.Code)
		require.NotContains(t, gate.Error(), "hunter2")
		require.ErrorContains(t, h.SetActive(context.Background(), "b"), "503")
		dbs[0].Up.Store(false)
		time.Sleep(5 * time.Second)
		require.Equal(t, "c", h.Active())
		api.set("api.b", false)
		time.Sleep(time.Minute)
		require.Equal(t, "b", h.Active(), "failback to the best that is up")
		require.NoError(t, h.Close())
		require.Zero(t, api.asked["api.a:9443"], "it was active, and then down")
		require.Positive(t, api.asked["api.b:9443"])
		for _, v := range dbs {
			v.Redis.Close()
		}
	})
}

// gateAgainst is a probe that only gates, and keeps out the database of that name.
type gateAgainst string

func (g gateAgainst) GatesOnly() bool { return true }

func (g gateAgainst) Check(_ context.Context, target probes.Target) error {
	if target.Name == string(g) {
		return errors.New("lags behind")
	}
	return nil
}

// Events: the best database is kept out by a check that only gates. It must not stand in the way of the second best.
func TestGatedDatabaseDoesNotBlockTheNext(t *testing.T) {
	opt := multidb.Options{}
	switches := recordSwitches(&opt)
	gate := probes.Check{Probe: gateAgainst("b"), Probes: 1}
	opt.Health.Checks = []probes.Check{{Probe: probes.Ping(), Probes: 1}, gate}
	bubble(t, 3, opt, func(h *multidb.Hook, _ []*virtual.DB) {
		require.NoError(t, h.SetWeight("a", 0.5))
		time.Sleep(time.Minute)
		require.Equal(t, "c", h.Active())
	})
	require.Len(t, switches.list(), 1)
}

// Events: a has recovered, and its lag keeps it from being returned to. Only the log said why, at Debug.
func TestReasonOfAClosedGateIsInStats(t *testing.T) {
	var lagging atomic.Bool
	opt := multidb.Options{Failback: multidb.Failback{GracePeriod: time.Second, Jitter: -1}, Health: multidb.Health{Checks: []probes.Check{ping(),
		{Probes: 1, Probe: probes.Gate(probes.Func("lag", func(context.Context, probes.Target) error {
			if lagging.Load() {
				return errors.New("lags by 9 s")
			}
			return nil
		}))}}}}
	bubble(t, 2, opt, func(h *multidb.Hook, dbs []*virtual.DB) {
		dbs[0].Up.Store(false)
		time.Sleep(3 * time.Second)
		lagging.Store(true)
		dbs[0].Up.Store(true)
		time.Sleep(30 * time.Second)
		require.Equal(t, "b", h.Active())
		require.ErrorContains(t, h.Stats().Databases[0].GateError, "lags by 9 s")
		require.NoError(t, h.Stats().Databases[1].GateError)
		lagging.Store(false)
		time.Sleep(10 * time.Second)
		require.Equal(t, "a", h.Active())
		require.NoError(t, h.Stats().Databases[0].GateError)
	})
}

// Events: a is to be returned to, and its lag check takes its time; an operator forces a meanwhile; a hangs. The gate ran
// in the health loop of a.
func TestGateDoesNotHoldUpConfirmation(t *testing.T) {
	var bad, gating atomic.Bool
	check := slowly(func(ctx context.Context, db probes.Target) error {
		if !bad.Load() || db.Name != "a" {
			return nil
		}
		gating.Store(true)
		return nineSeconds(ctx)
	})
	check.Probe = probes.Gate(check.Probe)
	opt := multidb.Options{Failback: multidb.Failback{GracePeriod: time.Second, Jitter: -1}, Health: multidb.Health{Checks: []probes.Check{ping(), check}}}
	hangingBubble(t, 3, opt, func(h *multidb.Hook, dbs []*virtual.DB, rdb *redis.Client) {
		dbs[0].Up.Store(false)
		for h.Active() != "b" {
			time.Sleep(10 * time.Millisecond)
		}
		bad.Store(true)
		dbs[0].Up.Store(true)
		for !gating.Load() {
			require.NoError(t, rdb.Set(context.Background(), "k", 1, 0).Err())
			time.Sleep(50 * time.Millisecond)
		}
		require.NoError(t, h.ForceActive("a", 0))
		require.NoError(t, rdb.Set(context.Background(), "k", 1, 0).Err())
		dbs[0].Up.Store(false)
		withinASecond(t, rdb)
	})
}
