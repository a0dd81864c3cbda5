package probes_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/probes"
)

// after answers once d is over, and earlier if its context is.
func after(d time.Duration, answer error) probes.Check {
	return probes.Check{Probes: 1, Timeout: time.Minute, Probe: probes.Func("after "+d.String(), func(ctx context.Context, _ probes.Target) error {
		select {
		case <-time.After(d):
			return answer
		case <-ctx.Done():
			return ctx.Err()
		}
	})}
}

func TestChecksAreANDed(t *testing.T) {
	const s = time.Second
	refused := fmt.Errorf("acl: %w", probes.ErrNotPermitted)
	for _, tc := range []struct {
		name   string
		checks probes.Checks
		want   probes.Outcome
		took   time.Duration
	}{
		{"none", nil, probes.NoVerdict, 0},
		{"one passes", probes.Checks{after(s, nil)}, probes.Passed, s},
		{"all pass, at the same time", probes.Checks{after(s, nil), after(3*s, nil), after(2*s, nil)}, probes.Passed, 3 * s},
		{"the first to fail ends the others", probes.Checks{after(3*s, nil), after(s, errDown), after(2*s, refused)}, probes.Failed, s},
		{"a failure wins over an earlier refusal", probes.Checks{after(s, refused), after(2*s, errDown)}, probes.Failed, 2 * s},
		{"a refusal is no pass", probes.Checks{after(s, refused), after(2*s, nil)}, probes.NotPermitted, 2 * s},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				err := tc.checks.Run(t.Context(), probes.Target{Name: "east"})
				if probes.OutcomeOf(err) != tc.want {
					t.Errorf("%v is %v, want %v", err, probes.OutcomeOf(err), tc.want)
				}
				if tc.want == probes.Failed && !errors.Is(err, errDown) {
					t.Errorf("%v has not the cause", err)
				}
				if took := time.Since(start); took != tc.took {
					t.Errorf("took %v, want %v", took, tc.took)
				}
			})
		})
	}
}

func TestCancelledChecksMakeNoVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		refused := after(0, probes.ErrNotPermitted)
		err := probes.Checks{after(2*time.Second, nil), refused}.Run(ctx, probes.Target{})
		if probes.OutcomeOf(err) != probes.NoVerdict || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestChecksValidateNamesTheCheck(t *testing.T) {
	err := probes.Checks{{Probe: probes.Ping()}, {Probes: -1}}.Validate()
	for _, want := range []string{"[1].Probe = nil", "[1].Probes = -1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing from: %v", want, err)
		}
	}
	if err := (probes.Checks{{Probe: probes.Ping()}}).Validate(); err != nil {
		t.Error(err)
	}
}

// closer counts how often it is closed.
type closer struct {
	script
	closed int
}

func (c *closer) Close() error    { c.closed++; return errDown }
func (c *closer) GatesOnly() bool { return true }
func (c *closer) String() string  { return "closer" }

// wrapped is what a caller puts around a probe without repeating its options.
type wrapped struct{ p probes.Probe }

func (w wrapped) Check(ctx context.Context, db probes.Target) error { return w.p.Check(ctx, db) }
func (w wrapped) Unwrap() probes.Probe                              { return w.p }

func TestOptionsOfAProbeAreFoundThroughWrappers(t *testing.T) {
	c := &closer{}
	for _, p := range []probes.Probe{c, wrapped{c}, wrapped{wrapped{c}}, probes.Gate(wrapped{c})} {
		if !probes.GatesOnly(p) || probes.Name(p) != "closer" {
			t.Errorf("%T: gates only %v, name %q", p, probes.GatesOnly(p), probes.Name(p))
		}
	}
	if err := (probes.Checks{{Probe: wrapped{c}}, {Probe: probes.Ping()}}).Close(); !errors.Is(err, errDown) || c.closed != 1 {
		t.Errorf("closed %d times: %v", c.closed, err)
	}

	ping := probes.Ping()
	if probes.GatesOnly(ping) || !probes.GatesOnly(probes.Gate(ping)) || probes.Close(ping) != nil {
		t.Error("Gate makes a probe gate only, and nothing else does")
	}
	if got := probes.Name(&script{}); got != "*probes_test.script" {
		t.Errorf("without a name it is called %q", got)
	}
	if probes.GatesOnly(nil) || probes.Name(nil) != "<nil>" || probes.Close(nil) != nil {
		t.Error("nil is not a probe, but must not panic")
	}

	all := probes.Checks{{Probe: ping}, {Probe: c}, {Probe: probes.Gate(ping)}}
	if got := all.Evicting(); len(got) != 1 || got[0].Probe != ping {
		t.Errorf("%v evict", got)
	}
}

func TestTargetPrintsNoPassword(t *testing.T) {
	c := redis.NewClient(&redis.Options{Addr: "east:6379", Password: "hunter2"})
	defer func() { _ = c.Close() }()
	db := probes.Target{Name: "east", Client: c, HealthCheckURL: "https://me:hunter2@east"}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("probing", "db", db)
	for _, text := range []string{fmt.Sprint(db), fmt.Sprintf("%+v", db), fmt.Sprintf("%#v", db), fmt.Sprintf("%+v", []probes.Target{db}), log.String()} {
		if strings.Contains(text, "hunter2") || !strings.Contains(text, "east") {
			t.Errorf("prints as %s", text)
		}
	}
}

func TestNamesOfEnumerations(t *testing.T) {
	for v, want := range map[fmt.Stringer]string{
		probes.All: "all", probes.Majority: "majority", probes.Any: "any", probes.Policy(9): "Policy(9)",
		probes.Passed: "passed", probes.Failed: "failed", probes.NotPermitted: "not permitted",
		probes.NoVerdict: "no verdict", probes.Outcome(9): "Outcome(9)",
	} {
		if v.String() != want {
			t.Errorf("%q, want %q", v, want)
		}
	}
}
