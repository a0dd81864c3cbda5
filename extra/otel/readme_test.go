package multidbotel_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric"

	multidbotel "github.com/redishook/multidb/extra/otel"
)

func TestReadmeHasEveryInstrument(t *testing.T) {
	f := start(t, nil)
	reader := metric.NewManualReader()
	stop, err := multidbotel.InstrumentMetrics(f.hook, multidbotel.MetricsOptions{MeterProvider: metric.NewMeterProvider(metric.WithReader(reader))})
	require.NoError(t, err)
	defer func() { require.NoError(t, stop()) }()
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	units := read(t, reader).unit
	require.GreaterOrEqual(t, len(units), 9)
	for name, unit := range units {
		last := name[strings.LastIndexByte(name, '.'):]
		require.True(t, strings.Contains(string(readme), "`"+name+"`") || strings.Contains(string(readme), "`"+last+"`"), name)
		require.Contains(t, string(readme), "`"+unit+"`", name)
	}
}
