package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/load"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// What a hook costs when nothing happens: docs/options.md states it, and these tests hold it to that.

// stated reads the numbers out of the page: "2 goroutines, and for each database one more and one connection".
func stated(t *testing.T) (goroutines, perDatabase, connections int) {
	t.Helper()
	m := regexp.MustCompile(`costs when nothing happens: (\w+) goroutines, and for each database (\w+) more and\s+(\w+) connection`).
		FindStringSubmatch(optionsPage(t))
	require.NotNil(t, m, "the page does not state what the hook costs")
	number := func(word string) int {
		if n, err := strconv.Atoi(word); err == nil {
			return n
		}
		n, ok := map[string]int{"no": 0, "one": 1, "two": 2, "three": 3}[word]
		require.True(t, ok, word)
		return n
	}
	return number(m[1]), number(m[2]), number(m[3])
}

// ours counts the goroutines that run code of this package, or of go-redis on its behalf, but not those of tests.
func ours() (n int) {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	for g := range bytes.SplitSeq(buf, []byte("\n\n")) {
		text := string(g)
		if strings.Contains(text, "redishook/multidb") && !strings.Contains(text, "multidb/internal/testkit") && !strings.Contains(text, "testing.tRunner(") &&
			!strings.Contains(text, "_test.go") || strings.Contains(text, "go-redis/v9") && !strings.Contains(text, "testing.tRunner(") {
			n++
		}
	}
	return n
}

// clientsOf are the connections that a server has, besides that of the one who asks.
func clientsOf(t *testing.T, server *redistest.Redis) int {
	t.Helper()
	list, err := server.Client().ClientList(t.Context()).Result()
	require.NoError(t, err)
	asking := strconv.FormatInt(server.Client().ClientID(t.Context()).Val(), 10)
	n := 0
	for line := range strings.Lines(list) {
		if !strings.HasPrefix(line, "id="+asking+" ") {
			n++
		}
	}
	return n
}

// settles waits for a number that stays: three looks in a row that find it.
func settles(t *testing.T, within time.Duration, what string, want int, count func() int) {
	t.Helper()
	hits, got := 0, 0
	redistest.Eventually(t, within, fmt.Sprintf("%s to settle at %d", what, want), func() bool {
		time.Sleep(10 * time.Millisecond)
		if got = count(); got == want {
			hits++
		} else {
			hits = 0
			t.Logf("%s: %d", what, got)
		}
		return hits == 3
	})
}

func TestIdleCostOnServers(t *testing.T) {
	goroutines, perDatabase, connections := stated(t)
	settles(t, 20*time.Second, "goroutines left by other tests", 0, ours)
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n, " databases"), func(t *testing.T) {
			var servers []*redistest.Redis
			opt := multidb.Options{Logger: testkit.Log(t), Initial: multidb.InitialAll}
			for i := range n {
				server := redistest.Start(t)
				servers = append(servers, server)
				opt.Databases = append(opt.Databases, multidb.Database{Name: fmt.Sprint(i), Options: server.Options()})
			}
			for _, server := range servers {
				require.NoError(t, server.Client().Ping(t.Context()).Err())
				settles(t, 20*time.Second, "connections before", 0, func() int { return clientsOf(t, server) })
			}
			base := ours()
			hook, err := multidb.New(t.Context(), opt)
			require.NoError(t, err)
			defer hook.Close()
			count := func() int { return ours() - base }
			settles(t, 20*time.Second, "goroutines", goroutines+n*perDatabase, count)
			for _, server := range servers {
				settles(t, 20*time.Second, "connections", connections, func() int { return clientsOf(t, server) })
			}

			// A client that has been used and is idle again adds its own connection, and nothing of ours.
			rdb := redis.NewClient(&redis.Options{Addr: servers[0].Addr(), PipelinePoolSize: -1})
			defer rdb.Close()
			rdb.AddHook(hook)
			require.NoError(t, rdb.Set(t.Context(), "k", 1, 0).Err())
			settles(t, 20*time.Second, "connections with a client", connections+1, func() int { return clientsOf(t, servers[0]) })
			settles(t, 20*time.Second, "goroutines with a client", goroutines+n*perDatabase, count)
			if n > 1 {
				require.NoError(t, hook.SetActive(t.Context(), "1"))
				require.NoError(t, rdb.Set(t.Context(), "k", 1, 0).Err())
				settles(t, 20*time.Second, "connections after a switch, at the new one", connections+1, func() int { return clientsOf(t, servers[1]) })
				settles(t, 20*time.Second, "connections after a switch, at the old one", connections, func() int { return clientsOf(t, servers[0]) })
			}

			require.NoError(t, hook.Close())
			settles(t, 20*time.Second, "goroutines after Close", 0, count)
			require.NoError(t, rdb.Close())
			for _, server := range servers {
				settles(t, 20*time.Second, "connections after Close", 0, func() int { return clientsOf(t, server) })
			}
		})
	}
}

// TestIdleCostAfterAFailover: what a switch starts, ends.
func TestIdleCostAfterAFailover(t *testing.T) {
	goroutines, perDatabase, _ := stated(t)
	p := pair.New(t, nil)
	l := load.Start(10, load.SetGet(p.RDB))
	redistest.Eventually(t, 20*time.Second, "load to run", func() bool { return l.Ops.Load() > 500 })
	l.Strike(p.East.Kill)
	l.AwaitRecovery(t, 10*time.Second)
	l.End()
	p.East.Restart()
	redistest.Eventually(t, 20*time.Second, "the old one to be usable again", p.Usable)
	settles(t, 20*time.Second, "goroutines", goroutines+2*perDatabase, ours)
	require.NoError(t, p.Hook.Close())
	settles(t, 20*time.Second, "goroutines after Close", 0, ours)
}

// TestClosedHookPassesThrough: to the database that was active last, also after a switch and after an outage, for
// everything that a client does; and nothing watches over it any more.
func TestClosedHookPassesThrough(t *testing.T) {
	for name, before := range map[string]func(t *testing.T, p *pair.Pair){
		"at once": func(*testing.T, *pair.Pair) {},
		"after a switch": func(t *testing.T, p *pair.Pair) {
			require.NoError(t, p.RDB.Set(t.Context(), "k", 1, 0).Err())
			require.NoError(t, p.Hook.SetActive(t.Context(), "west"))
		},
		"during an outage": func(t *testing.T, p *pair.Pair) {
			p.East.Kill()
			p.West.Kill()
			require.Error(t, p.RDB.Set(t.Context(), "k", 1, 0).Err())
			redistest.Eventually(t, 20*time.Second, "the outage", func() bool { return p.Hook.Stats().Down })
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := pair.New(t, nil)
			ctx := t.Context()
			before(t, p)
			require.NoError(t, p.Hook.Close())
			require.NoError(t, p.Hook.Close(), "again")
			active, passive := p.Servers()
			active.Restart() // all connections are new
			require.NoError(t, everything(ctx, p.RDB))
			require.EqualValues(t, 4, pair.Counter(t, active, "n"))
			require.False(t, p.Hook.Stats().Down)

			// It is a client like any other now: when its server dies, it says so, and goes nowhere else.
			active.Kill()
			impatient, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
			defer cancel()
			err := p.RDB.Set(impatient, "k", 1, 0).Err()
			require.Error(t, err)
			require.NotErrorIs(t, err, multidb.ErrNoDatabase)
			active.Restart()
			require.NoError(t, everything(ctx, p.RDB))
			if name != "during an outage" {
				require.Zero(t, pair.Counter(t, passive, "n"))
			}
		})
	}
}

// everything increments a counter in four ways, and listens.
func everything(ctx context.Context, rdb *redis.Client) error {
	if err := rdb.Incr(ctx, "n").Err(); err != nil {
		return err
	}
	if _, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Incr(ctx, "n").Err() }); err != nil {
		return err
	}
	if _, err := rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Incr(ctx, "n").Err() }); err != nil {
		return err
	}
	if err := increment(rdb, "n"); err != nil {
		return err
	}
	sub := rdb.Subscribe(ctx, "news")
	defer sub.Close()
	_, err := sub.Receive(ctx)
	return err
}
