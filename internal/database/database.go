// Package database is one of the databases of a hook as a whole: how to get there, the connections that are there now, and what is
// known about its health and its traffic.
package database

import (
	"errors"
	"math"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/cluster"
	"github.com/redishook/multidb/internal/conn"
	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/health"
	"github.com/redishook/multidb/internal/prober"
	"github.com/redishook/multidb/internal/traffic"
)

// The errors that a hook returns about its databases. Their texts are those that its users see.
var (
	ErrNone    = errors.New("multidb: no database is usable now")
	ErrClosed  = errors.New("multidb: hook is closed")
	ErrUnknown = errors.New("multidb: unknown database")
)

// Database is one of the databases of a hook. Make it with New, and set the parts before anybody else has it.
type Database struct {
	Name    string
	ID      uint64 // see Find
	Order   int    // of configuration; the last word in an election. Guarded by the lock of the selector
	Options *redis.Options

	Conns   *conn.Set
	Prober  *prober.Prober
	Health  *health.Health
	Traffic *traffic.Traffic
	// Cluster is what is known of a database that is a Redis Cluster; nil for a single one.
	Cluster *cluster.Cluster

	Refusals Refusals
	Replies  ReplyCounts

	weight atomic.Uint64 // math.Float64bits
	// WeightAtLastSwitch is the weight at the last choice. Guarded by the lock of the selector.
	WeightAtLastSwitch float64

	begun     time.Time
	mentioned atomic.Int64 // see MayMention; ns since begun, 0: never
	seen      atomic.Int64 // how many connections there were at the last look of a Watch
	forgot    atomic.Int64 // when its connections were found to be forgotten on their way; ns since begun, 0: never
}

// New makes a database without its parts.
func New(name string, order int, weight float64) *Database {
	db := &Database{Name: name, Order: order, begun: time.Now()}
	db.SetWeight(weight)
	db.number()
	return db
}

// SetWeight changes the weight. Safe for concurrent use.
func (db *Database) SetWeight(w float64) { db.weight.Store(math.Float64bits(w)) }

// Weight is the weight now. Safe for concurrent use.
func (db *Database) Weight() float64 { return math.Float64frombits(db.weight.Load()) }

// MayMention reports whether a thing that goes on may be mentioned now: once in an interval. Safe for concurrent use.
func (db *Database) MayMention(interval time.Duration) bool {
	now, last := int64(time.Since(db.begun))+1, db.mentioned.Load()
	return (last == 0 || time.Duration(now-last) >= interval) && db.mentioned.CompareAndSwap(last, now)
}

// Endpoint is a database as the network knows it.
type Endpoint struct {
	Database      string
	Network, Addr string
	DB            int
}

// Endpoint is where connections of the database go. Addr is empty for a cluster, which has many, and for a group that is watched
// by Sentinel before the first dial.
func (db *Database) Endpoint() Endpoint {
	e := Endpoint{Database: db.Name, Network: db.Options.Network, Addr: db.Options.Addr, DB: db.Options.DB}
	if db.Cluster != nil {
		e.Addr = ""
	}
	if e.Addr == goredis.SentinelAddr {
		e.Addr = db.Conns.Master()
	}
	return e
}
