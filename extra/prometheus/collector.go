package multidbprometheus

import (
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/redishook/multidb"
)

// Collector is a [prometheus.Collector] of one or several hooks. Make it with [NewCollector]. Safe for concurrent use.
type Collector struct {
	hooks []source

	mu     sync.Mutex
	labels map[labelKey]*labelSet // made once for each database
}

// source is a hook and the value of its label.
type source struct {
	hook *multidb.Hook
	name string
}

// labelKey names a database of a hook; the hook itself has an empty database.
type labelKey struct{ hook, database string }

var _ prometheus.Collector = (*Collector)(nil)

// NewCollector returns a collector of the hooks. The label hook is the name of the hook (Options.Name). If several hooks have
// one name, the second becomes name-2, and so on, because a registry refuses two series with the same labels. It panics if a
// hook is nil.
func NewCollector(hooks ...*multidb.Hook) *Collector {
	c := &Collector{labels: make(map[labelKey]*labelSet)}
	taken := make(map[string]bool)
	for _, hook := range hooks {
		if hook == nil {
			panic("multidbprometheus: NewCollector: a hook is nil")
		}
		base := hook.Stats().Name
		name := base
		for n := 2; taken[name]; n++ {
			name = base + "-" + strconv.Itoa(n)
		}
		taken[name] = true
		c.hooks = append(c.hooks, source{hook, name})
	}
	return c
}

// Describe sends the description of every metric.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range allMetrics {
		ch <- m.desc
	}
}

// Collect sends every metric of every hook as it is now.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.hooks {
		c.collect(ch, s.name, s.hook.Stats())
	}
}

// collect makes all samples first and sends them after, because whoever receives them may be slow, and another scrape waits
// for the lock.
func (c *Collector) collect(ch chan<- prometheus.Metric, hook string, stats multidb.Stats) {
	samples := c.samples(hook, &stats)
	for i := range samples {
		ch <- &samples[i]
	}
}

func (c *Collector) samples(hook string, stats *multidb.Stats) []sample {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.labels) > 2*len(c.hooks)*(1+len(stats.Databases)) {
		clear(c.labels) // of databases that are there no longer
	}
	b := &batch{samples: make([]sample, 0, len(stats.Databases)*perDatabase+perHook)}
	b.labels = c.labelsOf(hook, "")
	b.add(down, one(stats.Down))
	for i, reason := range reasons {
		b.addTo(switches, b.labels.reasons[i], float64(stats.Switches[reason]))
	}
	for i := range stats.Databases {
		b.labels = c.labelsOf(hook, stats.Databases[i].Name)
		b.database(stats, &stats.Databases[i])
	}
	return b.samples
}

// batch gathers the samples of one hook.
type batch struct {
	labels  *labelSet
	samples []sample
}

func (b *batch) database(stats *multidb.Stats, db *multidb.DatabaseStats) {
	name := db.Name
	b.add(active, one(name == stats.Active && !stats.Down))
	b.add(usable, one(db.Breaker == multidb.BreakerClosed))
	b.add(pinned, one(name == stats.Held))
	b.add(gated, one(db.GateError != nil))
	b.add(weight, db.Weight)
	b.add(latency, db.Latency.Seconds())
	b.add(grace, db.GracePeriod.Seconds())
	b.add(since, float64(db.Since.UnixMilli())/1e3)
	b.add(connections, float64(db.Connections))
	b.add(windowFailures, float64(db.WindowFailures))
	b.add(windowCommands, float64(db.WindowCommands))
	b.add(successes, float64(db.Successes))
	b.addTo(failures, b.labels.kinds[0], float64(db.NotSent))
	b.addTo(failures, b.labels.kinds[1], float64(db.CannotServe))
	b.addTo(failures, b.labels.kinds[2], float64(db.Unanswered))
	b.add(replayed, float64(db.Replayed))
	b.add(unknown, float64(db.Unknown))
	b.add(refused, float64(db.Refused))
	b.add(suspicions, float64(db.Suspicions))
	b.add(cleared, float64(db.Cleared))
	b.add(dialed, float64(db.Dialed))
	for i, code := range codes {
		b.addTo(replies, b.labels.codes[i], float64(db.Replies[code]))
	}
}

// add adds a sample that has no label beside those of the hook and the database.
func (b *batch) add(m *metric, value float64) { b.addTo(m, b.labels.plain, value) }

func (b *batch) addTo(m *metric, labels []*dto.LabelPair, value float64) {
	b.samples = append(b.samples, sample{metric: m, value: value, labels: labels})
}

// labelSet has the labels of every series of a database, or of a hook.
type labelSet struct {
	plain                 []*dto.LabelPair
	reasons, kinds, codes [][]*dto.LabelPair
}

// labelsOf returns the labels of a database. Caller must hold mu.
func (c *Collector) labelsOf(hook, database string) *labelSet {
	key := labelKey{hook, database}
	if set, ok := c.labels[key]; ok {
		return set
	}
	set := &labelSet{}
	if database == "" {
		set.plain = pairs(hookLabel, hook)
		for _, reason := range reasons {
			set.reasons = append(set.reasons, pairs(hookLabel, hook, reasonLabel, string(reason)))
		}
	} else {
		set.plain = pairs(databaseLabel, database, hookLabel, hook)
		for _, kind := range kinds {
			set.kinds = append(set.kinds, pairs(databaseLabel, database, hookLabel, hook, kindLabel, kind))
		}
		for _, code := range codes {
			set.codes = append(set.codes, pairs(codeLabel, code, databaseLabel, database, hookLabel, hook))
		}
	}
	c.labels[key] = set
	return set
}

// pairs makes labels of names and values in turn. They must be sorted by name.
func pairs(names ...string) (labels []*dto.LabelPair) {
	for i := 0; i < len(names); i += 2 {
		labels = append(labels, &dto.LabelPair{Name: &names[i], Value: &names[i+1]})
	}
	return labels
}

// sample is one value of one series. It is a metric of our own because one made by the library builds and checks its labels
// anew at every scrape.
type sample struct {
	metric *metric
	labels []*dto.LabelPair
	value  float64
}

// Desc describes the metric.
func (s *sample) Desc() *prometheus.Desc { return s.metric.desc }

// Write fills in the labels and the value.
func (s *sample) Write(out *dto.Metric) error {
	out.Label = s.labels
	if s.metric.counter {
		out.Counter = &dto.Counter{Value: &s.value}
	} else {
		out.Gauge = &dto.Gauge{Value: &s.value}
	}
	return nil
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
