package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/redistest"
)

const interruptEnv = "FAILOVER_INTERRUPT"

// Ctrl-C goes to the whole group of the terminal, also to what the program asks for the version of redis-server in its first
// milliseconds. Here that takes seconds, so that it is met for certain.
func TestInterruptInTheFirstMoment(t *testing.T) {
	if os.Getenv(interruptEnv) != "" {
		os.Args = os.Args[:1]
		main()
		os.Exit(0) // before the test framework prints its own words
	}
	t.Parallel()
	bin := t.TempDir()
	script := "#!/bin/sh\n[ \"$1\" = --version ] || exit 1\n: > \"${0%/*}/asked\"\nsleep 3\necho 'Redis server v=7.0.0'\n"
	require.NoError(t, os.WriteFile(filepath.Join(bin, "redis-server"), []byte(script), 0o700))
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), interruptEnv+"=1", "PATH="+bin+":"+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as the shell does
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	redistest.Eventually(t, 20*time.Second, "the question for the version", func() bool {
		_, err := os.Stat(filepath.Join(bin, "asked"))
		return err == nil
	})
	require.NoError(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGINT))
	require.NoError(t, cmd.Wait(), "%s", &out)
	assert.Equal(t, "ended early, before there was any load to sum up\n", out.String())
}
