package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each fault, on servers inside the program: what must be seen, and that no increment is lost or doubled in any.
func TestScenarios(t *testing.T) {
	for name, want := range map[string]struct {
		switches string // what the summary must match
		errors   bool   // whether callers may get some
	}{
		"hang":        {`east -> west, reason health_check \(failover\)`, true},
		"readonly":    {`east -> west, reason failure_detector \(failover\)`, true},
		"far":         {`switches          0 `, false},
		"pausewrites": {``, true},
		"login":       {``, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := demoOutput(t, t.Context(), "-miniredis -scenario "+name+" -duration 10s -grace 300ms -workers 6", nil)
			assert.Regexp(t, want.switches, out)
			assert.Regexp(t, `east is (STOPPED|READ-ONLY|FAR AWAY|PAUSED|GIVEN A NEW PASSWORD)`, out)
			assert.Contains(t, out, "east is back")
			assert.Contains(t, out, "nothing lost, nothing doubled")
			assert.Greater(t, number(t, out, "operations"), 1000)
			if !want.errors {
				assert.Zero(t, number(t, out, "errors"))
			}
		})
	}
}

// The drawing is an SVG with both databases, the fault and the switches.
func TestRunDrawsWhatItHasSeen(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "failover.svg")
	demoOutput(t, t.Context(), "-miniredis -duration 8s -grace 300ms -workers 6 -svg "+file, nil)
	svg, err := os.ReadFile(file)
	require.NoError(t, err)
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
	for _, text := range []string{">east: crash<", ">east is back<", ">east → west<", ">west → east<", ">operations per second<"} {
		assert.Contains(t, string(svg), text)
	}
	assert.NotContains(t, string(svg), "NaN")
}

// finder passes a line of the output on as soon as it is there.
type finder struct {
	bytes.Buffer
	pattern *regexp.Regexp
	found   chan string
}

func (f *finder) Write(p []byte) (int, error) {
	n, err := f.Buffer.Write(p)
	if m := f.pattern.FindSubmatch(f.Bytes()); m != nil {
		select {
		case f.found <- string(m[1]):
		default:
		}
	}
	return n, err
}

// The console is there while the demo runs, with buttons for whoever sits at the machine, and gone afterwards.
func TestRunServesTheConsole(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out := &finder{pattern: regexp.MustCompile(`console: (\S+)\n`), found: make(chan string, 1)}
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, strings.Fields("-miniredis -scenario none -duration 1h -http 127.0.0.1:0"), strings.NewReader(""), out)
	}()
	var url string
	select {
	case url = <-out.found:
	case err := <-ended:
		require.FailNow(t, "it has ended", "%v", err)
	}
	answer, err := http.Get(url)
	require.NoError(t, err)
	page, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Contains(t, string(page), "east is active")
	answer, err = http.PostForm(url, map[string][]string{"action": {"switch"}, "database": {"west"}})
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusOK, answer.StatusCode)
	cancel()
	require.NoError(t, <-ended)
	require.Contains(t, out.String(), "SWITCH east -> west, reason manual")
	_, err = http.Get(url)
	require.Error(t, err)

	err = run(t.Context(), strings.Fields("-miniredis -duration 1s -http 256.0.0.1:1"), strings.NewReader(""), io.Discard)
	require.ErrorContains(t, err, "-http")
}
