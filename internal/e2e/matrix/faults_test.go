package matrix_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// expected says what a fault of the active database must lead to.
type expected int

const (
	away   expected = iota // to the other database, under every load
	stays                  // nothing is wrong with the database, or with this one only: a switch is a false one
	either                 // it depends on the load: reads are served by a database that refuses writes
)

// fault is one kind of fault of the active database, east. strike returns what ends it.
type fault struct {
	name   string
	want   expected
	dials  bool // only new connections meet it
	errors bool // callers may get errors: the fault is theirs, or the database refuses for good
	strike func(t *testing.T, w *world) (end func())
}

func nothing() {}

var faults = []fault{
	{"kill", away, false, false, func(_ *testing.T, w *world) func() { w.East.Kill(); return nothing }},
	{"hang (SIGSTOP)", away, false, false, func(_ *testing.T, w *world) func() { w.East.Stop(); return w.East.Cont }},
	{"connections are refused, those that stand are reset", away, false, false, func(_ *testing.T, w *world) func() { w.ToEast.Refuse(); return w.ToEast.Pass }},
	{"new connections are accepted and silent, those that stand are closed once", away, true, false, func(t *testing.T, w *world) func() {
		w.ToEast.DropReplies(faultproxy.Named("HELLO"))
		w.cut(t)
		return func() { w.ToEast.DropReplies(nil) }
	}},
	{"accept queue full: dials vanish, connections that stand are closed once", away, true, false, func(t *testing.T, w *world) func() {
		w.dials.Store(vanish)
		w.cut(t)
		return func() { w.dials.Store(pass) }
	}},
	{"all connections are closed once", stays, false, false, func(t *testing.T, w *world) func() { w.cut(t); return nothing }},
	{"one-way loss: requests arrive, replies do not", away, false, true, func(_ *testing.T, w *world) func() {
		w.ToEast.DropReplies(func([]string) bool { return true })
		return func() { w.ToEast.DropReplies(nil) }
	}},
	{"slow by 100 ms", stays, false, false, func(_ *testing.T, w *world) func() { return w.delay(100 * time.Millisecond) }},
	{"far away: 300 ms", stays, false, false, func(_ *testing.T, w *world) func() { return w.delay(300 * time.Millisecond) }},
	{"login refused, connections are closed once", away, true, false, func(t *testing.T, w *world) func() {
		w.do(t, "ACL", "SETUSER", w.East.Options().Username, "resetpass", ">other")
		w.cut(t)
		return nothing
	}},
	{"maxclients, connections are closed once", either, false, false, func(t *testing.T, w *world) func() {
		w.do(t, "CONFIG", "SET", "maxclients", "1")
		w.cut(t)
		return nothing
	}},
	{"READONLY (it has become a replica)", either, false, false, func(t *testing.T, w *world) func() {
		w.do(t, "REPLICAOF", "127.0.0.1", "1")
		return nothing
	}},
	{"MISCONF for writes", either, false, false, func(_ *testing.T, w *world) func() {
		return w.answer("MISCONF Redis is configured to save RDB snapshots", faultproxy.Named("SET", "SETRANGE", "BLPOP", "PUBLISH"))
	}},
	{"OOM", stays, false, true, func(t *testing.T, w *world) func() { w.do(t, "CONFIG", "SET", "maxmemory", "1"); return nothing }},
	{"BUSY (a script runs)", away, false, false, func(t *testing.T, w *world) func() {
		w.do(t, "CONFIG", "SET", "lua-time-limit", "20")
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = w.East.Client().Eval(context.Background(), "while true do end", nil).Err()
		}()
		return func() {
			redistest.Eventually(t, 10*time.Second, "the end of the script", func() bool {
				_ = w.East.Client().ScriptKill(context.Background()).Err()
				select {
				case <-done:
					return true
				default:
					return false
				}
			})
		}
	}},
	{"LOADING", away, false, false, func(_ *testing.T, w *world) func() {
		return w.answer("LOADING Redis is loading the dataset in memory", func(args []string) bool {
			return !faultproxy.Named("HELLO", "CLIENT", "AUTH", "SELECT")(args)
		})
	}},
	{"CLIENT PAUSE WRITE", either, false, false, func(t *testing.T, w *world) func() {
		w.do(t, "CLIENT", "PAUSE", "60000", "WRITE")
		return func() { w.do(t, "CLIENT", "UNPAUSE") }
	}},
	{"a proxy that has lost its server", either, false, true, func(_ *testing.T, w *world) func() {
		return w.answer("upstream failure", func(args []string) bool {
			return !faultproxy.Named("PING", "HELLO", "CLIENT", "AUTH", "SELECT")(args)
		})
	}},
	{"no descriptors of our own, connections are closed once", stays, false, true, func(t *testing.T, w *world) func() {
		w.dials.Store(exhausted)
		w.cut(t)
		return func() { w.dials.Store(pass) }
	}},
	{"no DNS for either database", stays, false, false, func(_ *testing.T, w *world) func() { w.dials.Store(unresolved); return func() { w.dials.Store(pass) } }},
	{"this process is paused for 1.5 s", stays, false, false, func(t *testing.T, _ *world) func() {
		pid := os.Getpid()
		pause := exec.Command("sh", "-c", fmt.Sprintf("kill -STOP %d; sleep 1.5; kill -CONT %d", pid, pid))
		require.NoError(t, pause.Run())
		return nothing
	}},
	{"this process is starved: one processor, 40 goroutines that compute", stays, false, false, func(*testing.T, *world) func() {
		before := runtime.GOMAXPROCS(1)
		var stop atomic.Bool
		for range 40 {
			go func() {
				for x := uint64(1); !stop.Load(); x = x*6364136223846793005 + 1 {
				}
			}()
		}
		return func() { stop.Store(true); runtime.GOMAXPROCS(before) }
	}},
}

// What becomes of a dial.
const (
	pass int32 = iota
	vanish
	exhausted
	unresolved
)

// dial is the dialer of both databases.
func (w *world) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	east := addr == w.ToEast.Addr()
	switch mode := w.dials.Load(); {
	case mode == vanish && east:
		<-ctx.Done()
		return nil, ctx.Err()
	case mode == exhausted:
		return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("socket", syscall.EMFILE)}
	case mode == unresolved:
		return nil, &net.DNSError{Err: "server misbehaving", Name: "redis.example", IsTemporary: true}
	}
	return (&net.Dialer{}).DialContext(ctx, network, addr)
}

// do runs an administrator's command on east.
func (w *world) do(t *testing.T, args ...any) {
	require.NoError(t, w.East.Client().Do(context.Background(), args...).Err())
}

// cut has east close the connections of clients, and leave those of the prober.
func (w *world) cut(t *testing.T) {
	ctx := context.Background()
	list, err := w.East.Client().ClientList(ctx).Result()
	require.NoError(t, err)
	for line := range strings.Lines(list) {
		id, _, ok := strings.Cut(strings.TrimPrefix(line, "id="), " ")
		if ok && !strings.Contains(line, " cmd=ping ") && !strings.Contains(line, " cmd=client|list ") {
			_ = w.East.Client().Do(ctx, "CLIENT", "KILL", "ID", id).Err() // it may be gone
		}
	}
}

func (w *world) delay(d time.Duration) func() {
	w.ToEast.Delay(d)
	return func() { w.ToEast.Delay(0) }
}

func (w *world) answer(reply string, hit func([]string) bool) func() {
	w.ToEast.Answer(func(args []string) (string, bool) { return "-" + reply + "\r\n", hit(args) })
	return func() { w.ToEast.Answer(nil) }
}
