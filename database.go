package multidb

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/conn"
	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/traffic"
	"github.com/redishook/multidb/probes"
)

// database is one of the databases of a hook: how to get there, the connections that are there now, and what is known
// about its health.
type database struct {
	name  string
	id    uint64 // see blame.go
	order int    // of configuration; the last word in an election
	opt   *redis.Options
	// cluster is what is known of a database that is a Redis Cluster; nil for a single one.
	cluster *clusterDatabase
	probe   *redis.Client // for quick probes only; ours, except that nothing of a user's client is closed with it

	checker  *redis.Client   // for checks of the user's, which may keep a connection for as long as they like
	probing  context.Context // of the dials of both; go-redis gives each up after DialTimeout, and not when it is closed
	endDials context.CancelFunc

	target probes.Target
	checks atomic.Pointer[checkSet]

	weight             atomic.Uint64 // math.Float64bits
	weightAtLastSwitch float64       // the weight at the last choice; guarded by selector.mu
	removed            atomic.Bool

	conns *conn.Set
	health
	traffic *traffic.Traffic

	refusals    refusalLog
	replyCounts replyCounts

	failing       failing
	forbiddenTold atomic.Int64 // when it was mentioned that a check is not permitted; ns since clockStart, 0: never
}

// health is what probes have found. The fields without atomics are guarded by mu.
type health struct {
	mu           sync.Mutex
	breaker      circuitbreaker.CircuitBreaker[any]
	checked      bool          // the first check is over: before that nothing is known
	firstVerdict chan struct{} // closed then
	suspicion    *suspicion
	since        time.Time // when the breaker changed last
	generation   uint64    // how often it has: a result that was begun before a turn is void
	lastErr      error     // of the last failed check
	outageBegan  time.Time // when it became unusable the last time
	lastOutage   outage    // why it became unusable the last time
	calmedAt     time.Time // when the last suspicion ended

	suspicions, cleared atomic.Uint64

	othersSuspectedAt atomic.Int64 // when the others were asked because of it; ns since clockStart
	grace             grace

	clockStart time.Time
	lastHeard  atomic.Int64 // when it proved alive last, by traffic or by a probe; ns since clockStart, so that no clock step counts

	gateErr   atomic.Pointer[error] // what a check that only gates has answered the last time, if that keeps it out; or nil
	checkLock chan struct{}         // held by the round of checks that is under way, capacity 1
	recheck   atomic.Bool           // a regular check is wanted now, because a choice may follow from it
	wake      chan struct{}         // asks the health loop to look again, capacity 1
	signs     signsOfLife
	served    atomic.Int64 // when traffic was answered last; ns since clockStart, 0: never
	rtt       atomic.Int64 // smoothed round trip of healthy probes, ns
}

// newDatabase builds a database from its options, which have been validated as far as that goes without building.
func newDatabase(spec Database, order int, opt *Options) (*database, error) {
	db := &database{name: spec.Name, order: order}
	db.number()
	db.setWeight(spec.Weight)
	client, err := spec.client()
	if err != nil {
		return nil, err
	}
	clusterOpt, err := spec.clusterOptions()
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	db.opt = client.Options()
	db.probe = client
	db.checker = redis.NewClient(checkerOptions(db.opt))
	db.probing, db.endDials = context.WithCancel(context.Background())
	for _, client := range []*redis.Client{db.probe, db.checker} {
		client.AddHook(probeDial{db})
	}
	if clusterOpt != nil {
		db.beCluster(clusterOpt, opt)
	}
	checks := opt.Health.Checks
	if spec.Checks != nil {
		checks = spec.Checks
	}
	db.checks.Store(db.newCheckSet(checks))
	db.target = probes.Target{Name: spec.Name, Client: db.checker, HealthCheckURL: spec.HealthCheckURL, Addr: db.opt.Addr}
	if db.cluster != nil {
		db.target.Client = db.cluster.whole
	}
	db.traffic = traffic.New(opt.Detectors)
	db.breaker = newBreaker(opt.Breaker)
	db.grace = newGrace(opt.Failback)
	db.clockStart = time.Now()
	db.since = db.clockStart
	db.wake = make(chan struct{}, 1)
	db.checkLock = make(chan struct{}, 1)
	db.firstVerdict = make(chan struct{})
	return db, nil
}

// client makes the client that probes the database. Its Options are also where the dialer, the address and the
// credentials for users' connections come from, so that TLS, Unix sockets and Sentinel are go-redis' own.
func (d Database) client() (*redis.Client, error) {
	if opt, err := d.clusterOptions(); opt != nil || err != nil {
		if err != nil {
			return nil, err
		}
		return redis.NewClient(probeOptions(nodeOptions(opt))), nil
	}
	switch {
	case d.Failover != nil:
		opt := *d.Failover
		opt.MaxRetries, opt.DialerRetries = -1, 1
		opt.ContextTimeoutEnabled = true
		opt.PoolSize, opt.MinIdleConns, opt.MaxIdleConns, opt.PipelinePoolSize = probePool, 0, 1, -1
		opt.ConnMaxIdleTime, opt.ConnMaxLifetime, opt.PoolTimeout = -1, -1, 0
		opt.CredentialsProviderContext = markProvider(opt.CredentialsProviderContext)
		opt.TLSConfig = opt.TLSConfig.Clone() // go-redis keeps the caller's
		opt.Dialer = goredis.TLSDialer(opt.Dialer, opt.TLSConfig)
		return redis.NewFailoverClient(&opt), nil
	case d.URL != "":
		opt, err := redis.ParseURL(d.URL)
		if err != nil {
			return nil, fmt.Errorf("URL: %w", redactURL(d.URL, err))
		}
		return redis.NewClient(probeOptions(opt)), nil
	case d.Options != nil:
		return redis.NewClient(probeOptions(d.Options)), nil
	default:
		return redis.NewClient(probeOptions(d.Client.Options())), nil
	}
}

// probePool has room for the probes of a suspicion beside a round of checks, and for those of before: a dial that hangs keeps
// its place for DialTimeout after its probe is over.
const probePool = 64

// probeOptions are a user's options with everything taken out that would let a probe wait, retry or linger: one probe
// is one question, bounded by its context.
func probeOptions(user *redis.Options) *redis.Options {
	opt := *user
	opt.MaxRetries, opt.DialerRetries = -1, 1
	opt.ContextTimeoutEnabled = true
	opt.DialTimeout, opt.ReadTimeout, opt.WriteTimeout = 5*time.Second, 10*time.Second, 5*time.Second
	opt.PoolSize, opt.MinIdleConns, opt.MaxIdleConns, opt.MaxActiveConns = probePool, 0, 1, 0
	opt.PipelinePoolSize, opt.MaxConcurrentDials, opt.PoolTimeout = -1, 0, 0
	opt.ConnMaxIdleTime, opt.ConnMaxLifetime = -1, -1
	opt.Limiter, opt.OnConnect, opt.ClientSideCache = nil, nil, nil
	opt.ClientSideCacheConfig = nil
	opt.MaintNotificationsConfig = maintenanceOff()
	opt.DisableIdentity = true
	opt.TLSConfig = opt.TLSConfig.Clone() // go-redis keeps the caller's
	opt.Dialer = goredis.TLSDialer(opt.Dialer, opt.TLSConfig)
	opt.CredentialsProviderContext = markProvider(opt.CredentialsProviderContext)
	return &opt
}

// checkerIdle is how many connections are kept for the checks of a user from one round to the next.
const checkerIdle = 4

// poolWait is how long a check waits for a connection when all are taken by other checks. It has no verdict then.
const poolWait = 250 * time.Millisecond

// checkerOptions are those of the client for checks of the user's, which has nothing to do with quick probes: these need a
// connection that nobody else can take.
func checkerOptions(probing *redis.Options) *redis.Options {
	opt := probeOptions(probing)
	opt.MaxIdleConns, opt.PoolTimeout = checkerIdle, poolWait
	return opt
}

func (db *database) setWeight(w float64) { db.weight.Store(math.Float64bits(w)) }
func (db *database) getWeight() float64  { return math.Float64frombits(db.weight.Load()) }

// usable reports whether commands may go there: it was checked, and its breaker is closed.
func (db *database) usable() bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.checked && !db.removed.Load() && db.breaker.IsClosed()
}

// close closes the probing clients and ends their dials. The checker goes first, because it may dial by what the other one
// knows of Sentinel.
func (db *database) close() error {
	db.endDials()
	err := errors.Join(db.checker.Close(), db.probe.Close())
	if db.cluster != nil {
		err = errors.Join(err, db.cluster.close())
	}
	return err
}

// redactURL keeps the password out of an error about a URL: the parser quotes the part it stumbled over, which is the
// password if that has a character that must be escaped.
func redactURL(raw string, err error) error {
	if strings.Contains(raw, "@") {
		return errors.New("must be redis://, rediss:// or unix://, with user and password percent-encoded")
	}
	var parse *url.Error
	if errors.As(err, &parse) {
		return parse.Err
	}
	return err
}
