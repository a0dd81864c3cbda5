package probes_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redishook/multidb/probes"
)

var errDown = errors.New("down")

// script is a probe that answers from a list and counts its calls.
type script struct {
	answers []error
	calls   atomic.Int32
}

func (s *script) Check(context.Context, probes.Target) error {
	return s.answers[int(s.calls.Add(1)-1)%len(s.answers)]
}

// never ignores its context until it is released.
type never struct {
	release chan struct{}
	answer  error
	running atomic.Int32
}

func (n *never) Check(context.Context, probes.Target) error {
	n.running.Add(1)
	defer n.running.Add(-1)
	<-n.release
	return n.answer
}

func TestPolicyStopsAsSoonAsDecided(t *testing.T) {
	ok, no := error(nil), errDown
	for _, tc := range []struct {
		policy  probes.Policy
		answers []error
		passes  bool
		calls   int32
	}{
		{probes.All, []error{ok, ok, ok}, true, 3},
		{probes.All, []error{no, ok, ok}, false, 1},
		{probes.All, []error{ok, ok, no}, false, 3},
		{probes.All, []error{ok}, true, 1},
		{probes.Any, []error{ok, no, no}, true, 1},
		{probes.Any, []error{no, no, ok}, true, 3},
		{probes.Any, []error{no, no, no}, false, 3},
		{probes.Majority, []error{ok, ok, no}, true, 2},
		{probes.Majority, []error{no, ok, ok}, true, 3},
		{probes.Majority, []error{no, no, ok}, false, 2},
		{probes.Majority, []error{ok, no, no}, false, 3},
		{probes.Majority, []error{ok, no}, false, 2},
		{probes.Majority, []error{no, ok}, false, 1},
		{probes.Majority, []error{ok, ok, no, no}, false, 4},
		{probes.Majority, []error{no, no, ok, ok}, false, 2},
		{probes.Majority, []error{ok, ok, ok, no}, true, 3},
		{probes.Majority, []error{ok, no, ok, no, ok}, true, 5},
	} {
		t.Run(fmt.Sprint(tc.policy, tc.answers), func(t *testing.T) {
			p := &script{answers: tc.answers}
			check := probes.Check{Probe: p, Probes: len(tc.answers), Delay: -1, Policy: tc.policy}
			err := check.Run(t.Context(), probes.Target{Name: "east"})
			if passed := err == nil; passed != tc.passes {
				t.Errorf("passed = %v, want %v: %v", passed, tc.passes, err)
			}
			if n := p.calls.Load(); n != tc.calls {
				t.Errorf("asked %d times, want %d", n, tc.calls)
			}
			if err != nil && (!errors.Is(err, errDown) || probes.OutcomeOf(err) != probes.Failed) {
				t.Errorf("%v is no failure with the cause in it", err)
			}
		})
	}
}

func TestZeroAndNegativeValuesRunAsTheDefaults(t *testing.T) {
	for _, check := range []probes.Check{{}, {Probes: -1, Timeout: -1}} {
		synctest.Test(t, func(t *testing.T) {
			p := &script{answers: []error{nil}}
			check.Probe = p
			start := time.Now()
			if err := check.Run(t.Context(), probes.Target{}); err != nil {
				t.Fatal(err)
			}
			if n := p.calls.Load(); n != 3 {
				t.Errorf("asked %d times, want 3", n)
			}
			if took := time.Since(start); took != time.Second {
				t.Errorf("took %v, want 2 delays of 500ms", took)
			}
		})
		synctest.Test(t, func(t *testing.T) {
			n := &never{release: make(chan struct{})}
			check.Probe = n
			start := time.Now()
			err := check.Run(t.Context(), probes.Target{})
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
				t.Errorf("after %v: %v; want a timeout after 1s", time.Since(start), err)
			}
			close(n.release)
		})
	}
}

func TestLateSuccessIsAFailure(t *testing.T) {
	for took, passes := range map[time.Duration]bool{
		99 * time.Millisecond:  true,
		100 * time.Millisecond: false,
		101 * time.Millisecond: false,
	} {
		synctest.Test(t, func(t *testing.T) {
			slow := probes.Func("slow", func(context.Context, probes.Target) error {
				time.Sleep(took)
				return nil
			})
			err := probes.Check{Probe: slow, Probes: 1, Timeout: 100 * time.Millisecond}.Run(t.Context(), probes.Target{})
			if (err == nil) != passes {
				t.Errorf("a success after %v: %v", took, err)
			}
			if !passes && (!errors.Is(err, context.DeadlineExceeded) || probes.OutcomeOf(err) != probes.Failed) {
				t.Errorf("%v is no timeout", err)
			}
			time.Sleep(took) // let go of the abandoned one
		})
	}
}

func TestStuckProbeIsNotStartedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &never{release: make(chan struct{})}
		check := probes.Check{Probe: n, Probes: 1, Timeout: time.Second}
		east := probes.Target{Name: "east"}

		if err := check.Run(t.Context(), east); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for range 10 {
			start := time.Now()
			again := check // a copy, under another policy
			again.Probes, again.Policy = 3, probes.Any
			err := again.Run(t.Context(), east)
			if !errors.Is(err, probes.ErrStillRunning) || probes.OutcomeOf(err) != probes.Failed {
				t.Fatalf("%v, want still running", err)
			}
			if time.Since(start) != 0 {
				t.Errorf("took %v to say so", time.Since(start))
			}
		}
		if got := n.running.Load(); got != 1 {
			t.Errorf("%d probes running, want 1", got)
		}
		if err := check.Run(t.Context(), probes.Target{Name: "west"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("another database: %v, want a probe of its own", err)
		}

		close(n.release)
		synctest.Wait()
		if err := check.Run(t.Context(), east); err != nil {
			t.Errorf("after it came back: %v", err)
		}
	})
}

// A probe that heeds its context still takes a moment to return, and one whose
// round was cancelled has not had its time: neither may fail the next round.
func TestCancelledRoundDoesNotFailTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		p := probes.Func("slow to stop", func(ctx context.Context, _ probes.Target) error {
			if calls.Add(1) > 1 {
				return nil
			}
			<-ctx.Done()
			time.Sleep(300 * time.Millisecond)
			return ctx.Err()
		})
		check := probes.Check{Probe: p, Probes: 1, Timeout: time.Second}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := check.Run(ctx, probes.Target{}); probes.OutcomeOf(err) != probes.NoVerdict {
			t.Fatal(err)
		}
		if err := check.Run(t.Context(), probes.Target{}); err != nil {
			t.Errorf("the next round: %v", err)
		}
	})
}

func TestProbesWithoutIdentityDoNotPanic(t *testing.T) {
	check := probes.Check{Probe: unhashable{"x"}, Probes: 1}
	if err := check.Run(t.Context(), probes.Target{}); err != nil {
		t.Error(err)
	}
}

type unhashable []string

func (unhashable) Check(context.Context, probes.Target) error { return nil }

func TestCallersContextMakesNoVerdict(t *testing.T) {
	cause := errors.New("round is void")
	for name, end := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"cancelled": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(100*time.Millisecond, func() { cancel(cause) })
			return ctx, func() { cancel(nil) }
		},
		"deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeoutCause(ctx, 100*time.Millisecond, cause)
		},
	} {
		for where, p := range map[string]probes.Probe{
			"in a probe that heeds it": probes.Func("", func(ctx context.Context, _ probes.Target) error {
				<-ctx.Done()
				return ctx.Err()
			}),
			"in a probe that does not": probes.Func("", func(context.Context, probes.Target) error {
				time.Sleep(200 * time.Millisecond)
				return nil
			}),
			"in a delay":   &script{answers: []error{nil}},
			"after a fail": &script{answers: []error{errDown}},
		} {
			t.Run(name+" "+where, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := end(t.Context())
					defer cancel()
					start := time.Now()
					err := probes.Check{Probe: p, Policy: probes.Majority}.Run(ctx, probes.Target{})
					if probes.OutcomeOf(err) != probes.NoVerdict || !errors.Is(err, ctx.Err()) || !errors.Is(err, cause) {
						t.Errorf("%v, want no verdict because of %v", err, ctx.Err())
					}
					if time.Since(start) != 100*time.Millisecond {
						t.Errorf("returned after %v", time.Since(start))
					}
					time.Sleep(time.Second)
				})
			})
		}
	}
}

func TestContextThatEndedBeforeIsNotProbed(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := &script{answers: []error{nil}}
	err := probes.Check{Probe: p}.Run(ctx, probes.Target{})
	if probes.OutcomeOf(err) != probes.NoVerdict || !errors.Is(err, context.Canceled) || p.calls.Load() != 0 {
		t.Errorf("%v after %d probes", err, p.calls.Load())
	}
}

// A probe's own contexts are its own affair: what it says is a failure.
func TestProbeThatReturnsCanceledFailed(t *testing.T) {
	p := &script{answers: []error{context.Canceled}}
	if err := (probes.Check{Probe: p}).Run(t.Context(), probes.Target{}); probes.OutcomeOf(err) != probes.Failed {
		t.Errorf("%v is %v", err, probes.OutcomeOf(err))
	}
}

func TestPanicIsAFailure(t *testing.T) {
	p := probes.Func("bad", func(context.Context, probes.Target) error { panic(errDown) })
	err := probes.Check{Probe: p, Probes: 1}.Run(t.Context(), probes.Target{Name: "east"})
	var panicked *probes.PanicError
	if !errors.As(err, &panicked) || !errors.Is(err, errDown) || !strings.Contains(string(panicked.Stack), "TestPanicIsAFailure") {
		t.Errorf("%v", err)
	}
	p = probes.Func("worse", func(context.Context, probes.Target) error { runtime.Goexit(); return nil })
	err = probes.Check{Probe: p, Probes: 1, Timeout: time.Minute}.Run(t.Context(), probes.Target{Name: "east"})
	if probes.OutcomeOf(err) != probes.Failed || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestNotPermittedEndsTheCheck(t *testing.T) {
	p := &script{answers: []error{errDown, fmt.Errorf("custom: %w", probes.ErrNotPermitted), nil}}
	err := probes.Check{Probe: p, Delay: -1, Policy: probes.Any}.Run(t.Context(), probes.Target{})
	if probes.OutcomeOf(err) != probes.NotPermitted || p.calls.Load() != 2 {
		t.Errorf("%v after %d probes", err, p.calls.Load())
	}
}

func TestErrorNamesProbeDatabaseAndCounts(t *testing.T) {
	p := &script{answers: []error{nil, errDown, errDown}}
	err := probes.Check{Probe: p, Delay: -1, Policy: probes.Majority}.Run(t.Context(), probes.Target{Name: "east"})
	want := `probe *probes_test.script of database "east": 1 passed and 2 failed of 3 (policy majority): down`
	if err.Error() != want {
		t.Errorf("%v\nwant %v", err, want)
	}
	var e *probes.CheckError
	if !errors.As(err, &e) || e.Database != "east" || e.Failed != 2 {
		t.Errorf("%#v", e)
	}
}

func TestValidateReportsEveryField(t *testing.T) {
	err := probes.Check{Probes: -2, Timeout: -time.Second, Policy: 7}.Validate()
	for _, field := range []string{"Probe = nil", "Probes = -2", "Timeout = -1s", "Policy = 7"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%q is missing from: %v", field, err)
		}
	}
	if err := (probes.Check{Probe: probes.Ping(), Delay: -1}).Validate(); err != nil {
		t.Error(err)
	}
	if err := (probes.Check{}).Run(t.Context(), probes.Target{}); probes.OutcomeOf(err) != probes.Failed {
		t.Error(err)
	}
}
