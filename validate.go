package multidb

import (
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/redishook/multidb/probes"
)

var errNotChecked = errors.New("its first health check has not ended yet")

// validate reports everything that is wrong, each problem with its field and what to change.
func (o *Options) validate() (replayRules, error) {
	var errs []error
	wrong := func(field string, value any, must string) {
		errs = append(errs, fmt.Errorf("%s = %v: %s", field, value, must))
	}
	if len(o.Databases) == 0 {
		wrong("Databases", "[]", "must have at least one database")
	}
	names := make(map[string]int)
	for i, db := range o.Databases {
		field := fmt.Sprintf("Databases[%d]", i)
		if err := db.validate(field); err != nil {
			errs = append(errs, err)
		}
		if first, ok := names[db.Name]; ok && db.Name != "" {
			wrong(field+".Name", fmt.Sprintf("%q", db.Name), fmt.Sprintf("must be unique, and Databases[%d] has it too", first))
		} else {
			names[db.Name] = i
		}
	}
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
	if err := probes.Checks(o.Health.Checks).Validate(); err != nil {
		errs = append(errs, prefixed("Health.Checks", err))
	}
	for i, d := range o.Detectors {
		if err := d.Validate(); err != nil {
			errs = append(errs, prefixed(fmt.Sprintf("Detectors[%d]: ", i), err))
		}
	}
	rules, err := newReplayRules(o.Replay, o.ReplayCommands)
	if err != nil {
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return rules, nil
	}
	return rules, fmt.Errorf("multidb: options: %w", errors.Join(errs...))
}

// validate reports everything that is wrong with one database.
func (d Database) validate(field string) error {
	var errs []error
	wrong := func(name string, value any, must string) {
		errs = append(errs, fmt.Errorf("%s%s = %v: %s", field, name, value, must))
	}
	if d.Name == "" {
		wrong(".Name", `""`, "must be set")
	}
	if err := validWeight(d.Weight); err != nil {
		wrong(".Weight", d.Weight, "must be > 0 and finite (0 is the default, 1)")
	}
	sources := 0
	for _, has := range []bool{d.URL != "", d.Options != nil, d.Failover != nil, d.Client != nil} {
		if has {
			sources++
		}
	}
	if sources != 1 {
		wrong("", fmt.Sprintf("%q", d.Name), fmt.Sprintf("must have exactly one of URL, Options, Failover and Client, has %d", sources))
	}
	if d.URL != "" {
		if opt, err := redis.ParseURL(d.URL); err != nil {
			wrong(".URL", `"…"`, fmt.Sprintf("does not parse: %v", redactURL(d.URL, err)))
		} else if opt.Network == "tcp" && opt.Addr == "" {
			wrong(".URL", `"…"`, "has no host")
		}
	}
	for name, opt := range map[string]*redis.Options{"Options": d.Options, "Client.Options()": clientOptions(d.Client)} {
		if opt != nil && opt.StreamingCredentialsProvider != nil {
			wrong("."+name+".StreamingCredentialsProvider", "set", "is not supported; use CredentialsProviderContext")
		}
	}
	if d.Failover != nil && (d.Failover.MasterName == "" || len(d.Failover.SentinelAddrs) == 0) {
		wrong(".Failover", "…", "must have MasterName and SentinelAddrs")
	}
	if err := probes.Checks(d.Checks).Validate(); err != nil {
		errs = append(errs, prefixed(field+".Checks", err))
	}
	return errors.Join(errs...)
}

func clientOptions(c *redis.Client) *redis.Options {
	if c == nil {
		return nil
	}
	return c.Options()
}

// prefixed puts the name of the field before each line of a joined error.
func prefixed(field string, err error) error {
	var all []error
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		for _, e := range joined.Unwrap() {
			all = append(all, fmt.Errorf("%s%w", field, e))
		}
		return errors.Join(all...)
	}
	return fmt.Errorf("%s%w", field, err)
}

// buildAll builds the databases, or none of them.
func buildAll(o *Options) ([]*database, error) {
	var dbs []*database
	for i, spec := range o.Databases {
		db, err := newDatabase(spec, i, o)
		if err != nil {
			for _, built := range dbs {
				_ = built.close()
			}
			return nil, fmt.Errorf("multidb: Databases[%d].%w", i, err)
		}
		dbs = append(dbs, db)
	}
	return dbs, nil
}

// maintenanceOff switches go-redis' maintenance notifications off: a probing client has no use for them.
func maintenanceOff() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// String returns the name of the constant.
func (i Initial) String() string {
	switch i {
	case InitialOne:
		return "InitialOne"
	case InitialMajority:
		return "InitialMajority"
	case InitialAll:
		return "InitialAll"
	}
	return fmt.Sprintf("Initial(%d)", int(i))
}
