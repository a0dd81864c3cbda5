package redistest

import (
	"errors"
	"os"
	"testing"
)

// Redis is a [Server] that belongs to a test: what goes wrong with it fails the test, and it ends with the test. Safe for
// concurrent use.
type Redis struct {
	*Server
	tb testing.TB
}

// Start starts a redis-server for a test. It skips the test when redis-server is not on PATH, and fails it instead when
// the environment variable CI is set: there, a test that did not run must not look like one that passed.
func Start(tb testing.TB, opts ...Option) *Redis {
	tb.Helper()
	var cfg Config
	for _, opt := range opts {
		opt(&cfg)
	}
	s, err := Run(tb.Context(), cfg)
	switch {
	case errors.Is(err, ErrNotInstalled) && os.Getenv("CI") == "":
		tb.Skip("needs a real server: ", err)
	case err != nil:
		tb.Fatal(err)
	}
	r := &Redis{Server: s, tb: tb}
	tb.Cleanup(func() { r.check("Close", s.Close()) })
	return r
}

// Kill is [Server.Kill].
func (r *Redis) Kill() { r.tb.Helper(); r.check("Kill", r.Server.Kill()) }

// Stop is [Server.Stop].
func (r *Redis) Stop() { r.tb.Helper(); r.check("Stop", r.Server.Stop()) }

// Cont is [Server.Cont].
func (r *Redis) Cont() { r.tb.Helper(); r.check("Cont", r.Server.Cont()) }

// Restart is [Server.Restart].
func (r *Redis) Restart() { r.tb.Helper(); r.check("Restart", r.Server.Restart()) }

// check uses Errorf and not Fatalf: a test may break its servers from any goroutine.
func (r *Redis) check(what string, err error) {
	r.tb.Helper()
	if err != nil {
		r.tb.Errorf("redistest: %s %s: %v", what, r.Addr(), err)
	}
}
