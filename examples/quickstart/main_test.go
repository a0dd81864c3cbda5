package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/require"
)

// The program of the README is built and run. Its database dies, and it goes on with the other one.
func TestQuickstartGoesOnAfterACrash(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "quickstart")
	out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	east, west := miniredis.RunT(t), miniredis.RunT(t)
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), "EAST=redis://"+east.Addr(), "WEST=redis://"+west.Addr())
	cmd.Stderr = os.Stderr
	printed, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	overdue := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer overdue.Stop()

	var seen []string
	for lines := bufio.NewScanner(printed); len(seen) < 4 && lines.Scan(); {
		seen = append(seen, lines.Text())
		if len(seen) == 2 {
			east.Close()
		}
	}
	require.Equal(t, []string{"east 1 <nil>", "east 2 <nil>", "west 1 <nil>", "west 2 <nil>"}, seen)
}

// A URL that was not set is told by the name of its field.
func TestQuickstartSaysWhatIsMissing(t *testing.T) {
	cmd := exec.Command("go", "run", ".")
	cmd.Env = append(os.Environ(), "EAST=", "WEST=")
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "Databases[0]")
	require.Contains(t, string(out), "URL")
}
