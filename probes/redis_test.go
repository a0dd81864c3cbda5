package probes_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/probes"
)

// builtIn are the probes that speak to Redis itself.
func builtIn() []probes.Probe {
	return []probes.Probe{probes.Ping(), probes.Echo(), probes.Write(probes.WriteOptions{})}
}

func once(p probes.Probe) probes.Check {
	return probes.Check{Probe: p, Probes: 1, Timeout: 10 * time.Second}
}

// target is a database at addr, as options says, that is probed without retries.
func target(t *testing.T, opt *redis.Options) probes.Target {
	t.Helper()
	opt.MaxRetries = -1
	opt.DialerRetries = 1
	opt.ContextTimeoutEnabled = true
	opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	c := redis.NewClient(opt)
	t.Cleanup(func() { _ = c.Close() })
	return probes.Target{Name: "east", Client: c}
}

func TestProbesPassAndLeaveNothingBehind(t *testing.T) {
	s := miniredis.RunT(t)
	db := target(t, &redis.Options{Addr: s.Addr()})
	for _, p := range builtIn() {
		if err := (probes.Check{Probe: p, Probes: 5, Delay: -1, Timeout: 10 * time.Second}).Run(t.Context(), db); err != nil {
			t.Error(err)
		}
		if keys := s.Keys(); len(keys) != 0 {
			t.Errorf("%s left %q behind", probes.Name(p), keys)
		}
	}
}

func TestProbesPassInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := miniredis.NewMiniRedis()
		opt := &redis.Options{Addr: "east:6379", MaxRetries: -1, ContextTimeoutEnabled: true}
		opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
		opt.Dialer = func(context.Context, string, string) (net.Conn, error) { return s.Dial() }
		c := redis.NewClient(opt)
		defer s.Close()
		defer func() { _ = c.Close() }()
		db := probes.Target{Name: "east", Client: c}
		for _, p := range builtIn() {
			start := time.Now()
			if err := (probes.Check{Probe: p}).Run(t.Context(), db); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took != time.Second {
				t.Errorf("%s took %v, want two delays", probes.Name(p), took)
			}
		}
	})
}

// Replies that come with every command. What says "not now" is a failure, what says
// "not you" is not.
func TestErrorRepliesAreToldApart(t *testing.T) {
	s := miniredis.RunT(t)
	for reply, want := range map[string]probes.Outcome{
		"LOADING Redis is loading the dataset in memory":                           probes.Failed,
		"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is 'no'": probes.Failed,
		"CLUSTERDOWN The cluster is down":                                          probes.Failed,
		"BUSY Redis is busy running a script":                                      probes.Failed,
		"MISCONF Redis is configured to save RDB snapshots":                        probes.Failed,
		"NOREPLICAS Not enough good replicas to write.":                            probes.Failed,
		"READONLY You can't write against a read only replica.":                    probes.Failed,
		"ERR READONLY You can't write against a read only replica.":                probes.Failed,
		"OOM command not allowed when used memory > 'maxmemory'.":                  probes.Failed,
		"ERR max number of clients reached":                                        probes.Failed,
		"ERR something else":                                                       probes.Failed,
		"NOPERM User probe has no permissions to run the 'set' command":            probes.NotPermitted,
		"NOAUTH Authentication required.":                                          probes.NotPermitted,
		"WRONGPASS invalid username-password pair or user is disabled.":            probes.NotPermitted,
		"DENIED Redis is running in protected mode":                                probes.NotPermitted,
		"ERR unknown command 'SET', with args beginning with: ":                    probes.NotPermitted,
	} {
		s.SetError(reply)
		for _, p := range builtIn() {
			db := target(t, &redis.Options{Addr: s.Addr()})
			err := once(p).Run(t.Context(), db)
			if got := probes.OutcomeOf(err); got != want {
				t.Errorf("%s: %q is %v, want %v: %v", probes.Name(p), reply, got, want, err)
			}
			if !strings.Contains(err.Error(), reply) {
				t.Errorf("%s: %v does not say %q", probes.Name(p), err, reply)
			}
		}
	}
}

func TestUnreachableDatabaseFails(t *testing.T) {
	s := miniredis.RunT(t)
	addr := s.Addr()
	s.Close()
	for _, p := range builtIn() {
		err := once(p).Run(t.Context(), target(t, &redis.Options{Addr: addr}))
		if probes.OutcomeOf(err) != probes.Failed {
			t.Errorf("%s: %v", probes.Name(p), err)
		}
		if err := once(p).Run(t.Context(), probes.Target{}); probes.OutcomeOf(err) != probes.Failed {
			t.Errorf("%s without a client: %v", probes.Name(p), err)
		}
	}
}

// liar changes what comes back.
type liar struct{ change func(redis.Cmder) }

func (liar) DialHook(next redis.DialHook) redis.DialHook { return next }
func (l liar) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		l.change(cmd)
		return err
	}
}
func (l liar) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			l.change(cmd)
		}
		return err
	}
}

func TestWrongAnswersDoNotPass(t *testing.T) {
	s := miniredis.RunT(t)
	for name, change := range map[string]func(redis.Cmder){
		"another value": func(cmd redis.Cmder) {
			if c, ok := cmd.(*redis.StringCmd); ok {
				c.SetVal("another")
			}
		},
		"no value": func(cmd redis.Cmder) {
			if c, ok := cmd.(*redis.StringCmd); ok {
				c.SetVal("")
				c.SetErr(redis.Nil)
			}
		},
	} {
		for _, p := range builtIn()[1:] {
			db := target(t, &redis.Options{Addr: s.Addr()})
			db.Client.AddHook(liar{change})
			if err := once(p).Run(t.Context(), db); probes.OutcomeOf(err) != probes.Failed {
				t.Errorf("%s with %s passed: %v", probes.Name(p), name, err)
			}
		}
	}
}

// No option may write a key without an expiry, or under another prefix.
func TestWrittenKeysAlwaysExpire(t *testing.T) {
	s := miniredis.RunT(t)
	for _, ttl := range []time.Duration{-1, -time.Hour, 0, 1, time.Millisecond, time.Second, time.Hour} {
		db := target(t, &redis.Options{Addr: s.Addr()})
		// A DEL that never comes leaves the key to its expiry.
		keep := &noDel{}
		db.Client.AddHook(keep)
		if err := once(probes.Write(probes.WriteOptions{Prefix: "app:", TTL: ttl})).Run(t.Context(), db); err != nil {
			t.Fatal(err)
		}
		keys := s.Keys()
		if len(keys) != 1 || !strings.HasPrefix(keys[0], "app:") {
			t.Fatalf("TTL %v: keys %q", ttl, keys)
		}
		want := max(ttl, time.Second)
		if ttl <= 0 {
			want = 10 * time.Second
		}
		if got := s.TTL(keys[0]); got != want {
			t.Errorf("TTL %v: expires after %v, want %v", ttl, got, want)
		}
		s.FlushAll()
	}
}

// noDel drops DEL from pipelines.
type noDel struct{}

func (noDel) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (noDel) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (noDel) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		var rest []redis.Cmder
		for _, cmd := range cmds {
			if cmd.Name() != "del" {
				rest = append(rest, cmd)
			}
		}
		return next(ctx, rest)
	}
}

func TestRealServerPermissions(t *testing.T) {
	s := redistest.Start(t, redistest.Users(
		"nothing on >pw ~* &* +@connection -ping -echo",
		"reader on >pw ~* &* +@read +@connection",
		"writer on >pw ~multidb:probe:* &* +set +get +@connection",
		"blind on >pw ~* &* +set +del +@connection",
		"elsewhere on >pw ~other:* &* +@all",
	))
	ping, echo, write := probes.Ping(), probes.Echo(), probes.Write(probes.WriteOptions{})
	for _, tc := range []struct {
		user, password string
		probe          probes.Probe
		want           probes.Outcome
	}{
		{"nothing", "pw", echo, probes.NotPermitted},
		{"nothing", "pw", write, probes.NotPermitted},
		{"reader", "pw", ping, probes.Passed},
		{"reader", "pw", echo, probes.Passed},
		{"reader", "pw", write, probes.NotPermitted},
		{"writer", "pw", write, probes.Passed}, // without DEL: the expiry cleans up
		{"blind", "pw", write, probes.NotPermitted},
		{"elsewhere", "pw", write, probes.NotPermitted},
		{"reader", "wrong", ping, probes.NotPermitted},
		{"reader", "wrong", echo, probes.NotPermitted},
		{"reader", "wrong", write, probes.NotPermitted},
		{"nobody", "pw", ping, probes.NotPermitted},
	} {
		db := target(t, &redis.Options{Addr: s.Addr(), Username: tc.user, Password: tc.password})
		err := once(tc.probe).Run(t.Context(), db)
		if got := probes.OutcomeOf(err); got != tc.want {
			t.Errorf("%s as %s/%s: %v, want %v: %v", probes.Name(tc.probe), tc.user, tc.password, got, tc.want, err)
		}
		if tc.password == "wrong" && !redis.IsAuthError(err) {
			t.Errorf("%v is no auth error", err)
		}
	}

	admin := s.Client()
	keys, err := admin.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if ttl := admin.PTTL(t.Context(), key).Val(); ttl <= 0 || ttl > 10*time.Second {
			t.Errorf("%q is left with an expiry of %v", key, ttl)
		}
	}
	if len(keys) != 1 {
		t.Errorf("%q are left; only the writer without DEL may leave one", keys)
	}
}

func TestRealServerStates(t *testing.T) {
	s := redistest.Start(t, redistest.Lines("enable-debug-command yes"))
	admin := s.Client()
	db := target(t, s.Options())
	ping, write := probes.Ping(), probes.Write(probes.WriteOptions{})
	both := func(state string, wantPing, wantWrite probes.Outcome) {
		t.Helper()
		for p, want := range map[probes.Probe]probes.Outcome{ping: wantPing, write: wantWrite} {
			if err := once(p).Run(t.Context(), db); probes.OutcomeOf(err) != want {
				t.Errorf("%s: %s is %v, want %v: %v", state, probes.Name(p), probes.OutcomeOf(err), want, err)
			}
		}
	}
	do := func(args ...any) {
		t.Helper()
		if err := admin.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(args, err)
		}
	}
	both("healthy", probes.Passed, probes.Passed)
	do("config", "set", "maxmemory", "1")
	both("out of memory", probes.Passed, probes.Failed)
	do("config", "set", "maxmemory", "0")
	do("config", "set", "min-replicas-to-write", "1")
	both("too few replicas", probes.Passed, probes.Failed)
	do("config", "set", "min-replicas-to-write", "0")
	do("replicaof", "127.0.0.1", "1")
	both("read-only replica", probes.Passed, probes.Failed)
	do("config", "set", "replica-serve-stale-data", "no")
	both("replica without its master", probes.Failed, probes.Failed)
	do("replicaof", "no", "one")
	both("healthy again", probes.Passed, probes.Passed)
	s.Kill()
	both("dead", probes.Failed, probes.Failed)
}

// A server that hangs must not hold up the check, nor pile up goroutines.
func TestRealServerThatHangs(t *testing.T) {
	s := redistest.Start(t)
	opt := s.Options()
	opt.MaxRetries = -1
	opt.ContextTimeoutEnabled = true
	c := redis.NewClient(opt)
	defer func() { _ = c.Close() }()
	db := probes.Target{Name: "east", Client: c}
	check := probes.Check{Probe: probes.Ping(), Probes: 1, Timeout: 200 * time.Millisecond}
	if err := once(probes.Ping()).Run(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	for range 3 {
		start := time.Now()
		err := check.Run(t.Context(), db)
		// On a machine under load the probe before may not have returned yet.
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, probes.ErrStillRunning) {
			t.Errorf("%v, want a timeout", err)
		}
		if took := time.Since(start); took > 2500*time.Millisecond { // go-redis alone would wait 3 s
			t.Errorf("took %v", took)
		}
	}
	s.Cont()
	deadline := time.Now().Add(20 * time.Second)
	for err := errDown; err != nil; {
		if err = check.Run(t.Context(), db); err != nil && time.Now().After(deadline) {
			t.Fatalf("after it came back: %v", err)
		}
	}
}
