package multidbprometheus

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/redishook/multidb"
)

// The labels.
const (
	hookLabel     = "hook"
	databaseLabel = "database"
	reasonLabel   = "reason"
	kindLabel     = "kind"
	codeLabel     = "code"
)

// metric is a name with its labels.
type metric struct {
	desc    *prometheus.Desc
	counter bool
	extra   string // the label beside hook and database, or empty
}

// allMetrics are all that there are, in the order of Describe.
var allMetrics []*metric

func declare(counter bool, name, help, extra string, labels ...string) *metric {
	if extra != "" {
		labels = append(labels, extra)
	}
	m := &metric{prometheus.NewDesc("redis_multidb_"+name, help, labels, nil), counter, extra}
	allMetrics = append(allMetrics, m)
	return m
}

func ofHook(counter bool, name, help, extra string) *metric {
	return declare(counter, name, help, extra, hookLabel)
}

func gauge(name, help string) *metric {
	return declare(false, name, help, "", databaseLabel, hookLabel)
}

func counter(name, help string) *metric {
	return declare(true, name, help, "", databaseLabel, hookLabel)
}

func counterBy(extra, name, help string) *metric {
	return declare(true, name, help, extra, databaseLabel, hookLabel)
}

// The metrics. The README of the package documents them; a test compares.
var (
	down     = ofHook(false, "down", "1 while no database is usable.", "")
	switches = ofHook(true, "switches_total", "Switches of the active database, by reason. Those of a dry run count.", reasonLabel)

	active      = gauge("active", "1 for the database in use. 0 for all of them while none is usable.")
	usable      = gauge("usable", "1 if the circuit breaker of the database is closed.")
	pinned      = gauge("pinned", "1 for the database that a manual choice holds.")
	gated       = gauge("gated", "1 if a check that only gates keeps the database from being moved to.")
	weight      = gauge("weight", "Weight of the database.")
	latency     = gauge("latency_seconds", "Smoothed round trip of PING over established connections. 0 before the first.")
	grace       = gauge("grace_period_seconds", "How long the database must be healthy before the return to it.")
	since       = gauge("breaker_since_timestamp_seconds", "When the circuit breaker changed last.")
	connections = gauge("connections", "Open connections.")

	windowFailures = gauge("window_failures", "Failures that the failure detector sees in its window.")
	windowCommands = gauge("window_commands", "Commands that the failure detector sees in its window.")

	successes  = counter("successes_total", "Commands that were answered. A pipeline is one.")
	failures   = counterBy(kindLabel, "failures_total", "Commands that failed, by kind: not_sent, cannot_serve, unanswered.")
	replies    = counterBy(codeLabel, "replies_total", "Replies by which the server refuses, by code.")
	replayed   = counter("replayed_total", "Commands that were sent, not answered, and run again.")
	unknown    = counter("unknown_total", "Commands that were sent and not answered, and whose callers were told so.")
	refused    = counter("refused_total", "Commands that were refused because no database was usable.")
	suspicions = counter("suspicions_total", "How often the database was suspected.")
	cleared    = counter("cleared_total", "Suspicions that a quick probe has cleared.")
	dialed     = counter("dialed_total", "Connections that were dialed.")
)

var (
	reasons = multidb.Reasons()
	kinds   = []string{"not_sent", "cannot_serve", "unanswered"}
	codes   = multidb.ReplyCodes()
)

// How many samples there are, for one hook and for each of its databases.
var (
	perHook     = 1 + len(reasons)
	perDatabase = len(allMetrics) - 4 + len(kinds) + len(codes)
)
