package redistest_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/internal/testkit/testmain"
)

func TestMain(m *testing.M) { testmain.Run(m) }

// client returns a client that reports the first failure at once.
func client(t *testing.T, opt *redis.Options) *redis.Client {
	opt.MaxRetries, opt.DialerRetries = -1, 1
	// After as many failed dials as the pool is large go-redis dials on in a goroutine that outlives Close by up to a second.
	opt.PoolSize = 10_000
	c := redis.NewClient(opt)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestServersHaveTheirOwnAddressAndData(t *testing.T) {
	t.Parallel()
	a, b := redistest.Start(t), redistest.Start(t)
	require.NotEqual(t, a.Addr(), b.Addr())

	require.NoError(t, a.Client().Set(t.Context(), "k", "a", 0).Err())
	assert.ErrorIs(t, b.Client().Get(t.Context(), "k").Err(), redis.Nil)
}

func TestKilledServerRefusesAndRestartsEmptyOnTheSamePort(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t)
	addr, pid := r.Addr(), r.Pid()
	require.NoError(t, r.Client().Set(t.Context(), "k", "v", 0).Err())

	r.Kill()
	_, err := net.DialTimeout("tcp", addr, time.Second)
	require.ErrorContains(t, err, "refused")
	r.Kill() // killing a dead server is fine

	r.Restart()
	assert.Equal(t, addr, r.Addr())
	assert.NotEqual(t, pid, r.Pid())
	assert.ErrorIs(t, client(t, r.Options()).Get(t.Context(), "k").Err(), redis.Nil)
}

func TestPersistKeepsEveryAnsweredWriteAcrossACrash(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t, redistest.Persist())
	c := client(t, r.Options())

	var done int64
	for range 3 {
		var wg sync.WaitGroup
		var mu sync.Mutex
		before := done
		for range 20 {
			wg.Go(func() {
				for c.Incr(t.Context(), "n").Err() == nil {
					mu.Lock()
					done++
					mu.Unlock()
				}
			})
		}
		redistest.Eventually(t, 20*time.Second, "load before the crash, so that it hits requests under way", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return done > before+100
		})
		r.Kill()
		wg.Wait()
		r.Restart()
		n, err := r.Client().Get(t.Context(), "n").Int64()
		require.NoError(t, err)
		require.Positive(t, done)
		require.GreaterOrEqual(t, n, done, "an answered INCR was lost")
		require.LessOrEqual(t, n, done+20, "more was executed than was sent")
		done = n
	}
}

func TestRestartKillsARunningServer(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t)
	pid := r.Pid()
	r.Restart()
	assert.NotEqual(t, pid, r.Pid())
	assert.NoError(t, client(t, r.Options()).Ping(t.Context()).Err())
}

func TestStoppedServerHangsUntilContinued(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t)
	opt := r.Options()
	opt.ReadTimeout = 200 * time.Millisecond
	c := client(t, opt)
	// A connection that exists, or the INCR may not be sent to the stopped server at all.
	require.Eventually(t, func() bool { return c.Ping(t.Context()).Err() == nil }, 20*time.Second, time.Millisecond)

	r.Stop()
	var netErr net.Error
	require.ErrorAs(t, c.Incr(t.Context(), "n").Err(), &netErr)
	require.True(t, netErr.Timeout())
	conn, err := net.DialTimeout("tcp", r.Addr(), time.Second)
	require.NoError(t, err, "the kernel accepts for a stopped process")
	require.NoError(t, conn.Close())

	r.Cont()
	require.Eventually(t, func() bool { return c.Get(t.Context(), "n").Val() == "1" }, 20*time.Second, 5*time.Millisecond,
		"what was sent to a stopped server is executed when it continues")
}

func TestStopHasStoppedTheServerWhenItReturns(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t)
	opt := r.Options()
	opt.MaxRetries, opt.ContextTimeoutEnabled = -1, true
	for range 20 {
		c := redis.NewClient(opt)
		require.NoError(t, c.Ping(t.Context()).Err())
		r.Stop()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		err := c.Ping(ctx).Err()
		cancel()
		r.Cont()
		require.Error(t, err, "a stopped server answered")
		require.NoError(t, c.Close())
	}
}

func TestStoppedServerCanBeKilledAndRestarted(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t)
	r.Stop()
	r.Kill()
	r.Restart()
	r.Stop()
	r.Restart()
	assert.NoError(t, client(t, r.Options()).Ping(t.Context()).Err())
}

func TestServerRunsOnTheNamedPort(t *testing.T) {
	t.Parallel()
	first := redistest.Start(t)
	_, port, err := net.SplitHostPort(first.Addr())
	require.NoError(t, err)
	n, err := strconv.Atoi(port)
	require.NoError(t, err)

	_, err = redistest.Run(t.Context(), redistest.Config{Port: n})
	require.ErrorContains(t, err, "port is taken")

	require.NoError(t, first.Close())
	second := redistest.Start(t, redistest.Port(n))
	assert.Equal(t, first.Addr(), second.Addr())
}

func TestRestartWaitsForItsPort(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t)
	r.Kill()
	squatter, err := net.Listen("tcp", r.Addr())
	require.NoError(t, err)
	freed := time.AfterFunc(150*time.Millisecond, func() { _ = squatter.Close() })
	defer freed.Stop()

	r.Restart()
	assert.NoError(t, client(t, r.Options()).Ping(t.Context()).Err())
}

func TestPasswordAndUsersAreRequired(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t, redistest.Password("default secret"), redistest.Users("alice on >wonder ~* &* +@all -flushall"))
	ctx := t.Context()

	assert.ErrorContains(t, client(t, &redis.Options{Addr: r.Addr()}).Ping(ctx).Err(), "NOAUTH")
	assert.Error(t, client(t, &redis.Options{Addr: r.Addr(), Password: "wrong"}).Ping(ctx).Err())
	assert.NoError(t, client(t, &redis.Options{Addr: r.Addr(), Password: "default secret"}).Ping(ctx).Err())

	alice := client(t, &redis.Options{Addr: r.Addr(), Username: "alice", Password: "wonder", DB: 5})
	require.NoError(t, alice.Set(ctx, "k", "v", 0).Err())
	assert.ErrorContains(t, alice.FlushAll(ctx).Err(), "NOPERM")

	assert.NoError(t, r.Client().Ping(ctx).Err(), "the administrator gets in whatever the passwords are")
	opt := r.Options()
	opt.DB = 5
	assert.Equal(t, "v", client(t, opt).Get(ctx, "k").Val())
}

func TestTLSServerTrustsOnlyItsOwnAuthority(t *testing.T) {
	t.Parallel()
	a, b := redistest.Start(t, redistest.TLS(), redistest.Password("pw")), redistest.Start(t, redistest.TLS())
	ctx := t.Context()

	assert.NoError(t, client(t, &redis.Options{Addr: a.Addr(), Password: "pw", TLSConfig: a.TLSConfig()}).Ping(ctx).Err())
	assert.NoError(t, a.Client().Ping(ctx).Err())
	assert.ErrorContains(t, client(t, &redis.Options{Addr: a.Addr(), TLSConfig: b.TLSConfig()}).Ping(ctx).Err(), "certificate")
	assert.Error(t, client(t, &redis.Options{Addr: a.Addr(), Password: "pw"}).Ping(ctx).Err(), "plain text must be refused")

	a.Kill()
	a.Restart()
	assert.NoError(t, client(t, a.Options()).Ping(ctx).Err())
	assert.NotNil(t, a.ServerTLSConfig())
	assert.Nil(t, redistest.Start(t).TLSConfig())
}

func TestUnixSocketServerSurvivesACrash(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t, redistest.UnixSocket())
	c := client(t, &redis.Options{Addr: r.Addr()})
	require.NoError(t, c.Ping(t.Context()).Err())
	r.Kill()
	require.Error(t, c.Ping(t.Context()).Err())
	r.Restart()
	assert.NoError(t, r.Client().Ping(t.Context()).Err())
}

func TestDebugIsEnabledAndLinesWin(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t, redistest.Lines("maxclients 77", "appendonly yes"))
	ctx := t.Context()
	assert.NoError(t, r.Client().Do(ctx, "DEBUG", "SLEEP", "0").Err())
	assert.Equal(t, "77", r.Client().ConfigGet(ctx, "maxclients").Val()["maxclients"])
	assert.Equal(t, "yes", r.Client().ConfigGet(ctx, "appendonly").Val()["appendonly"])
}

func TestRunReportsWhyTheServerDidNotStart(t *testing.T) {
	t.Parallel()
	redistest.Start(t) // skips without redis-server
	_, err := redistest.Run(t.Context(), redistest.Config{Lines: []string{"no-such-setting 1"}})
	require.ErrorContains(t, err, "no-such-setting")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = redistest.Run(ctx, redistest.Config{})
	require.ErrorIs(t, err, context.Canceled)
}

func TestCloseRemovesTheFilesAndEndsAStoppedServer(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t, redistest.UnixSocket())
	require.FileExists(t, filepath.Join(filepath.Dir(r.Addr()), "redis.conf"))
	r.Stop()
	require.NoError(t, r.Close())
	require.NoError(t, r.Close())
	assert.NoDirExists(t, filepath.Dir(r.Addr()))
	assert.ErrorIs(t, r.Server.Stop(), os.ErrProcessDone)
	assert.Error(t, r.Server.Restart())
}

func TestConcurrentUseEndsInAnAnsweringServer(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			r.Kill()
			r.Restart()
			_ = r.Pid()
			_ = r.Client().Ping(t.Context()).Err()
		})
	}
	wg.Wait()
	r.Restart()
	assert.NoError(t, client(t, r.Options()).Ping(t.Context()).Err())
}

// The next three run this test binary again, as a child whose outcome they look at.
const childEnv = "REDISTEST_CHILD"

func TestServerDiesWithACrashingTestProcess(t *testing.T) {
	if os.Getenv(childEnv) == "crash" {
		r := redistest.Start(t)
		r.Stop() // even a stopped server must go
		fmt.Printf("pid=%d\n", r.Pid())
		os.Exit(3) // no clean-up runs, as after a panic or a test timeout
	}
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("needs Linux's parent-death signal")
	}
	redistest.Start(t)                                             // skips without redis-server
	out, err := child(t, childEnv+"=crash", "TMPDIR="+t.TempDir()) // where its files may stay behind
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	_, rest, found := strings.Cut(out, "pid=")
	require.True(t, found, out)
	pid, _, _ := strings.Cut(rest, "\n")
	require.Eventually(t, func() bool {
		// It may stay behind as a zombie where nothing reaps orphans; a zombie has no command line.
		cmdline, _ := os.ReadFile("/proc/" + pid + "/cmdline")
		return len(cmdline) == 0
	}, 20*time.Second, 10*time.Millisecond)
}

// Ctrl-C goes to the whole group of the terminal. The program decides what it means; a probe for the version that it ended
// would look like a redis-server that does not work.
func TestVersionProbeHasItsOwnGroup(t *testing.T) {
	if os.Getenv(childEnv) == "probe" {
		_, err := redistest.Run(t.Context(), redistest.Config{}) // fails, for there is no more to that server than its version
		fmt.Printf("error=%v\n", err)
		return
	}
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("needs Linux's process groups")
	}
	bin := t.TempDir()
	// The fifth field is the group, which has the number of the process that leads it.
	script := "#!/bin/sh\n[ \"$1\" = --version ] || exit 1\nread -r stat < /proc/$$/stat\nset -- $stat\n" +
		"echo \"pid=$1 group=$5\" > \"${0%/*}/asked\"\necho 'Redis server v=7.0.0'\n"
	require.NoError(t, os.WriteFile(filepath.Join(bin, "redis-server"), []byte(script), 0o700))
	out, err := child(t, childEnv+"=probe", "PATH="+bin)
	require.NoError(t, err, out)
	require.Contains(t, out, "ended at once")
	asked, err := os.ReadFile(filepath.Join(bin, "asked"))
	require.NoError(t, err)
	var pid, group int
	_, err = fmt.Sscanf(string(asked), "pid=%d group=%d", &pid, &group)
	require.NoError(t, err, string(asked))
	require.Equal(t, pid, group)
}

func TestMissingRedisServerSkipsButFailsInCI(t *testing.T) {
	if os.Getenv(childEnv) == "missing" {
		redistest.Start(t)
		return
	}
	out, err := child(t, childEnv+"=missing", "PATH=", "CI=")
	require.NoError(t, err, out)
	assert.Contains(t, out, "--- SKIP")
	assert.Contains(t, out, "redis-server is not on PATH")

	out, err = child(t, childEnv+"=missing", "PATH=", "CI=true")
	require.Error(t, err, "in CI it must fail")
	assert.Contains(t, out, "--- FAIL")
}

func child(t *testing.T, env ...string) (string, error) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
