package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/internal/testkit/testmain"
)

func TestMain(m *testing.M) {
	logging.Disable()    // as main does
	testmain.Parallel(4) // each run takes the time that it is given, most of which it waits
	os.Exit(m.Run())
}

func TestRunShowsAFailoverAndTheReturn(t *testing.T) {
	for _, c := range []struct {
		name       string
		args       string
		needsRedis bool
	}{
		{"crash of a server inside the program", "-miniredis", false},
		{"crash of a redis-server", "-scenario crash", true},
		{"hang of a redis-server", "-scenario hang", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.needsRedis {
				redistest.Start(t) // skips the test where there is no redis-server, and fails it there in CI
			}
			out := demoOutput(t, t.Context(), c.args+" -duration 14s -grace 300ms -workers 6", nil)

			// The return is planned, so nobody notices it; what the failover costs is what may not be run twice.
			assert.Regexp(t, `east -> west, reason health_check \(failover\), took \S+; errors around it: \d+`, out)
			assert.Regexp(t, `west -> east, reason failback \(planned switch\), took \S+; errors around it: 0\n`, out)
			assert.Equal(t, 2, number(t, out, "switches"))
			assert.Equal(t, number(t, out, "unknown outcomes"), number(t, out, "errors"))
			assert.Greater(t, number(t, out, "operations"), 1000)
			assert.Contains(t, out, "nothing lost, nothing doubled")
			assert.Regexp(t, `(?s)\d\.\ds  east .*\d\.\ds  west .*\d\.\ds  east `, out, "the timeline names the active database")
			assert.Regexp(t, `SWITCH east -> west.*\n +cause: `, out)
			assert.Regexp(t, `east is unusable: breaker open\n +cause: `, out)
		})
	}
}

// TestRunShowsClusters: a master that dies is no switch, a cluster that dies is one, and the return is planned.
func TestRunShowsClusters(t *testing.T) {
	t.Parallel()
	redistest.Start(t) // skips the test where there is no redis-server, and fails it there in CI
	out := demoOutput(t, t.Context(), "-cluster -duration 20s -grace 300ms -workers 6", nil)
	assert.Regexp(t, `east: the master \S+ is KILLED`, out)
	assert.Regexp(t, `(?s)is KILLED.*east: \S+ is master now.*-- east is KILLED.*SWITCH east -> west`, out, "no switch before that of the cluster")
	assert.Regexp(t, `east -> west, reason \S+ \(failover\), took \S+; errors around it: \d+`, out)
	assert.Regexp(t, `west -> east, reason failback \(planned switch\), took \S+; errors around it: 0\n`, out)
	assert.Equal(t, 2, number(t, out, "switches"))
	assert.Equal(t, number(t, out, "unknown outcomes"), number(t, out, "errors"), "everything else waited for the replica")
	assert.Greater(t, number(t, out, "operations"), 1000)
	assert.NotContains(t, out, "DOUBLED")
	assert.Regexp(t, "nothing lost, nothing doubled|Redis replicates later", out)
}

func TestRunEndsEarlyWithASummary(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	began := time.Now()
	out := demoOutput(t, ctx, "-miniredis -duration 1h", nil)
	assert.Less(t, time.Since(began), 10*time.Second)
	assert.Contains(t, out, "ended early")
	assert.Equal(t, 0, number(t, out, "errors"))
	assert.Contains(t, out, "nothing lost, nothing doubled")
}

// Ended between the failure and the recovery, it still finds out what the dead server held.
func TestRunEndsEarlyDuringAnOutage(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second) // the failure is at 22 %, the recovery at 42 %
	defer cancel()
	out := demoOutput(t, ctx, "-miniredis -duration 16s", nil)
	assert.Equal(t, 1, number(t, out, "switches"))
	assert.Contains(t, out, "nothing lost, nothing doubled")
}

func TestRunSwitchesByHand(t *testing.T) {
	t.Parallel()
	t.Run("typed", func(t *testing.T) {
		t.Parallel()
		out := demoOutput(t, t.Context(), "-miniredis -scenario none -duration 2s", strings.NewReader("west\nnowhere\n\nr\n"))
		assert.Contains(t, out, "SWITCH east -> west, reason manual (planned switch)")
		assert.Contains(t, out, `"nowhere" is no database`)
		assert.Contains(t, out, "released")
		assert.Equal(t, 0, number(t, out, "errors"))
	})
	t.Run("at a time", func(t *testing.T) {
		t.Parallel()
		out := demoOutput(t, t.Context(), "-miniredis -scenario none -duration 2s -switch-at 500ms", nil)
		assert.Contains(t, out, "SWITCH east -> west, reason manual (planned switch)")
		assert.Equal(t, 1, number(t, out, "switches"))
		assert.Equal(t, 0, number(t, out, "errors"))
	})
}

func TestRunLeavesForeignDatabasesAlone(t *testing.T) {
	t.Parallel()
	first, second := miniredis.RunT(t), miniredis.RunT(t)
	second.RequireUserAuth("app", "secret")
	addrs := first.Addr() + ",redis://app:secret@" + second.Addr() + "/3"
	out := demoOutput(t, t.Context(), "-duration 2s -switch-at 1s -addrs "+addrs, nil)
	assert.Contains(t, out, "none is killed")
	assert.NotContains(t, out, "KILLED")
	assert.NotContains(t, out, "secret")
	assert.Equal(t, 0, number(t, out, "errors"))
	for _, db := range []*miniredis.RedisDB{first.DB(0), second.DB(3)} {
		assert.NotEmpty(t, db.Keys(), "the load has run here")
		for _, key := range db.Keys() {
			assert.Positive(t, db.TTL(key), "%s stays for ever", key)
		}
	}
}

func TestRunSaysWhatIsWrong(t *testing.T) {
	for args, want := range map[string]string{
		"-addrs localhost:1":                         "two databases",
		"-addrs localhost:1,redis://u:hush@h:port":   "number 2",
		"-addrs localhost:1,u:hush@localhost:2":      "number 2",
		"-addrs localhost:1,,localhost:2":            "-addrs: number 2 is empty",
		"-addrs localhost:1,":                        "-addrs: number 2 is empty",
		"-scenario fire":                             `-scenario "fire"`,
		"-duration -1s":                              "-duration",
		"-workers 0":                                 "-workers",
		"-pause -1s":                                 "-pause",
		"everything":                                 `"everything"`,
		"-cluster -miniredis":                        "-cluster",
		"-cluster -scenario hang":                    "-cluster",
		"-addrs localhost:1,localhost:2 -duration x": "duration",
	} {
		err := run(t.Context(), strings.Fields(args), strings.NewReader(""), io.Discard)
		require.ErrorContains(t, err, want, args)
		assert.NotContains(t, err.Error(), "hush")
	}
}

func TestAddrsAreTrimmedAndNamedApart(t *testing.T) {
	cfg, err := parseFlags([]string{"-addrs", " h:1, redis://h:1/2 ,h:1,\tredis://u:hush@h:1/2,h:2"}, io.Discard)
	require.NoError(t, err)
	f, err := startFleet(t.Context(), &cfg)
	require.NoError(t, err)
	var names, addrs []string
	for _, m := range f.members {
		names, addrs = append(names, m.name), append(addrs, m.opt.Addr)
	}
	assert.Equal(t, []string{"h:1", "h:1/2", "h:1/0", "h:1/2#4", "h:2"}, names)
	assert.Equal(t, []string{"h:1", "h:1", "h:1", "h:1", "h:2"}, addrs)
	assert.Equal(t, &f.members[3], f.find("h:1/2#4"))
}

// Cancelled before there is a load, as by an impatient Ctrl-C, it ends as cleanly as later.
func TestRunEndsBeforeItHasBegun(t *testing.T) {
	t.Parallel()
	redistest.Start(t) // skips the test where there is no redis-server, and fails it there in CI
	gone := miniredis.RunT(t)
	addr := gone.Addr()
	gone.Close()
	for args, patience := range map[string]time.Duration{
		"":                            0,
		"-miniredis":                  0,
		"-addrs " + addr + "," + addr: 200 * time.Millisecond,
	} {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(patience, cancel)
		if patience == 0 {
			cancel()
		}
		out := demoOutput(t, ctx, args, nil)
		assert.Contains(t, out, "ended early", args)
		assert.NotContains(t, out, "LOST", args)
	}
}

func TestRunSaysWhichDatabaseDoesNotAnswer(t *testing.T) {
	t.Parallel()
	gone := miniredis.RunT(t)
	addr := gone.Addr()
	gone.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err := run(ctx, []string{"-addrs", addr + "," + addr + "0"}, strings.NewReader(""), io.Discard)
	require.ErrorContains(t, err, addr)
}

func TestThousands(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		assert.Equal(t, want, thousands(n))
	}
}

// demoOutput runs the program and returns what it printed, which is also in the log of a test that fails.
func demoOutput(t *testing.T, ctx context.Context, args string, stdin io.Reader) string {
	t.Helper()
	if stdin == nil {
		stdin = strings.NewReader("")
	}
	var out bytes.Buffer // unlocked, so that the race detector sees a second goroutine that prints
	err := run(ctx, append([]string{"-every", "250ms"}, strings.Fields(args)...), stdin, &out)
	t.Log("\n" + out.String())
	require.NoError(t, err)
	return out.String()
}

// number finds a number of the summary.
func number(t *testing.T, out, label string) int {
	t.Helper()
	m := regexp.MustCompile(`(?m)^  ` + label + ` +([\d,]+)`).FindStringSubmatch(out)
	require.NotNil(t, m, "no %q in the summary", label)
	n, err := strconv.Atoi(strings.ReplaceAll(m[1], ",", ""))
	require.NoError(t, err)
	return n
}
