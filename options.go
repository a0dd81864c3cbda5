package multidb

import (
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/probes"
	"github.com/redishook/multidb/window"
)

// Options configures a [Hook]. Of every field, 0 (or nil) is the default and, where that makes sense, a negative value
// switches the thing off. [New] copies the options and writes to nothing of the caller's.
type Options struct {
	// Name names the hook in statistics and metrics, for a process that has several. Default: "default".
	Name string

	// Databases are the databases to choose from, each with a name and a weight. At least one.
	Databases []Database

	// Initial is how many databases must be healthy before New returns. Default: InitialOne.
	Initial Initial

	// Health configures health checks and the suspicion that failing traffic raises.
	Health Health

	// Detectors watch real traffic; any verdict counts. Each database gets detectors of its own, so these are
	// constructors. Default: one [window.NewFailureRate] with its defaults. An empty, non-nil slice switches detection off.
	Detectors []window.Factory

	// Breaker configures the circuit breaker of each database.
	Breaker Breaker

	// Failback configures the return to a heavier database that has recovered.
	Failback Failback

	// Retry configures how failed work is run again.
	Retry Retry

	// Replay is the highest rung of commands that are run again although their request was sent and no reply came.
	// Default: ReplayLastWins. Commands that were certainly not executed are always run again.
	Replay Replay

	// ReplayCommands declares the rung of commands that the library does not know (modules, scripts known to be
	// idempotent), or overrules the one it knows. Names in any case, e.g. {"json.get": ReplayRead}.
	ReplayCommands map[string]Replay

	// Replies is asked about each error reply to a command, and says what it means. known is what the library
	// takes it for. LOADING, READONLY and their like, and the texts of the usual proxies, are ReplyRefused or
	// ReplyDoubtful. OOM is ReplyRefusedHere, all else is ReplyAnswer. It is for the texts of other proxies, and
	// for leaving a database that is full. It must be quick and safe for concurrent use; one that panics has no
	// opinion. Default: known stands.
	Replies func(reply error, known ReplyMeaning) ReplyMeaning

	// DrainTimeout is how long a session (a Conn, a Tx, a reply still owed) may go on on the old database after a
	// planned switch. The default, 10s, is longer than the full-duplex autopipeliner of go-redis holds a
	// connection (its FullDuplexMaxHold, 5s), so that it returns it by itself. A blocking command (BLPOP, XREAD
	// with BLOCK, ...) moves at once, by CLIENT UNBLOCK. Where that is not permitted, or others follow it in a
	// pipeline, one that waits for longer ends with an error. Negative: not at all, its connections are closed at
	// once.
	DrainTimeout time.Duration

	// DialLimit is how many connections are dialed to one database at the same time, over all clients of the hook. After a
	// failover everybody needs a new one at once. Default: 32. Negative: no limit.
	DialLimit int

	// MaxWait is how long a command waits for a database when none is usable. Default: it does not wait but fails
	// with ErrNoDatabase at once. The caller's context cuts it short. It is also how long a command waits for a
	// cluster that replaces a master of its own. By default such a command is run again as long as
	// Retry.MaxAttempts lasts.
	MaxWait time.Duration

	// DryRun decides, counts and reports what it would have done, and switches nothing of its own accord: for trying settings
	// in production. Failovers, returns, the loss of all databases and its end are told as they would have been
	// (Switch.DryRun is set). Each is decided on the ground of the one before. Commands stay on one database and
	// meet what they would meet without the hook. What is asked for by hand (SetActive, ForceActive, Remove) is
	// done. Default: false.
	DryRun bool

	// Strategy chooses the database. Default: highest weight, then the active one, then the lower latency, then the
	// order of Databases.
	Strategy Strategy

	// Events receives what happens. Default: none.
	Events Events

	// Logger receives the same as text: a failover is Warn, failback and health changes are Info, single probes Debug.
	// Default: slog.Default(). Silence it with slog.New(slog.DiscardHandler).
	Logger *slog.Logger
}

// Database is one database: a name, a weight, and exactly one source (URL, Options, Failover, Client or Cluster). As soon as
// one database of a hook is a cluster, all must be.
type Database struct {
	// Name identifies the database in errors, events, statistics and control. Required, unique.
	Name string

	// Weight orders the databases: the heaviest usable one is active. Default: 1. Must not be negative, NaN or infinite.
	Weight float64

	// URL is redis://, rediss:// or unix://, as redis.ParseURL reads it, with user, password and database index.
	URL string

	// Options describe a single server. Address, network, dialer, TLS, credentials (also CredentialsProvider and
	// CredentialsProviderContext) and DB are used. Pool sizes and timeouts are those of the client that has the
	// hook. DB 0 names no index: each client uses its own. So it is with the other sources.
	Options *redis.Options

	// Failover describes a group watched by Redis Sentinel; connections go to its master.
	Failover *redis.FailoverOptions

	// Client is a ready *redis.Client, whose address, dialer, credentials and DB are used as those of Options. Or
	// it is a ready *redis.ClusterClient, whose options are used as those of Cluster. It is never used for
	// commands and never closed.
	Client redis.UniversalClient

	// Cluster describes a Redis Cluster, for hooks that are attached to a *redis.ClusterClient. Addrs (the nodes to ask first),
	// dialer, TLS and credentials are used; all else is that of the client that has the hook.
	Cluster *redis.ClusterOptions

	// HealthCheckURL is where probes that ask a management API find it (see probes.LagAware): http or https, with a host.
	// Default: derived by the probe from the address.
	HealthCheckURL string

	// Checks replace Health.Checks for this database.
	Checks []probes.Check
}

// Initial says how many databases must be healthy before [New] returns.
type Initial int

const (
	// InitialOne waits for one healthy database. The default.
	InitialOne Initial = iota
	// InitialMajority waits for more than half of them.
	InitialMajority
	// InitialAll waits for all of them.
	InitialAll
)

// Health configures health checks, which run in the background on a client of their own per database.
type Health struct {
	// Interval is the time between two checks of a passive database, staggered and jittered by a tenth. Default: 5s.
	Interval time.Duration

	// ActiveInterval is the time between two checks of the active database while no traffic proves it alive. A
	// process that only subscribes learns of a dead database by it. Default: 500ms.
	ActiveInterval time.Duration

	// Timeout is how long a database may be silent: it owes replies, or the answer to a PING, and nothing comes. It is never less
	// than four round trips of PINGs over established connections, because a distant database is not dead. A
	// silence is counted from its first look, every 25ms. It is 5s if no other database is usable. Default: 425ms.
	Timeout time.Duration

	// StallTimeout is how long requests may be outstanding on the active database without one byte read from it.
	// Then it is suspected and asked by PING, which is part of Timeout. Never less than four round trips either. Default: 100ms.
	// Negative: off.
	StallTimeout time.Duration

	// Takeover is how long a database that is a cluster may leave slots unserved while it replaces a master of its own. Until
	// then it is degraded: commands go on there, and it is no place to return to. Default: twice its cluster-node-timeout and
	// 2s, which is 32s if the node timeout may not be asked for. Negative: not at all.
	Takeover time.Duration

	// Checks are run at every interval and must all pass. Those that only gate (see probes.GatesOnly) are asked about passive
	// databases only, and have no say but in a move to them. Who makes a probe closes it, see probes.Close. Default: one probes.Ping.
	Checks []probes.Check
}

// Breaker configures the circuit breaker of a database. It is closed while the database is usable, and open after
// a verdict against it. It is half-open while health probes (never commands) try it again.
type Breaker struct {
	// Delay is the time between opening and the first half-open probe. It is short on purpose: only probes pay for
	// it, and how long a recovered database is left alone is Failback.GracePeriod. Default: 1s.
	Delay time.Duration

	// Successes is the number of consecutive health checks that close the breaker again. Default: 3.
	Successes int
}

// Failback configures the return to a heavier database.
type Failback struct {
	// GracePeriod is how long the database must have been healthy without a break. Default: 15s. Negative: never
	// return automatically.
	GracePeriod time.Duration

	// Factor multiplies the grace period with each relapse (a failure within MaxGracePeriod of the last one). Default: 2.
	Factor float64

	// MaxGracePeriod caps the growth. A database that behaves for this long starts again at GracePeriod. Default: 10m.
	MaxGracePeriod time.Duration

	// Jitter adds up to this share of the grace period, so that many processes do not return at one instant.
	// Default: 0.2. Negative: none.
	Jitter float64
}

// Retry configures the retries of failed work. They are failsafe-go's: attempts, backoff and jitter.
type Retry struct {
	// MaxAttempts counts the first attempt as well. Default: 8. Negative: a failed command is not run again.
	MaxAttempts int

	// MinBackoff is the delay before the second attempt on a database that was found healthy; it doubles up to
	// MaxBackoff. After a switch there is no delay. Default: 5ms.
	MinBackoff time.Duration

	// MaxBackoff is the longest delay. Default: 250ms.
	MaxBackoff time.Duration
}

// defaults, in one place. The table of docs/options.md is checked against them.
const (
	defaultName           = "default"
	defaultWeight         = 1.0
	defaultInterval       = 5 * time.Second
	defaultActiveInterval = 500 * time.Millisecond
	defaultTimeout        = 425 * time.Millisecond
	defaultStallTimeout   = 100 * time.Millisecond
	defaultBreakerDelay   = time.Second
	defaultSuccesses      = 3
	defaultGracePeriod    = 15 * time.Second
	defaultGraceFactor    = 2.0
	defaultMaxGrace       = 10 * time.Minute
	defaultGraceJitter    = 0.2
	defaultMaxAttempts    = 8
	defaultMinBackoff     = 5 * time.Millisecond
	defaultMaxBackoff     = 250 * time.Millisecond
	defaultDialLimit      = 32
	defaultDrainTimeout   = 10 * time.Second
)

// withDefaults returns a copy in which every 0 has become its default. It shares nothing mutable with o.
func (o Options) withDefaults() Options {
	o.Databases = append([]Database(nil), o.Databases...)
	for i := range o.Databases {
		o.Databases[i] = o.Databases[i].withDefaults()
	}
	orDefault(&o.Name, defaultName)
	orDefault(&o.Health.Interval, defaultInterval)
	orDefault(&o.Health.ActiveInterval, defaultActiveInterval)
	orDefault(&o.Health.Timeout, defaultTimeout)
	orDefault(&o.Health.StallTimeout, defaultStallTimeout)
	if o.Health.Checks == nil {
		o.Health.Checks = []probes.Check{{Probe: probes.Ping(), Probes: 1}}
	} else {
		o.Health.Checks = append([]probes.Check(nil), o.Health.Checks...)
	}
	if o.Detectors == nil {
		o.Detectors = []window.Factory{window.NewFailureRate(window.Config{})}
	} else {
		o.Detectors = append([]window.Factory{}, o.Detectors...) // empty stays empty and does not become nil: it is off
	}
	o.ReplayCommands = maps.Clone(o.ReplayCommands)
	orDefault(&o.Breaker.Delay, defaultBreakerDelay)
	orDefault(&o.Breaker.Successes, defaultSuccesses)
	orDefault(&o.Failback.GracePeriod, defaultGracePeriod)
	orDefault(&o.Failback.Factor, defaultGraceFactor)
	orDefault(&o.Failback.MaxGracePeriod, max(defaultMaxGrace, o.Failback.GracePeriod))
	orDefault(&o.Failback.Jitter, defaultGraceJitter)
	orDefault(&o.Retry.MaxAttempts, defaultMaxAttempts)
	orDefault(&o.Retry.MinBackoff, defaultMinBackoff)
	orDefault(&o.Retry.MaxBackoff, max(defaultMaxBackoff, 2*o.Retry.MinBackoff))
	orDefault(&o.DrainTimeout, defaultDrainTimeout)
	orDefault(&o.DialLimit, defaultDialLimit)
	if o.Strategy == nil {
		o.Strategy = HighestWeight{}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

func (d Database) withDefaults() Database {
	orDefault(&d.Weight, defaultWeight)
	if d.Checks != nil {
		d.Checks = append([]probes.Check(nil), d.Checks...)
	}
	return d
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
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
