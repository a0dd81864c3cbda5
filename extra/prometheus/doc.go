// Package multidbprometheus exports what a [multidb.Hook] knows to Prometheus. Register a [Collector]:
//
//	prometheus.MustRegister(multidbprometheus.NewCollector(hook))
//
// Beside it are alert rules (alerts.yml), their tests (alerts_test.yml) and a Grafana dashboard (dashboard.json), which use
// the metrics of this package and nothing else.
//
// # Cardinality
//
// Every metric has the label hook, which is Options.Name. Nearly all have the label database. Switches have reason (6 values),
// failures have kind (3 values), and replies have code: those of [multidb.ReplyCodes] and no others. No label holds an
// address, a key, a command or the text of an error. So the number of series grows with the number of databases alone.
//
// # Cost
//
// The command path does not know of the collector. A scrape calls Hook.Stats once for each hook.
package multidbprometheus
