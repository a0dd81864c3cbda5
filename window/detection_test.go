package window

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write DETECTION.md anew instead of comparing it")

var (
	traffics = []int64{1, 10, 100, 1_000, 10_000, 100_000} // commands a second
	rates    = []int64{1, 10, 50, 90, 100, 200, 500, 1000} // failures in a thousand commands
)

// The page is what the code does, and what the code does is what the two thresholds say on paper.
func TestDetectionTable(t *testing.T) {
	var doc strings.Builder
	doc.WriteString(`# How long detection takes

Made by a simulation in virtual time that feeds a detector as the hook does; a test compares this page with
the code. To make it anew:

    go test ./window -run TestDetectionTable -update

A database works without a fault, then the given share of its commands fails, evenly spaced. The tables tell
the time from then to the verdict; "-" is none within a minute, or
within 7 s at 10,000 commands a second and more.

No verdict is given while the share in the window is below the threshold; the test holds every verdict
against a list of everything that happened. A long-run share below the threshold therefore gives none,
however much traffic there is, except where a window holds so few commands that one failure more or less
decides: at 10 commands a second and 9 %, a window of 50 commands has four failures or five, and five are
10 %. Such cells are marked with "*".
`)
	for _, preset := range []struct {
		title, text string
		cfg         Config
		rounded     []string // the cells that trip below the threshold
	}{
		{"The default", "`window.Config{}`: 5 failures and 10 % within 5 s.", Config{}, []string{"10/s, 90 of 1000"}},
		{"The peers' preset", "`window.Peers()`: 1000 failures and 10 % within 2 s, as redis-py, Jedis and Lettuce.", Peers(), nil},
	} {
		fmt.Fprintf(&doc, "\n## %s\n\n%s\n\n| commands/s |", preset.title, preset.text)
		for _, r := range rates {
			fmt.Fprintf(&doc, " %v %% |", float64(r)/10)
		}
		doc.WriteString("\n|---:|" + strings.Repeat("---:|", len(rates)) + "\n")
		var rounded []string
		for _, traffic := range traffics {
			fmt.Fprintf(&doc, "| %d |", traffic)
			for _, r := range rates {
				got := measure(t, preset.cfg, traffic, r)
				mark := ""
				if got != never && expected(preset.cfg, traffic, r) == never {
					rounded = append(rounded, fmt.Sprintf("%d/s, %d of 1000", traffic, r))
					mark = " *"
				}
				fmt.Fprintf(&doc, " %s%s |", cell(got), mark)
			}
			doc.WriteString("\n")
		}
		assert.Equal(t, preset.rounded, rounded, "cells with a verdict below the threshold")
	}
	doc.WriteString(`
## Verdicts by pure chance

The same default, when every command fails with the given probability, independent of all others: how many
verdicts that gives. Below the threshold, these are the price of tripping on few failures: it is paid where
five failures are close to 10 % of a window, around ten commands a second. A busier or a quieter database
pays less; one that loses one command in a thousand pays nothing. For fewer, raise MinFailures and Window
together.

| commands/s | in | 0.1 % | 1 % | 2 % | 5 % |
|---:|:---|---:|---:|---:|---:|
`)
	for _, row := range []struct {
		traffic int64
		span    time.Duration
		name    string
	}{
		{1, 6 * time.Hour, "6 hours"},
		{10, 6 * time.Hour, "6 hours"},
		{100, time.Hour, "an hour"},
		{1000, 10 * time.Minute, "10 minutes"},
	} {
		fmt.Fprintf(&doc, "| %d | %s |", row.traffic, row.name)
		for _, r := range []int64{1, 10, 20, 50} {
			n := falseVerdicts(Config{}, row.traffic, r, row.span)
			if r == 1 {
				assert.Zero(t, n, "verdicts by chance at %d/s and 0.1 %%", row.traffic)
			}
			fmt.Fprintf(&doc, " %d |", n)
		}
		doc.WriteString("\n")
	}

	const file = "DETECTION.md"
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(doc.String()), 0o644))
		return
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), doc.String(), "%s is out of date; run with -update", file)
}

// expected is what the two thresholds say on paper: when there are enough failures, and when they are
// enough of a window that is full of successes; never when either cannot be.
func expected(c Config, traffic, permille int64) time.Duration {
	c = c.withDefaults()
	share := float64(permille) / 1000
	perSecond := float64(traffic) * share
	enough := time.Duration(float64(c.MinFailures) / perSecond * float64(sec))
	if share < c.FailureRate || enough > c.Window {
		return never
	}
	return max(enough, time.Duration(c.FailureRate/share*float64(c.Window)))
}

// mayTrip is whether any window can reach both thresholds when one command in every 1000/permille fails: n
// commands in a row have at most n*permille/1000 failures, rounded up.
func mayTrip(c Config, traffic, permille int64) bool {
	c = c.withDefaults()
	shortest := int64(c.Window-c.Window/time.Duration(c.Buckets)) * traffic / int64(sec)
	longest := int64(c.Window)*traffic/int64(sec) + 1
	for n := shortest; n <= longest; n++ {
		failures := (n*permille + 999) / 1000
		if failures >= int64(c.MinFailures) && float64(failures)/float64(n) >= c.FailureRate {
			return true
		}
	}
	return false
}

// measure takes the time to a verdict and compares it with the one on paper. Evenly spaced commands allow
// for: the time between two failures, a window that is one bucket short, and a success more or less at a
// tick.
func measure(t *testing.T, c Config, traffic, permille int64) time.Duration {
	t.Helper()
	want := expected(c, traffic, permille)
	c = c.withDefaults()
	d := &checked{Detector: NewFailureRate(c)(), t: t, cfg: c}
	got := timeToVerdict(d, c, traffic, permille)
	between := time.Duration(1000 * int64(sec) / (traffic * permille))
	slack := c.Window/time.Duration(c.Buckets) + tick + between
	switch {
	case !mayTrip(c, traffic, permille):
		assert.Equal(t, never, want)
		assert.Zero(t, d.verdicts, "%d/s, %d of 1000: a verdict although no window reaches the thresholds", traffic, permille)
	case want == never, permille == int64(c.FailureRate*1000):
		// The rounding of a window to whole commands decides; d has checked the verdict, if any.
	default:
		assert.NotEqual(t, never, got, "%d/s, %d of 1000: no verdict", traffic, permille)
		assert.InDelta(t, want.Seconds(), got.Seconds(), slack.Seconds(), "%d/s, %d of 1000", traffic, permille)
	}
	return got
}

func cell(d time.Duration) string {
	if d == never {
		return "-"
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}
