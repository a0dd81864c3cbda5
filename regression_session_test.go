package multidb

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/redistest"
)

// Events: idle TLS connections; a planned switch; rdb.Watch (or the first command of a Conn). The session takes an old
// idle connection, its first command is refused by the gate, go-redis' sticky pool declares the session dead: the
// caller gets an error in a planned switch, once for every old connection in the pool.
func TestRegressionPlannedSwitchFailsWatchOnTLS(t *testing.T) {
	east, west := redistest.Start(t, redistest.TLS()), redistest.Start(t, redistest.TLS())
	h := regressionHook(t, Options{Health: patient, Databases: []Database{
		{Name: "east", Options: east.Options()}, {Name: "west", Weight: 0.5, Options: west.Options()},
	}})
	rdb := redis.NewClient(east.Options())
	defer rdb.Close()
	rdb.AddHook(h)
	require.NoError(t, rdb.Ping(t.Context()).Err())
	require.NoError(t, h.SetActive(t.Context(), "west"))
	err := rdb.Watch(t.Context(), func(tx *redis.Tx) error {
		_, err := tx.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
			p.Incr(t.Context(), "n")
			return nil
		})
		return err
	}, "k")
	require.NoError(t, err)
}

// Events: one idle TLS connection; a planned switch; TxPipelined(INCR). go-redis' first attempt takes the old connection
// and is refused (not sent: every command of the batch is stamped with that error); its second attempt executes the
// transaction on the new database, but go-redis never clears the error of MULTI and EXEC, so the batch ends with the stale
// "not sent", and the hook runs the transaction, which was executed and answered, once more. No error anywhere.
func TestRegressionTransactionIsExecutedTwiceAfterRefusal(t *testing.T) {
	east, west := redistest.Start(t, redistest.TLS()), redistest.Start(t, redistest.TLS())
	h := regressionHook(t, Options{Health: patient, Databases: []Database{
		{Name: "east", Options: east.Options()}, {Name: "west", Weight: 0.5, Options: west.Options()},
	}})
	rdb := redis.NewClient(east.Options())
	defer rdb.Close()
	rdb.AddHook(h)
	_, err := rdb.Pipelined(t.Context(), func(p redis.Pipeliner) error { p.Ping(t.Context()); return nil })
	require.NoError(t, err)
	require.NoError(t, h.SetActive(t.Context(), "west"))
	_, err = rdb.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
		p.Incr(t.Context(), "n")
		return nil
	})
	n, _ := west.Client().Get(t.Context(), "n").Int()
	require.Equalf(t, 1, n, "one transaction; its caller got %v", err)
}

// The same on plain TCP without any switch: the first attempt meets a connection that breaks when it is written to
// (not sent), the second succeeds.
func TestRegressionTransactionIsExecutedTwiceAfterFailedWrite(t *testing.T) {
	east := redistest.Start(t)
	var broken atomic.Bool
	opt := east.Options()
	opt.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &failingConn{nc, &broken}, nil
	}
	h := regressionHook(t, Options{Databases: []Database{{Name: "east", Options: opt}}})
	rdb := redis.NewClient(&redis.Options{Addr: "elsewhere:6379"})
	defer rdb.Close()
	rdb.AddHook(h)
	_, err := rdb.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
		p.Incr(t.Context(), "n")
		return nil
	})
	n, _ := east.Client().Get(t.Context(), "n").Int()
	require.Equalf(t, 1, n, "one transaction; its caller got %v", err)
}

// failingConn refuses the first write of a MULTI, as a connection does that the peer has reset.
type failingConn struct {
	net.Conn
	done *atomic.Bool
}

func (c *failingConn) Write(p []byte) (int, error) {
	if strings.Contains(strings.ToLower(string(p)), "multi") && c.done.CompareAndSwap(false, true) {
		_ = c.Conn.Close()
	}
	return c.Conn.Write(p)
}

func regressionStorm(t *testing.T, tls bool) {
	var opts []redistest.Option
	if tls {
		opts = append(opts, redistest.TLS())
	}
	east, west := redistest.Start(t, opts...), redistest.Start(t, opts...)
	h := regressionHook(t, Options{Health: patient, Databases: []Database{
		{Name: "east", Options: east.Options()}, {Name: "west", Weight: 0.5, Options: west.Options()},
	}})
	opt := east.Options()
	opt.PoolSize = 20
	rdb := redis.NewClient(opt)
	defer rdb.Close()
	rdb.AddHook(h)
	work := map[string]func(ctx context.Context) error{
		"incr": func(ctx context.Context) error { return rdb.Incr(ctx, "incr").Err() },
		"lpush": func(ctx context.Context) error {
			return rdb.LPush(ctx, "lpush", strings.Repeat("x", 1000)).Err()
		},
		"eval": func(ctx context.Context) error {
			return rdb.Eval(ctx, "return redis.call('incr', KEYS[1])", []string{"eval"}).Err()
		},
		"pipeline": func(ctx context.Context) error {
			_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, "pipeline"); return nil })
			return err
		},
		"tx": func(ctx context.Context) error {
			_, err := rdb.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, "tx"); return nil })
			return err
		},
		"watch": func(ctx context.Context) error {
			return rdb.Watch(ctx, func(tx *redis.Tx) error {
				tx.Get(ctx, "other")
				_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error { p.Incr(ctx, "watch"); return nil })
				return err
			}, "unrelated")
		},
		"conn": func(ctx context.Context) error {
			c := rdb.Conn()
			defer c.Close()
			if err := c.Select(ctx, 3).Err(); err != nil {
				return fmt.Errorf("select: %w", err)
			}
			if err := c.Incr(ctx, "conn").Err(); err != nil {
				return fmt.Errorf("incr: %w", err)
			}
			return c.Select(ctx, 0).Err()
		},
	}
	var wg sync.WaitGroup
	var stop atomic.Bool
	ok, failed := map[string]*atomic.Int64{}, map[string]*atomic.Int64{}
	var mu sync.Mutex
	sample := map[string]error{}
	for name := range work {
		ok[name], failed[name] = new(atomic.Int64), new(atomic.Int64)
	}
	for name, f := range work {
		for range 2 {
			wg.Go(func() {
				for !stop.Load() {
					if err := f(context.Background()); err != nil {
						failed[name].Add(1)
						mu.Lock()
						sample[name] = err
						mu.Unlock()
					} else {
						ok[name].Add(1)
					}
				}
			})
		}
	}
	for i := range 40 {
		time.Sleep(50 * time.Millisecond)
		if err := h.SetActive(t.Context(), []string{"west", "east"}[i%2]); err != nil {
			t.Logf("skipped, the machine is busy: %v", err)
		}
	}
	stop.Store(true)
	wg.Wait()
	for name := range work {
		var sum int64
		for _, r := range []*redistest.Redis{east, west} {
			c := r.Client()
			var n int64
			switch name {
			case "lpush":
				n = c.LLen(t.Context(), name).Val()
			case "conn":
				conn := c.Conn()
				conn.Select(t.Context(), 3)
				n, _ = conn.Get(t.Context(), name).Int64()
				conn.Select(t.Context(), 0)
				conn.Close()
			default:
				n, _ = c.Get(t.Context(), name).Int64()
			}
			sum += n
		}
		t.Logf("%-9s done %5d, executed %5d, errors %d", name, ok[name].Load(), sum, failed[name].Load())
		if failed[name].Load() > 0 {
			t.Errorf("%s: %d errors in planned switches, e.g. %v", name, failed[name].Load(), sample[name])
		}
		if sum != ok[name].Load() {
			t.Errorf("%s: done %d, executed %d (errors %d)", name, ok[name].Load(), sum, failed[name].Load())
		}
	}
}

// Events: 40 planned switches in 2 s under commands, scripts, pipelines, transactions, Watch and Conn sessions.
func TestRegressionPlannedStormPlain(t *testing.T) { regressionStorm(t, false) }
func TestRegressionPlannedStormTLS(t *testing.T)   { regressionStorm(t, true) }

// Events: MinIdleConns are being dialed in the background while Attach runs. Those dials began without the hook, so
// their connections are not routed; Attach counts only what the pool has already. After a switch, commands go on to the
// old database over them, silently.
func TestRegressionAttachMissesConnectionsBeingDialed(t *testing.T) {
	east, west := regressionPair(t)
	h := regressionHook(t, Options{Health: patient, Databases: regressionURLs(east.Addr(), west.Addr())})
	astray := int64(0)
	for range 5 {
		rdb := redis.NewClient(&redis.Options{Addr: east.Addr(), MinIdleConns: 20, PoolSize: 30, PipelinePoolSize: 5,
			Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
				time.Sleep(20 * time.Millisecond) // a database that is not next door
				return (&net.Dialer{}).DialContext(ctx, network, addr)
			}})
		require.NoError(t, h.Attach(rdb))
		time.Sleep(200 * time.Millisecond)
		require.NoError(t, h.SetActive(t.Context(), "west"))
		before, _ := east.Client().Get(t.Context(), "n").Int64()
		var wg sync.WaitGroup
		for range 25 {
			wg.Go(func() {
				for range 10 {
					rdb.Incr(context.Background(), "n")
				}
			})
		}
		wg.Wait()
		after, _ := east.Client().Get(t.Context(), "n").Int64()
		astray += after - before
		require.NoError(t, h.SetActive(t.Context(), "east"))
		rdb.Close()
	}
	require.Zero(t, astray, "INCRs executed on east while west was active, after Attach had returned nil")
}

// Events: SET is sent and its reply lost (attempt 1, may have been executed); the second attempt cannot be sent, for all
// is down now. The caller's error speaks of the second only: "not sent", SafeToRetry true.
func TestRegressionErrorForgetsThatFirstAttemptWasSent(t *testing.T) {
	var server *regressionServer
	var sets atomic.Int64
	server = regressionListen(t, func(_ net.Conn, args []string) (string, bool) {
		if strings.EqualFold(args[0], "set") {
			sets.Add(1)
			server.Close() // executed; then the process is gone
			return "", false
		}
		return regressionDefault(args), true
	})
	h := regressionHook(t, Options{Databases: []Database{{Name: "only", URL: "redis://" + server.addr()}}})
	rdb := redis.NewClient(&redis.Options{Addr: server.addr()})
	defer rdb.Close()
	rdb.AddHook(h)
	err := rdb.Set(t.Context(), "k", "v", 0).Err()
	require.Error(t, err)
	require.EqualValues(t, 1, sets.Load())
	require.Falsef(t, SafeToRetry(err), "the SET was executed; the error says: %v", err)
}

// Events: a URL whose password holds a # or a / that was not escaped, the common mistake. net/url's inner error quotes
// what it takes for a port: the password.
func TestRegressionURLErrorShowsPassword(t *testing.T) {
	for _, url := range []string{
		"redis://user:s3cret#x@host:6379", "redis://:s3cret/x@host:6379", "redis://:s3cret?x@host:6379", "redis://user:%s3cret@host:6379",
		"redis://user:s3cret@host:6379/notanumber", "http://user:s3cret@host", "redis://user:s3cret@host:6379?bogus=1", "user:s3cret@host:6379",
		"redis://user:s3cret @host:6379", "redis://user:s3cret@host:port", "rediss://user:s3cret@[host", "redis:user:s3cret@host",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := New(ctx, Options{Logger: slog.New(slog.DiscardHandler), Databases: []Database{{Name: "east", URL: url}}})
		if err != nil && (strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "%s3")) {
			t.Errorf("%s: %v", url, err)
		}
	}
}
