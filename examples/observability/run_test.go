package main

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/testmain"
)

func TestMain(m *testing.M) { testmain.Run(m) }

// The program shows the failover in each kind of telemetry.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out strings.Builder
	require.NoError(t, run(ctx, &out, "", "../../extra/prometheus/alerts.yml"))
	t.Log(out.String())
	want := []string{
		`redis_multidb_active{database="west",hook="example"} 1`,
		`redis_multidb_switches_total{hook="example",reason="health_check"} 1`,
		"redis.client.multidb.failovers {failover.reason=health_check from_database=east multidb.hook=example to_database=west} 1",
		"multidb.database=east",
		"multidb.database=west",
	}
	if _, err := exec.LookPath("prometheus"); err == nil {
		want = append(want, `redis_multidb_active{database="west"} == 1: 1`, `ALERTS{alertname="RedisMultidbSwitched",alertstate="firing"}: 1`)
	} else {
		want = append(want, "Prometheus is not installed")
	}
	for _, line := range want {
		require.Contains(t, out.String(), line)
	}
}
