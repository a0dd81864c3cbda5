package console

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redishook/multidb"
)

// kept is how many events are remembered.
const kept = 100

// event is something that has happened, said in a sentence.
type event struct {
	At     time.Time `json:"at"`
	Level  level     `json:"level"`
	Text   string    `json:"text"`
	Detail string    `json:"detail,omitempty"`
	// Mark is what stands in the picture; empty for what does not.
	Mark string `json:"mark,omitempty"`
}

// level is how bad an event is, and the class of its colour.
type level string

const (
	bad   level = "bad"
	warn  level = "warn"
	good  level = "good"
	quiet level = "quiet"
)

// eventLog is the last events. The zero value is ready.
type eventLog struct {
	mu  sync.Mutex
	all []event // Guarded by mu; the oldest first
}

func (l *eventLog) add(e event) {
	e.At = time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) == kept {
		l.all = slices.Delete(l.all, 0, 1)
	}
	l.all = append(l.all, e)
}

// snapshot returns the events, the oldest first.
func (l *eventLog) snapshot() []event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

// of turns what a hook tells into events.
func (l *eventLog) of() multidb.Events {
	return multidb.Events{
		OnSwitch: func(s multidb.Switch) { l.add(switched(s)) },
		OnHealth: func(h multidb.HealthChange) { l.add(changed(h)) },
		OnAllDown: func(cause error) {
			l.add(event{Level: bad, Text: "NO DATABASE IS USABLE: commands are refused", Detail: text(cause), Mark: "all down"})
		},
		OnRecovered: func(database string) {
			l.add(event{Level: good, Text: database + " answers again and is in use: commands are served", Mark: "recovered"})
		},
	}
}

func switched(s multidb.Switch) event {
	e := event{Level: warn, Detail: text(s.Cause), Mark: s.From + " → " + s.To}
	kind := "failover"
	switch {
	case s.Planned && s.Reason == multidb.ReasonFailback:
		e.Level, kind = good, "return"
	case s.Planned:
		e.Level, kind = quiet, "planned switch"
	}
	e.Text = fmt.Sprintf("%s %s → %s, reason %s, took %s", kind, s.From, s.To, s.Reason, short(s.Took))
	if s.DryRun {
		e.Text = "dry run, nothing was switched: " + e.Text
	}
	e.Text = strings.ToUpper(e.Text[:1]) + e.Text[1:]
	return e
}

func changed(h multidb.HealthChange) event {
	if h.State == multidb.BreakerClosed {
		return event{Level: good, Text: h.Database + " is usable"}
	}
	return event{Level: bad, Text: h.Database + " is UNUSABLE", Detail: text(h.Cause)}
}

// text is that of an error, in one line.
func text(err error) string {
	if err == nil {
		return ""
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

// short writes a duration with about three digits.
func short(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + short(-d)
	case d < 10*time.Microsecond:
		return d.Round(100 * time.Nanosecond).String()
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < 100*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm %ds", d/time.Minute, d/time.Second%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh %dm", d/time.Hour, d/time.Minute%60)
	}
	return fmt.Sprintf("%dd %dh", d/(24*time.Hour), d/time.Hour%24)
}
