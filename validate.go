package multidb

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/redishook/multidb/internal/optioncheck"
	"github.com/redishook/multidb/internal/replay"
	"github.com/redishook/multidb/probes"
)

// most is more than anybody means: sums of longer times have no place in a number.
const most = 10 * 365 * 24 * time.Hour

// mostSuccesses bounds what the breaker remembers.
const mostSuccesses = 1000

// leastDuration is less than anybody means: what is shorter was written without a unit.
const leastDuration = 10 * time.Microsecond

// validate reports everything that is wrong, each problem with its field and what to change.
func (o *Options) validate() (replay.Rules, error) {
	var problems optioncheck.Problems
	wrong := problems.Wrong
	if len(o.Databases) == 0 {
		wrong("Databases", "[]", "must have at least one database")
	}
	names := make(map[string]int)
	for i, db := range o.Databases {
		field := fmt.Sprintf("Databases[%d]", i)
		problems.Add(db.validate(field))
		if first, ok := names[db.Name]; ok && !blank(db.Name) {
			wrong(field+".Name", fmt.Sprintf("%q", db.Name), fmt.Sprintf("must be unique, and Databases[%d] has it too", first))
		} else {
			names[db.Name] = i
		}
	}
	problems.Add(sameKind(o.Databases))
	if o.Initial < InitialOne || o.Initial > InitialAll {
		wrong("Initial", int(o.Initial), "must be InitialOne, InitialMajority or InitialAll")
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"Health.Interval", o.Health.Interval}, {"Health.ActiveInterval", o.Health.ActiveInterval},
		{"Health.Timeout", o.Health.Timeout}, {"Breaker.Delay", o.Breaker.Delay},
		{"Failback.MaxGracePeriod", o.Failback.MaxGracePeriod},
		{"Retry.MinBackoff", o.Retry.MinBackoff}, {"Retry.MaxBackoff", o.Retry.MaxBackoff},
	} {
		if d.value <= 0 {
			wrong(d.field, d.value, "must be > 0 (0 is the default, and it cannot be switched off)")
		}
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"Health.Interval", o.Health.Interval}, {"Health.ActiveInterval", o.Health.ActiveInterval},
		{"Health.Timeout", o.Health.Timeout}, {"Health.StallTimeout", o.Health.StallTimeout},
		{"Breaker.Delay", o.Breaker.Delay}, {"Failback.GracePeriod", o.Failback.GracePeriod},
		{"Failback.MaxGracePeriod", o.Failback.MaxGracePeriod}, {"MaxWait", o.MaxWait},
	} {
		if 0 < d.value && d.value < leastDuration {
			wrong(d.field, d.value, fmt.Sprintf("must be >= %v: a bare number counts nanoseconds, write %d * time.Second", leastDuration, int64(d.value)))
		}
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"Health.Interval", o.Health.Interval}, {"Health.ActiveInterval", o.Health.ActiveInterval},
		{"Health.Timeout", o.Health.Timeout}, {"Health.StallTimeout", o.Health.StallTimeout}, {"Health.Takeover", o.Health.Takeover},
		{"Breaker.Delay", o.Breaker.Delay}, {"Failback.GracePeriod", o.Failback.GracePeriod},
		{"Failback.MaxGracePeriod", o.Failback.MaxGracePeriod}, {"MaxWait", o.MaxWait}, {"DrainTimeout", o.DrainTimeout},
		{"Retry.MinBackoff", o.Retry.MinBackoff}, {"Retry.MaxBackoff", o.Retry.MaxBackoff},
	} {
		if d.value > most {
			wrong(d.field, d.value, fmt.Sprintf("must be <= %v", most))
		}
	}
	if o.Retry.MinBackoff > 0 && o.Retry.MaxBackoff > 0 && o.Retry.MaxBackoff <= o.Retry.MinBackoff {
		wrong("Retry.MaxBackoff", o.Retry.MaxBackoff, fmt.Sprintf("must be > Retry.MinBackoff (%v)", o.Retry.MinBackoff))
	}
	if o.Failback.GracePeriod > 0 && o.Failback.MaxGracePeriod < o.Failback.GracePeriod {
		wrong("Failback.MaxGracePeriod", o.Failback.MaxGracePeriod,
			fmt.Sprintf("must be >= Failback.GracePeriod (%v)", o.Failback.GracePeriod))
	}
	if !(o.Failback.Factor >= 1) || o.Failback.Factor > 1e6 {
		wrong("Failback.Factor", o.Failback.Factor, "must be >= 1 (1: no growth; 0: the default)")
	}
	if o.Failback.Jitter > 1 || o.Failback.Jitter != o.Failback.Jitter {
		wrong("Failback.Jitter", o.Failback.Jitter, "must be <= 1 (negative: none)")
	}
	if o.Breaker.Successes <= 0 {
		wrong("Breaker.Successes", o.Breaker.Successes, "must be > 0 (0 is the default)")
	}
	if o.Breaker.Successes > mostSuccesses {
		wrong("Breaker.Successes", o.Breaker.Successes, fmt.Sprintf("must be <= %d", mostSuccesses))
	}
	if err := probes.Checks(o.Health.Checks).Validate(); err != nil {
		problems.Add(optioncheck.Prefixed("Health.Checks", err))
	}
	for i, d := range o.Detectors {
		if err := d.Validate(); err != nil {
			problems.Add(optioncheck.Prefixed(fmt.Sprintf("Detectors[%d]: ", i), err))
		}
	}
	rules, err := o.replayRules()
	problems.Add(err)
	if err := problems.Err(); err != nil {
		return rules, fmt.Errorf("multidb: options: %w", err)
	}
	return rules, nil
}

// validate reports everything that is wrong with one database.
func (d Database) validate(field string) error {
	var problems optioncheck.Problems
	wrong := problems.Of(field)
	if blank(d.Name) {
		wrong(".Name", fmt.Sprintf("%q", d.Name), "must be set, to more than white space")
	}
	if err := validWeight(d.Weight); err != nil {
		wrong(".Weight", d.Weight, "must be > 0 and finite (0 is the default, 1)")
	}
	sources := 0
	for _, has := range []bool{d.URL != "", d.Options != nil, d.Failover != nil, d.Client != nil, d.Cluster != nil} {
		if has {
			sources++
		}
	}
	if sources != 1 {
		wrong("", fmt.Sprintf("%q", d.Name), fmt.Sprintf("must have exactly one of URL, Options, Failover, Client and Cluster, has %d", sources))
	}
	switch {
	case optioncheck.IsClusterURL(d.URL):
		optioncheck.ClusterURL(d.URL, wrong)
	case d.URL != "":
		optioncheck.URL(d.URL, wrong)
	}
	if d.HealthCheckURL != "" {
		optioncheck.HealthCheckURL(d.HealthCheckURL, wrong)
	}
	if opt := d.Options; opt != nil {
		optioncheck.Options(opt, wrong)
	}
	if d.Failover != nil {
		optioncheck.Failover(d.Failover, wrong)
	}
	if d.Client != nil {
		optioncheck.Client(d.Client, wrong)
	}
	if d.Cluster != nil {
		optioncheck.Cluster(".Cluster", d.Cluster, wrong)
	}
	if err := probes.Checks(d.Checks).Validate(); err != nil {
		problems.Add(optioncheck.Prefixed(field+".Checks", err))
	}
	return problems.Err()
}

func blank(name string) bool { return strings.TrimSpace(name) == "" }

// requireContext says it in words, before anything has started: a nil context would panic somewhere inside.
func requireContext(ctx context.Context, method string) error {
	if ctx == nil {
		return fmt.Errorf("multidb: %s: ctx = nil: must be a context (context.Background() is one that never ends)", method)
	}
	return nil
}

// anyTLS reports whether a database is reached by TLS.
func (o *Options) anyTLS() bool {
	return slices.ContainsFunc(o.Databases, func(db Database) bool {
		return strings.HasPrefix(db.URL, "rediss://") || db.Options != nil && db.Options.TLSConfig != nil
	})
}

func validWeight(w float64) error {
	if math.IsNaN(w) || math.IsInf(w, 0) || w <= 0 {
		return errors.New("must be a finite number > 0")
	}
	return nil
}

// replayRules compiles the options about replay.
func (o *Options) replayRules() (replay.Rules, error) {
	declared := make(map[string]replay.Rung, len(o.ReplayCommands))
	for name, rung := range o.ReplayCommands {
		declared[name] = replay.Rung(rung)
	}
	return replay.New(replay.Rung(o.Replay), declared)
}
