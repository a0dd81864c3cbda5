package multidb

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStatsAsJSON(t *testing.T) {
	since := time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)
	s := Stats{
		Active: "east", Held: "east", Switches: map[Reason]uint64{ReasonFailback: 2},
		Databases: []DatabaseStats{{
			Name: "east", Weight: 0.5, DB: 3, Breaker: BreakerOpen, Since: since, LastError: errors.New(`dial "east": refused`),
			GracePeriod: 1500 * time.Millisecond, Latency: 250 * time.Microsecond, Successes: 7,
		}},
	}
	text, err := json.Marshal(s)
	require.NoError(t, err)
	var got map[string]any
	require.NoError(t, json.Unmarshal(text, &got))
	require.Equal(t, "east", got["active"])
	require.Equal(t, map[string]any{"failback": 2.0}, got["switches"])
	db := got["databases"].([]any)[0].(map[string]any)
	require.Equal(t, `dial "east": refused`, db["last_error"])
	require.NotContains(t, db, "gate_error")
	require.Equal(t, 1.5, db["grace_period_seconds"])
	require.Equal(t, 0.00025, db["latency_seconds"])
	require.Equal(t, 3.0, db["db"])
	require.Equal(t, "open", db["breaker"])
	require.Equal(t, "2026-11-28T03:00:00Z", db["since"])
	require.Equal(t, 7.0, db["successes"])
}

// Whatever field is added one day: an error is text, and no two fields have one name.
func TestStatsAsJSONKeepEveryField(t *testing.T) {
	for _, stats := range []any{Stats{}, DatabaseStats{}} {
		v := reflect.New(reflect.TypeOf(stats)).Elem()
		fields := 0
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fields++
			}
			if v.Field(i).Type() == reflect.TypeFor[error]() {
				v.Field(i).Set(reflect.ValueOf(errors.New("the text of it")))
			}
		}
		text, err := json.Marshal(v.Interface())
		require.NoError(t, err)
		var got map[string]any
		require.NoError(t, json.Unmarshal(text, &got))
		require.Len(t, got, fields)
		for name, value := range got {
			require.NotEqual(t, map[string]any{}, value, "%s of %T", name, stats)
		}
	}
}
