package multidbprometheus_test

// The page docs/operations.md against the code: each fault is made, and what the page quotes of log, metrics and console must come.

import (
	"context"
	"fmt"
	"html"
	"log/slog"
	"math"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/console"
	multidbprometheus "github.com/redishook/multidb/extra/prometheus"
)

const operations = "../../docs/operations.md"

// quotes are what the page quotes of one fault.
type quotes struct {
	fault  string // the heading
	quoted []string
}

// quotedFaults returns the faults of the page: each has a heading of the third level and a block of what is seen.
func quotedFaults(t testing.TB) (all []quotes) {
	t.Helper()
	page, err := os.ReadFile(operations)
	require.NoError(t, err)
	for _, part := range strings.Split(string(page), "\n### ")[1:] {
		heading, rest, _ := strings.Cut(part, "\n")
		_, block, ok := strings.Cut(rest, "```text\n")
		require.True(t, ok, "%s quotes nothing", heading)
		block, _, _ = strings.Cut(block, "```")
		all = append(all, quotes{heading, strings.Split(strings.TrimSpace(block), "\n")})
		for _, says := range []string{"**What has happened.**", "**What to do.**"} {
			require.Contains(t, rest, says, heading)
		}
	}
	return all
}

// Each fault of the page is made, and every line that is quoted must be seen: in the log, as a metric, on the console.
func TestOperationsPageQuotesWhatIsSeen(t *testing.T) {
	var headings []string
	for _, q := range quotedFaults(t) {
		headings = append(headings, q.fault)
		t.Run(q.fault, func(t *testing.T) {
			t.Parallel()
			fault := faults[q.fault]
			require.NotNil(t, fault, "no test makes this fault")
			s := newStage(t)
			fault(t, s)
			s.requireSeen(t, q.quoted)
		})
	}
	for fault := range faults {
		require.Contains(t, headings, fault, "the page has no such fault")
	}
	require.GreaterOrEqual(t, len(headings), 20)
}

// Every line that the hook can log is on the page, and every message that the page names is a line of the hook.
func TestOperationsPageHasEveryLogLine(t *testing.T) {
	page, err := os.ReadFile(operations)
	require.NoError(t, err)
	var source strings.Builder
	entries, err := os.ReadDir("../..")
	require.NoError(t, err)
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			text, err := os.ReadFile("../../" + name)
			require.NoError(t, err)
			source.Write(text)
		}
	}
	written := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?:Info|Warn|Error)\("(multidb: [^"]+)"|"(multidb: switched)"`).FindAllStringSubmatch(source.String(), -1) {
		message := m[1] + m[2]
		written[message] = true
		require.Contains(t, string(page), strings.TrimSpace(message), "a line of the log that the page does not explain")
	}
	require.Greater(t, len(written), 15)
	for _, m := range regexp.MustCompile(`msg="([^"…]+)(…?)"`).FindAllStringSubmatch(string(page), -1) {
		found := written[m[1]]
		for message := range written {
			found = found || m[2] != "" && strings.HasPrefix(message, m[1]) || strings.HasPrefix(m[1], message)
		}
		require.True(t, found, "nothing writes %q", m[1])
	}
}

// sight is all that an operator sees of a hook.
type sight struct {
	hook    *multidb.Hook
	console *console.Console
	metrics *prometheus.Registry

	mu  sync.Mutex
	log []string
}

func (s *sight) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, strings.TrimSpace(string(p)))
	return len(p), nil
}

// logger returns one that writes lines as slog's TextHandler does, without the time.
func (s *sight) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(s, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey && len(groups) == 0 {
			return slog.Attr{}
		}
		return a
	}}))
}

// watch begins to look at a hook.
func (s *sight) watch(t testing.TB, hook *multidb.Hook) {
	s.hook = hook
	s.console = console.New(hook, console.Options{Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(s.console.Close)
	s.metrics = prometheus.NewRegistry()
	s.metrics.MustRegister(multidbprometheus.NewCollector(hook))
}

var (
	tags   = regexp.MustCompile(`<[^>]*>`)
	spaces = regexp.MustCompile(`\s+`)
)

// seen returns everything that is seen now: the lines of the log, the metrics as "name{labels} value", and the console as one line.
func (s *sight) seen(t testing.TB) (log, metrics []string, page string) {
	t.Helper()
	s.mu.Lock()
	log = slices.Clone(s.log)
	s.mu.Unlock()
	if s.hook == nil {
		return log, nil, ""
	}
	families, err := s.metrics.Gather()
	require.NoError(t, err)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := strings.ReplaceAll(nameOf(family, m), `hook="default",`, "")
			name = strings.ReplaceAll(strings.ReplaceAll(name, `,hook="default"`, ""), `{hook="default"}`, "")
			metrics = append(metrics, fmt.Sprintf("%s %g", name, m.GetGauge().GetValue()+m.GetCounter().GetValue()))
		}
	}
	w := httptest.NewRecorder()
	s.console.ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), "GET", "/", nil))
	page = spaces.ReplaceAllString(html.UnescapeString(tags.ReplaceAllString(w.Body.String(), " ")), " ")
	return log, metrics, page
}

// requireSeen waits until every quoted line has been seen. "…" stands for anything.
func (s *sight) requireSeen(t testing.TB, quoted []string) {
	t.Helper()
	var missing []string
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		log, metrics, page := s.seen(t)
		missing = slices.DeleteFunc(slices.Clone(quoted), func(line string) bool { return isSeen(line, log, metrics, page) })
		if len(missing) == 0 {
			return
		}
		if time.Now().After(end) {
			changed := slices.DeleteFunc(metrics, func(m string) bool { return strings.HasSuffix(m, " 0") })
			t.Fatalf("not seen:\n%s\n\nlog:\n%s\n\nmetrics:\n%s\n\nconsole:\n%s", strings.Join(missing, "\n"),
				strings.Join(log, "\n"), strings.Join(changed, "\n"), page)
		}
	}
}

func number(text string) float64 {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return math.NaN() // which is greater than nothing
	}
	return f
}

func isSeen(quoted string, log, metrics []string, page string) bool {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(quoted), "…", ".*")
	switch {
	case strings.HasPrefix(quoted, "level="):
		return slices.ContainsFunc(log, regexp.MustCompile("^"+pattern+"( .*)?$").MatchString)
	case strings.HasPrefix(quoted, "redis_multidb_"):
		series, bound, ok := strings.Cut(quoted, " > ")
		if !ok {
			return slices.Contains(metrics, quoted)
		}
		return slices.ContainsFunc(metrics, func(m string) bool {
			is, same := strings.CutPrefix(m, series+" ")
			return same && number(is) > number(bound)
		})
	}
	words, ok := strings.CutPrefix(pattern, "console: ")
	return ok && regexp.MustCompile(words).MatchString(page)
}
