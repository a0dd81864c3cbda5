package multidb

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/cluster"
	"github.com/redishook/multidb/internal/conn"
	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/health"
	"github.com/redishook/multidb/internal/optioncheck"
	"github.com/redishook/multidb/internal/prober"
	"github.com/redishook/multidb/internal/sentinel"
	"github.com/redishook/multidb/internal/traffic"
)

// builder puts databases together, for a hook.
type builder struct{ h *Hook }

// newDatabase builds a database from its options, which have been validated as far as that goes without building.
func (b builder) newDatabase(spec Database, order int) (*database.Database, error) {
	db := database.New(spec.Name, order, spec.Weight)
	all := fleet{b.h, db}
	client, err := spec.client()
	if err != nil {
		return nil, err
	}
	clusterOpt, err := spec.clusterOptions()
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	var closed func()
	if spec.Failover != nil && !spec.Failover.ReplicaOnly {
		client, closed = hearSentinels(b.h, db, client, spec.Failover)
	}
	db.Options = client.Options()
	checks := b.h.opt.Health.Checks
	if spec.Checks != nil {
		checks = spec.Checks
	}
	db.Traffic = traffic.New(b.h.opt.Detectors)
	db.Conns = conn.NewSet(connConfig(b.h, db), owner{b.h, db})
	db.Prober = prober.New(client, prober.Config{
		Name: spec.Name, HealthCheckURL: spec.HealthCheckURL, Timeout: b.h.opt.Health.Timeout, Checks: checks,
		Reached: func(nc net.Conn) { db.Conns.Reached(nc) }, Late: func() { db.Health.Late() }, Go: b.h.workers.Go, Ctx: b.h.ctx,
		Forgotten: db.Forgotten, Closed: closed, Reads: func() uint64 { n, _ := db.Conns.Progress(); return n },
		Cluster: clusterOpt, Takeover: b.h.opt.Health.Takeover, Usable: func() bool { return db.Health.Usable() },
		Changed:  func(*cluster.Topology) { all.topologyChanged() },
		Failed:   func(err error) (enough bool) { return all.takeoverFailed(err) },
		Degraded: func(why error) { b.h.events.degraded(Degraded{Database: db.Name, Cause: why}) },
		Healed:   func(after time.Duration) { all.clusterHealed(after) },
	})
	db.Cluster = db.Prober.Cluster()
	db.Health = health.New(b.h.ctx, b.healthConfig(db), db.Prober, db.Traffic, all, listener{b.h.events, db})
	return db, nil
}

// hearSentinels gives a client a dialer that hears of a new master when the sentinels tell it, and waits for none that is silent.
// That of go-redis hears it for connections of its own pool.
func hearSentinels(h *Hook, db *database.Database, client *redis.Client, group *redis.FailoverOptions) (*redis.Client, func()) {
	heard := sentinel.New(sentinel.Config{
		Options: prober.FailoverOptions(group), Go: h.workers.Go, Ctx: h.ctx, Moved: func(from, to string) {
			db.Conns.CutAll()
			h.events.masterMoved(db.Name, from, to)
		},
	})
	opt := *client.Options()
	_ = client.Close()
	opt.Dialer = heard.Dial
	return redis.NewClient(&opt), heard.Close
}

func (b builder) healthConfig(db *database.Database) health.Config {
	opt := &b.h.opt
	return health.Config{
		Name: db.Name, Timeout: opt.Health.Timeout, Interval: opt.Health.Interval, ActiveInterval: opt.Health.ActiveInterval,
		StallTimeout: opt.Health.StallTimeout, BreakerDelay: opt.Breaker.Delay, BreakerSuccesses: opt.Breaker.Successes,
		Grace: health.GraceRule{
			Period: opt.Failback.GracePeriod, Max: opt.Failback.MaxGracePeriod, Factor: opt.Failback.Factor, Jitter: opt.Failback.Jitter,
		},
		Databases: len(opt.Databases), StartedAt: b.h.startedAt, Locate: db.Locate, Connections: db.Connections,
	}
}

// buildAll builds the databases, or none of them.
func (b builder) buildAll() ([]*database.Database, error) {
	var dbs []*database.Database
	for i, spec := range b.h.opt.Databases {
		db, err := b.newDatabase(spec, i)
		if err != nil {
			for _, built := range dbs {
				_ = built.Prober.Close()
			}
			return nil, fmt.Errorf("multidb: Databases[%d].%w", i, err)
		}
		dbs = append(dbs, db)
	}
	return dbs, nil
}

// client makes the client that probes the database. Its Options are also where the dialer, the address and the
// credentials for users' connections come from, so that TLS, Unix sockets and Sentinel are go-redis' own.
func (d Database) client() (*redis.Client, error) {
	if opt, err := d.clusterOptions(); opt != nil || err != nil {
		if err != nil {
			return nil, err
		}
		return redis.NewClient(prober.NodeOptions(opt)), nil
	}
	switch {
	case d.Failover != nil:
		return redis.NewFailoverClient(prober.FailoverOptions(d.Failover)), nil
	case d.URL != "":
		opt, err := redis.ParseURL(d.URL)
		if err != nil {
			return nil, fmt.Errorf("URL: %w", optioncheck.RedactURL(d.URL, err))
		}
		return redis.NewClient(prober.Options(opt)), nil
	case d.Options != nil:
		return redis.NewClient(prober.Options(d.Options)), nil
	default:
		return redis.NewClient(prober.Options(d.Client.(*redis.Client).Options())), nil
	}
}
