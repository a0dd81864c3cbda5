// Package testkit has what the tests of several packages share. Each helper of some size has a package of its own below
// this one: real servers (redistest), fake ones (fakeserver), databases in virtual time (virtual), a proxy that breaks
// connections (faultproxy), two databases with a hook over them (pair), callers (load), and proofs that nothing was lost
// or doubled (history).
package testkit

import (
	"log/slog"
	"testing"

	"github.com/redis/go-redis/v9/maintnotifications"
)

// Log returns a logger that writes to the output of the test, which is seen with -v only.
func Log(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// MaintenanceOff returns the setting of a client that asks for no maintenance notifications. Without them go-redis sends
// a request less when it connects, and sends again less often.
func MaintenanceOff() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}
