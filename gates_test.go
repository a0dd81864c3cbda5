package multidb

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

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/probes"
	"github.com/redishook/multidb/window"
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
func TestRegressionFailoverIgnoresGates(t *testing.T) {
	for closed, to := range map[string]string{"": "b", "b": "c", "c": "b", "bc": "b"} {
		t.Run("closed for "+closed, func(t *testing.T) {
			gate := gateOf(func(name string) bool { return name != "a" && len(closed) > 0 && (closed == "bc" || closed == name) })
			opt := Options{Health: Health{Checks: []probes.Check{ping(), gate}}}
			switches := recordSwitches(&opt)
			bubble(t, 3, opt, func(h *Hook, dbs []*virtual) {
				time.Sleep(20 * time.Second)
				for i, name := range []string{"a", "b", "c"} {
					require.Equal(t, name != "a" && (closed == "bc" || closed == name), h.Stats().Databases[i].GateError != nil, name)
				}
				dbs[0].up.Store(false)
				h.Report("a", errUnreachable)
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
	bubble(t, 3, Options{Health: Health{Checks: []probes.Check{ping(), gate}}}, func(h *Hook, dbs []*virtual) {
		time.Sleep(10 * time.Second)
		slow.Store(true)
		time.Sleep(10 * time.Second)
		dbs[0].up.Store(false)
		h.Report("a", errUnreachable)
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
func TestRegressionCheckThatIsNotPermittedKeepsOut(t *testing.T) {
	opt := Options{
		Failback: Failback{GracePeriod: time.Second, Jitter: -1},
		Health: Health{Checks: []probes.Check{
			{Probes: 1, Probe: probes.Func("write", notPermitted)}, gateOf(func(string) bool { return false }),
		}},
	}
	bubble(t, 3, opt, func(h *Hook, dbs []*virtual) {
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
	opt := Options{
		Failback: Failback{GracePeriod: time.Second, Jitter: -1},
		Health:   Health{Checks: []probes.Check{ping(), {Probes: 1, Probe: probes.Gate(probes.Func("lag", notPermitted))}}},
	}
	bubble(t, 2, opt, func(h *Hook, _ []*virtual) {
		require.ErrorIs(t, h.SetActive(context.Background(), "b"), probes.ErrNotPermitted)
		require.NoError(t, h.ForceActive("b", 0), "who is asked for nothing needs no permission")
		h.Release()
		time.Sleep(time.Minute)
		require.Equal(t, "b", h.Active())
	})
}

// Events: a round of checks of b is under way in the background; SetActive of b. The same probe ran twice at a time.
func TestRegressionTwoRoundsOfOneDatabase(t *testing.T) {
	var mu sync.Mutex
	running := make(map[string]int)
	overlaps := 0
	check := slowly(func(ctx context.Context, db probes.Target) error {
		mu.Lock()
		running[db.Name]++
		if running[db.Name] > 1 {
			overlaps++
		}
		mu.Unlock()
		pause(ctx, 700*time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		running[db.Name]--
		return ctx.Err()
	})
	opt := Options{Health: Health{Interval: time.Second, Checks: []probes.Check{check}}}
	bubble(t, 2, opt, func(h *Hook, _ []*virtual) {
		for range 20 {
			for _, name := range []string{"b", "a"} {
				require.NoError(t, h.SetActive(context.Background(), name))
				time.Sleep(130 * time.Millisecond)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, h.SetActive(ctx, "b"), context.DeadlineExceeded, "the wait for a round ends with the context")
	})
	require.Zero(t, overlaps)
}

// forgetful counts what a detector is told.
type forgetful struct{ failures, resets *atomic.Int64 }

func (f forgetful) Record(_ time.Time, s window.Sample) { f.failures.Add(int64(s.Failures)) }
func (f forgetful) Verdict(time.Time) window.Verdict    { return window.Verdict{} }
func (f forgetful) Reset()                              { f.failures.Store(0); f.resets.Add(1) }

// Events: traffic fails on a, but not enough for a verdict; an operator moves to b and back to a at once. The detector of a
// still had the failures from before: the contract is that it forgets when its database becomes active.
func TestRegressionManualMoveKeepsOldFailures(t *testing.T) {
	var made []forgetful
	opt := Options{Detectors: []window.Factory{func() window.Detector {
		f := forgetful{new(atomic.Int64), new(atomic.Int64)}
		made = append(made, f)
		return f
	}}}
	bubble(t, 2, opt, func(h *Hook, _ []*virtual) {
		a := made[len(made)-2]
		h.failed(h.selector.find("a"), errUnreachable)
		require.EqualValues(t, 1, a.failures.Load())
		require.NoError(t, h.SetActive(context.Background(), "b"))
		before := a.resets.Load()
		require.NoError(t, h.SetActive(context.Background(), "a"))
		require.EqualValues(t, before+1, a.resets.Load())
		require.Zero(t, a.failures.Load())
		require.NoError(t, h.ForceActive("b", 0))
		require.NoError(t, h.ForceActive("a", 0))
		require.EqualValues(t, before+2, a.resets.Load())
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
		h, err := New(t.Context(), Options{Databases: specs, Logger: testLog(t),
			Health: Health{Checks: []probes.Check{ping(), {Probe: lag, Probes: 1}}}})
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
		dbs[0].up.Store(false)
		time.Sleep(5 * time.Second)
		require.Equal(t, "c", h.Active())
		api.set("api.b", false)
		time.Sleep(time.Minute)
		require.Equal(t, "b", h.Active(), "failback to the best that is up")
		require.NoError(t, h.Close())
		require.Zero(t, api.asked["api.a:9443"], "it was active, and then down")
		require.Positive(t, api.asked["api.b:9443"])
		for _, v := range dbs {
			v.redis.Close()
		}
	})
}
