package probes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/redis/go-redis/v9"
	"github.com/redishook/multidb/internal/callback"
)

// Target is a database being probed.
//
// It prints as its name only: HealthCheckURL may hold a password, and so may the
// options of the client.
type Target struct {
	// Name is the name of the database. It appears in error texts.
	Name string

	// Client reaches the database, and nothing but the database: a probe through a
	// client that follows the active database would probe the wrong one.
	Client redis.UniversalClient

	// HealthCheckURL is where [LagAware] finds the REST API of the Redis Software cluster that runs
	// this database: https://[user:password@]host[:port][/path]. A user and password given here are
	// for this database only, and win over those of [LagAwareOptions]. Without a port
	// [LagAwareOptions.Port] applies. Default: https:// and the host of Addr.
	HealthCheckURL string

	// Addr is the host:port the client dials; [LagAware] looks for the endpoint that
	// has it. Default: the address in the options of a [*redis.Client], the seed
	// addresses of a [*redis.ClusterClient].
	Addr string
}

// String returns the name of the database.
func (t Target) String() string { return t.Name }

// GoString keeps %#v from printing the fields.
func (t Target) GoString() string { return fmt.Sprintf("probes.Target{Name:%q}", t.Name) }

// LogValue keeps log/slog from printing the fields.
func (t Target) LogValue() slog.Value { return slog.StringValue(t.Name) }

// Probe asks a database once whether it can serve.
//
// Check returns nil, or an error that says why not. An error that wraps [ErrNotPermitted] says that
// the database answered but does not let this user ask. The context has a deadline when a [Check]
// calls it, and what comes after the deadline is not listened to. Check must leave nothing behind
// in the database, and must be safe to run again and for concurrent use: one Probe serves all
// databases.
//
// A probe may also have
//
//   - String() string: its name in error texts, instead of its type,
//   - GatesOnly() bool: see [GatesOnly],
//   - Close() error: it releases what the probe holds, see [Close],
//   - Unwrap() Probe: the probe it wraps, whose String, GatesOnly and Close apply
//     where it has none of its own.
type Probe interface {
	Check(ctx context.Context, db Target) error
}

type funcProbe struct {
	name  string
	check func(ctx context.Context, db Target) error
}

// Func returns a probe that calls check, under a name for error texts. check must
// be safe for concurrent use.
func Func(name string, check func(ctx context.Context, db Target) error) Probe {
	return &funcProbe{name: name, check: check}
}

func (p *funcProbe) Check(ctx context.Context, db Target) error { return p.check(ctx, db) }
func (p *funcProbe) String() string                             { return p.name }

// Name returns what error texts call a probe: its String(), or else its type, also if its String panics.
func Name(p Probe) string {
	if s, ok := find[fmt.Stringer](p); ok {
		if name := callback.Ask(s.String, ""); name != "" {
			return name
		}
	}
	return fmt.Sprintf("%T", p)
}

// GatesOnly reports whether a probe has a say only before a move TO a database, and never causes a
// move away from the active one. It is the answer of its method GatesOnly() bool, or false if it
// has none.
//
// A hook asks it about the passive databases in every round. A planned move to a
// database waits until it passes; one that is not permitted to ask has not passed. A failover
// prefers the databases that have passed the last time, and waits for nobody. If none has, it moves
// all the same, because an outage is worse than data that lags.
func GatesOnly(p Probe) bool {
	g, ok := find[interface{ GatesOnly() bool }](p)
	return ok && callback.Ask(g.GatesOnly, false)
}

// Close releases what a probe holds, if it is an [io.Closer].
//
// Who makes a probe closes it. A hook closes none of those that it is given, because another hook may have it
// as well. Close it when nobody asks it any more: after Hook.Close. After RemoveProbe, and after Remove, a round
// of checks that is under way may ask it once more.
func Close(p Probe) error {
	if c, ok := find[io.Closer](p); ok {
		return c.Close()
	}
	return nil
}

// find looks for an optional interface in p and in what it wraps.
func find[T any](p Probe) (T, bool) {
	for p != nil {
		if t, ok := p.(T); ok {
			return t, true
		}
		w, ok := p.(interface{ Unwrap() Probe })
		if !ok {
			break
		}
		p = w.Unwrap()
	}
	var none T
	return none, false
}

type gate struct{ Probe }

// Gate returns p as a probe that gates only, whatever p itself says. Its check is asked before a
// move to a database and never evicts the active one.
func Gate(p Probe) Probe { return gate{p} }

func (g gate) GatesOnly() bool { return true }
func (g gate) Unwrap() Probe   { return g.Probe }

var (
	errNoClient = errors.New("Target.Client is nil")
	errNoNode   = errors.New("no node that could be asked")
)
