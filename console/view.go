package console

import (
	"fmt"
	"html/template"
	"slices"
	"strconv"
	"time"

	"github.com/redishook/multidb"
)

// view is what the page shows, in words.
type view struct {
	Name        string
	Level       level
	Status      string
	Sentence    string
	Now         string
	Zone        string
	Cards       []card
	Picture     template.HTML
	HasPast     bool
	Events      []line
	Pinned      string
	MayAct      bool
	WhyNot      string
	Notice      string
	NoticeLevel level
}

// card is one database.
type card struct {
	Name, Class string
	Level       level
	State       string // one word
	Since       string
	Addr        string
	Weight      string
	Facts       []fact
	Troubles    []string
	Waits       []string
	Active      bool
}

type fact struct{ Label, Value, Class string }

type line struct {
	event
	Clock, Ago string
}

// view asks the hook once. mayAct is nil for those who get buttons.
func (c *Console) view(now time.Time, mayAct error) view {
	s := c.hook.Stats()
	choice := c.hook.Choice()
	zone, _ := now.Zone()
	v := view{Name: s.Name, Now: now.Format("15:04:05"), Zone: zone, Pinned: s.Held, MayAct: mayAct == nil, WhyNot: text(mayAct)}
	v.Level, v.Status, v.Sentence = judge(now, s, choice)
	names, past := c.history.snapshot()
	for _, d := range s.Databases {
		v.Cards = append(v.Cards, cardOf(now, s, d, classOf(names, d.Name)))
	}
	events := c.events.snapshot()
	v.HasPast = len(past) > 1
	if v.HasPast {
		v.Picture = template.HTML(picture(now, names, past, events)) // package chart escapes what is written there
	}
	for _, e := range slices.Backward(events) {
		v.Events = append(v.Events, line{e, e.At.Format("15:04:05"), ago(now.Sub(e.At))})
	}
	return v
}

// judge says in one line how things are, and in one more why.
func judge(now time.Time, s multidb.Stats, choice multidb.Choice) (l level, status, sentence string) {
	usable := 0
	var broken []string
	heavier := ""
	var active multidb.DatabaseStats
	for _, d := range s.Databases {
		if d.Name == s.Active {
			active = d
		}
	}
	for _, d := range s.Databases {
		switch {
		case d.Breaker == multidb.BreakerClosed:
			usable++
		case d.Breaker != multidb.BreakerUnknown:
			broken = append(broken, d.Name)
		}
		if d.Weight > active.Weight && d.Name != s.Active {
			heavier = d.Name
		}
	}
	since := short(max(now.Sub(choice.At), 0).Round(time.Second))
	all := fmt.Sprintf("%d of %d databases usable", usable, len(s.Databases))
	switch {
	case s.Down:
		return bad, "NO DATABASE IS USABLE", "for " + since + ". Commands are refused. The first database that answers is used at once. " + trouble(active)
	case len(broken) > 0:
		return warn, s.Active + " is active, " + join(broken) + " UNUSABLE", "for " + since + ", reason " + string(choice.Reason) + " · " + all
	case s.Held != "":
		return warn, s.Held + " is active, pinned by hand", "for " + since + " · " + all + ". No automatic return until it is released."
	case heavier != "":
		return warn, s.Active + " is active, " + heavier + " is preferred", "for " + since + ", reason " + string(choice.Reason) + " · " + all
	}
	return good, s.Active + " is active", "for " + since + ", reason " + string(choice.Reason) + " · " + all
}

func trouble(d multidb.DatabaseStats) string {
	if d.LastError == nil {
		return ""
	}
	return d.Name + ": " + text(d.LastError)
}

func cardOf(now time.Time, s multidb.Stats, d multidb.DatabaseStats, class string) card {
	c := card{
		Name: d.Name, Class: class, Weight: strconv.FormatFloat(d.Weight, 'g', -1, 64), Addr: d.Addr,
		Active: d.Name == s.Active && !s.Down, Waits: waitsFor(now, s, d),
	}
	if d.DB != 0 {
		c.Addr += "/" + strconv.Itoa(d.DB)
	}
	c.Level, c.State = stateOf(s, d)
	if !d.Since.IsZero() {
		c.Since = short(max(now.Sub(d.Since), 0).Round(time.Second))
	}
	if d.LastError != nil {
		c.Troubles = append(c.Troubles, text(d.LastError))
	}
	if d.GateError != nil {
		c.Troubles = append(c.Troubles, "not moved to as planned: "+text(d.GateError))
	}
	latency := "not known"
	if d.Latency > 0 {
		latency = short(d.Latency)
	}
	c.Facts = []fact{
		{"round trip", latency, ""},
		{"connections", fmt.Sprintf("%s open, %s dialed", count(uint64(d.Connections)), count(d.Dialed)), ""},
		{"commands", fmt.Sprintf("%s ok, %s failed", count(d.Successes), count(d.Failures)), ""},
		{"run again", count(d.Replayed), ""},
		{"unknown outcome", count(d.Unknown), alarming(d.Unknown)},
		{"refused", count(d.Refused), alarming(d.Refused)},
		{"suspected", fmt.Sprintf("%s, cleared %s", count(d.Suspicions), count(d.Cleared)), ""},
	}
	for _, code := range sortedKeys(d.Replies) {
		c.Facts = append(c.Facts, fact{code + " replies", count(d.Replies[code]), "bad"})
	}
	return c
}

func alarming(n uint64) string {
	if n > 0 {
		return "bad"
	}
	return ""
}

func stateOf(s multidb.Stats, d multidb.DatabaseStats) (level, string) {
	switch {
	case d.Breaker == multidb.BreakerUnknown:
		return quiet, "not checked yet"
	case d.Breaker == multidb.BreakerHalfOpen:
		return warn, "being tried"
	case d.Breaker != multidb.BreakerClosed:
		return bad, "UNUSABLE"
	case d.Name == s.Active && s.Held == d.Name:
		return good, "ACTIVE, pinned"
	case d.Name == s.Active:
		return good, "ACTIVE"
	}
	return quiet, "usable"
}

// waitsFor says what stands between a heavier database and the return to it; nothing if it is not heavier than the active
// one. Another strategy than HighestWeight may have reasons of its own.
func waitsFor(now time.Time, s multidb.Stats, d multidb.DatabaseStats) (reasons []string) {
	i := slices.IndexFunc(s.Databases, func(other multidb.DatabaseStats) bool { return other.Name == s.Active })
	if i < 0 || d.Name == s.Active || d.Weight <= s.Databases[i].Weight {
		return nil
	}
	if s.Held != "" {
		reasons = append(reasons, "the pin on "+s.Held+" to be released")
	}
	if d.Breaker != multidb.BreakerClosed {
		reasons = append(reasons, "its health checks to pass")
	}
	switch left := d.GracePeriod - now.Sub(d.Since); {
	case d.GracePeriod < 0:
		reasons = append(reasons, "you: Failback.GracePeriod is negative, so nothing returns of its own accord")
	case d.Breaker != multidb.BreakerClosed:
		reasons = append(reasons, "then "+short(d.GracePeriod)+" of good health, the grace period")
	case left > 0:
		reasons = append(reasons, short(left.Round(time.Second))+" more of good health, the grace period")
	}
	if d.GateError != nil {
		reasons = append(reasons, "a check that keeps it out: "+text(d.GateError))
	}
	if len(reasons) == 0 {
		reasons = append(reasons, "its next health check")
	}
	return reasons
}
