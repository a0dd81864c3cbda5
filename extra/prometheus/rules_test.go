package multidbprometheus_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	multidbprometheus "github.com/redishook/multidb/extra/prometheus"
)

// needs skips a test where a program is not installed.
func needs(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not on PATH; on Debian: apt-get install prometheus", program)
	}
	return path
}

func TestPromtoolAcceptsTheRules(t *testing.T) {
	promtool := needs(t, "promtool")
	for _, args := range [][]string{{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}} {
		out, err := exec.Command(promtool, args...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "SUCCESS")
	}
}

// exported returns the names of all metrics.
func exported(t *testing.T) []string {
	t.Helper()
	hook, _ := newHook(t, 1, nil)
	registry := prometheus.NewRegistry()
	registry.MustRegister(multidbprometheus.NewCollector(hook))
	families, err := registry.Gather()
	require.NoError(t, err)
	var names []string
	for _, family := range families {
		names = append(names, family.GetName())
	}
	return names
}

var metricName = regexp.MustCompile(`redis_multidb_[a-z_]+`)

// A rule or a panel about a metric that is called otherwise shows nothing, for ever, and nobody notices.
func TestRulesAndDashboardUseMetricsThatThereAre(t *testing.T) {
	names := exported(t)
	for _, file := range []string{"alerts.yml", "alerts_test.yml", "dashboard.json", "README.md", operations} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		used := metricName.FindAllString(string(text), -1)
		require.NotEmpty(t, used, file)
		for _, name := range used {
			require.Contains(t, names, name, file)
		}
	}
}

func TestReadmeHasEveryMetricAndEveryAlert(t *testing.T) {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	for _, name := range exported(t) {
		require.Contains(t, string(text), "`"+name+"`")
	}
	rules, err := os.ReadFile("alerts.yml")
	require.NoError(t, err)
	alerts := regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(rules), -1)
	require.Len(t, alerts, 8)
	tests, err := os.ReadFile("alerts_test.yml")
	require.NoError(t, err)
	for _, alert := range alerts {
		require.Contains(t, string(text), "`"+alert[1]+"`")
		require.Regexp(t, `alertname: `+alert[1]+"\n +exp_alerts", string(tests), "a test in which it fires")
	}
}

func TestDashboardIsWellFormed(t *testing.T) {
	text, err := os.ReadFile("dashboard.json")
	require.NoError(t, err)
	var board struct {
		Title  string
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal(text, &board))
	require.NotEmpty(t, board.Title)
	var ids []int
	for _, panel := range board.Panels {
		require.NotContains(t, ids, panel.ID, panel.Title)
		ids = append(ids, panel.ID)
		require.True(t, slices.ContainsFunc(panel.Targets, func(target struct{ Expr string }) bool {
			return strings.Contains(target.Expr, "redis_multidb_")
		}), panel.Title)
	}
	require.GreaterOrEqual(t, len(ids), 8)
}
