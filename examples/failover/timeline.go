package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redishook/multidb"
)

// shortest is the shortest interval that gets a line.
const shortest = 100 * time.Millisecond

// timeline prints what happens as it happens. It belongs to one goroutine.
type timeline struct {
	out     io.Writer
	began   time.Time
	width   int // of the longest name
	total   tally
	max     time.Duration
	history []mark // one per line, to say how many errors came around a switch
}

// mark is the sum of errors at one time.
type mark struct {
	at              time.Time
	errors, unknown int
}

func (t *timeline) header(names []string) {
	t.width = len("active")
	for _, name := range names {
		t.width = max(t.width, len(name))
	}
	fmt.Fprintf(t.out, "\n%8s  %-*s  %9s  %9s  %9s  %9s  %6s\n", "time", t.width, "active", "ops/s", "p50", "p99", "max", "errors")
	t.history = append(t.history, mark{at: t.began})
}

// tick prints the line of one interval, unless it is a rest at the end, too short to say something.
func (t *timeline) tick(now time.Time, active string, sum tally, took []time.Duration, last error) {
	slices.Sort(took)
	interval := now.Sub(t.history[len(t.history)-1].at)
	t.total.add(sum)
	t.max = max(t.max, percentile(took, 1))
	t.history = append(t.history, mark{now, t.total.errors, t.total.unknown})
	if interval < shortest && sum.errors == 0 {
		return
	}
	fmt.Fprintf(t.out, "%s  %-*s  %9s  %9s  %9s  %9s  %6d\n", t.stamp(now), t.width, active,
		thousands(int(float64(sum.ops)/interval.Seconds())),
		millis(percentile(took, 0.5)), millis(percentile(took, 0.99)), millis(percentile(took, 1)), sum.errors)
	if last != nil {
		t.detail("the latest error: " + last.Error())
	}
}

// event prints a line between the ticks.
func (t *timeline) event(at time.Time, text string) {
	fmt.Fprintf(t.out, "%s  -- %s\n", t.stamp(at), text)
}

// detail prints more about the line above it. What does not fit a terminal is left out of the middle: an error begins with
// where it happened and ends with why.
func (t *timeline) detail(text string) {
	const head, tail = 56, 50
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > head+tail {
		text = text[:head] + "..." + text[len(text)-tail:]
	}
	fmt.Fprintf(t.out, "%8s     %s\n", "", text)
}

func (t *timeline) stamp(at time.Time) string {
	return fmt.Sprintf("%7.1fs", at.Sub(t.began).Seconds())
}

// around returns how many errors came from shortly before a switch began until shortly after it.
func (t *timeline) around(s moved) mark {
	before, after := t.history[0], t.history[len(t.history)-1]
	for _, m := range t.history {
		if !m.at.After(s.at.Add(-s.Took)) {
			before = m
		}
		if !m.at.Before(s.at) {
			after = m
			break
		}
	}
	return mark{errors: after.errors - before.errors, unknown: after.unknown - before.unknown}
}

// moved is a switch and when it was reported.
type moved struct {
	multidb.Switch
	at time.Time
}

func (m moved) String() string {
	kind := "failover"
	if m.Planned {
		kind = "planned switch"
	}
	return fmt.Sprintf("%s -> %s, reason %s (%s), took %s", m.From, m.To, m.Reason, kind, m.Took.Round(time.Microsecond))
}

// percentile of sorted values; 0 if there are none.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(p*float64(len(sorted)-1))]
}

func millis(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', 2, 64) + "ms"
}

// thousands writes 1234567 as 1,234,567.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
