package multidb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// What an error of the hook says beyond its cause: which database, and whether the request had been sent.

func TestCommandErrorSaysWhereAndWhetherSent(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	for name, c := range map[string]struct {
		fault func(p *proxied, dials *atomic.Bool)
		use   func(ctx context.Context, rdb *redis.Client) error
		sent  bool
		cause error
	}{
		"reply lost": {
			func(p *proxied, _ *atomic.Bool) { p.toEast.DropReplies(faultproxy.Named("INCR")) },
			func(ctx context.Context, rdb *redis.Client) error { return rdb.Incr(ctx, "n").Err() }, true, io.EOF,
		},
		"reply of a transaction lost": {
			func(p *proxied, _ *atomic.Bool) { p.toEast.DropReplies(faultproxy.Named("EXEC")) },
			func(ctx context.Context, rdb *redis.Client) error {
				_, err := rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Incr(ctx, "n").Err() })
				return err
			}, true, io.EOF,
		},
		"dial refused": {
			func(_ *proxied, dials *atomic.Bool) { dials.Store(true) },
			func(ctx context.Context, rdb *redis.Client) error { return rdb.Incr(ctx, "n").Err() }, false, syscall.ECONNREFUSED,
		},
		"lost in the handshake": {
			func(p *proxied, _ *atomic.Bool) { p.toEast.DropReplies(faultproxy.Named("HELLO")) },
			func(ctx context.Context, rdb *redis.Client) error { return rdb.Incr(ctx, "n").Err() }, false, io.EOF,
		},
		"lost in the handshake, in a pipeline": {
			func(p *proxied, _ *atomic.Bool) { p.toEast.DropReplies(faultproxy.Named("CLIENT")) },
			func(ctx context.Context, rdb *redis.Client) error {
				_, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Incr(ctx, "n").Err() })
				return err
			}, false, io.EOF,
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := startProxied(t)
			var dials atomic.Bool
			east := through(p.east, p.toEast)
			east.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if dials.Load() {
					return nil, refused
				}
				return (&net.Dialer{}).DialContext(ctx, network, addr)
			}
			p.attach(t, east, through(p.west, p.toWest), func(o *Options, r *redis.Options) {
				o.Retry.MaxAttempts = -1
				r.MaxRetries = -1
			})
			c.fault(p, &dials)
			err := c.use(t.Context(), p.rdb)
			var failed *CommandError
			require.ErrorAs(t, err, &failed, "%v (%T)", err, err)
			require.Equal(t, "east", failed.Database)
			require.Equal(t, c.sent, failed.Sent, "%v", err)
			require.ErrorIs(t, err, c.cause)
			require.Equal(t, !c.sent, SafeToRetry(err), "%v", err)
			require.ErrorContains(t, err, `database "east"`)
		})
	}
}

// TestHandshakeIsRunAgain: what is lost before the request was written is run again, whoever would have retried it.
func TestHandshakeIsRunAgain(t *testing.T) {
	for _, retries := range []int{-1, 0} {
		for _, name := range []string{"HELLO", "CLIENT"} {
			t.Run(fmt.Sprintf("%s/MaxRetries %d", name, retries), func(t *testing.T) {
				p := newProxied(t, func(_ *Options, r *redis.Options) { r.MaxRetries = retries })
				// The health check that follows the start would meet the faults as well, twice at worst.
				eventually(t, 20*time.Second, "the check after the start", func() bool { return p.toEast.Count("PING") >= 2 })
				require.NoError(t, p.rdb.Set(t.Context(), "k", "v", 0).Err())
				for i := range 2 { // five failures of ten would be a reason to leave
					p.toEast.Reset() // a new connection, the first of which is lost in its handshake
					p.toEast.DropReplies(faultproxy.First(1, faultproxy.Named(name)))
					require.NoError(t, p.rdb.Incr(t.Context(), "n").Err(), "call %d", i)
					require.Equal(t, "east", p.hook.Active())
				}
				require.EqualValues(t, 2, p.sum(t, "n"))
			})
		}
	}
}

func TestSafeToRetry(t *testing.T) {
	reply := func(text string) error { return goredis.Reply(text) }
	sent, unsent := commandError(&database{name: "a"}, true, io.EOF), commandError(&database{name: "a"}, false, io.EOF)
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"nil":                        {nil, false},
		"sent":                       {sent, false},
		"not sent":                   {unsent, true},
		"not sent, wrapped":          {fmt.Errorf("mine: %w", unsent), true},
		"sent, wrapped":              {fmt.Errorf("mine: %w", sent), false},
		"sent, with a net error":     {commandError(&database{name: "a"}, true, syscall.ECONNRESET), false},
		"sent once, then not":        {errors.Join(unsent, sent), false},
		"no database":                {ErrNoDatabase, true},
		"no database after not sent": {noDatabase(unsent), true},
		"no database after sent":     {noDatabase(sent), false},
		"redis.Nil":                  {redis.Nil, false},
		"a lost race":                {redis.TxFailedErr, false},
		"LOADING":                    {reply("LOADING Redis is loading the dataset in memory"), true},
		"READONLY":                   {reply("READONLY You can't write against a read only replica."), true},
		"MASTERDOWN":                 {reply("MASTERDOWN Link with MASTER is down"), true},
		"MISCONF":                    {reply("MISCONF Redis is configured to save RDB snapshots"), true},
		"READONLY in a script":       {reply("ERR Error running script: -READONLY You can't write against a read only replica"), false},
		"WRONGTYPE":                  {reply("WRONGTYPE Operation against a key holding the wrong kind of value"), false},
		"EXECABORT":                  {reply("EXECABORT Transaction discarded because of previous errors."), false},
		"hidden and sent":            {goredis.NoRetry(sent), false},
		"hidden and not sent":        {goredis.NoRetry(unsent), true},
		"io.EOF of somebody else":    {io.EOF, false},
		"hidden, with a net error":   {goredis.NoRetry(commandError(&database{name: "a"}, true, syscall.ECONNRESET)), false},
		"caller gave up, not sent":   {fmt.Errorf("%w: %w", context.DeadlineExceeded, unsent), true},
		"caller gave up, sent":       {fmt.Errorf("%w: %w", context.DeadlineExceeded, sent), false},
		"deadline":                   {context.DeadlineExceeded, false},
		"pool timeout":               {redis.ErrPoolTimeout, false}, // without the hook, an attempt before it may have been sent
		"LOADING, wrapped":           {fmt.Errorf("mine: %w", reply("LOADING Redis is loading the dataset in memory")), true},
		"no database, wrapped":       {fmt.Errorf("mine: %w", ErrNoDatabase), true},
		"not sent and an answer":     {errors.Join(unsent, reply("WRONGTYPE x")), true},
		"cancelled":                  {context.Canceled, false},
	} {
		require.Equal(t, c.want, SafeToRetry(c.err), "%s: %v", name, c.err)
	}
}

// TestSessionDeadPinsTheNameOfATypeOfGoRedis, which is internal there: BadConnError, from a client without a hook.
func TestSessionDeadPinsTheNameOfATypeOfGoRedis(t *testing.T) {
	proxy := faultproxy.Start(t, redistest.Start(t).Addr())
	rdb := redis.NewClient(&redis.Options{Addr: proxy.Addr(), Username: "nobody", MaxRetries: -1, DialerRetries: 1})
	defer rdb.Close()
	conn := rdb.Conn()
	defer conn.Close()
	require.NoError(t, conn.Ping(t.Context()).Err())
	proxy.Reset()
	first := conn.Ping(t.Context()).Err()
	require.Error(t, first)
	require.False(t, goredis.IsSessionDead(first), "%v (%T)", first, first)
	second := conn.Ping(t.Context()).Err()
	require.True(t, goredis.IsSessionDead(second), "go-redis has renamed its error of a dead Conn: %v (%T)", second, second)
	require.True(t, goredis.IsSessionDead(fmt.Errorf("mine: %w", second)))
}

// TestSafeToRetryOfClones: a WithTimeout clone has no hook that says of a request on a dead session that it was not sent.
func TestSafeToRetryOfClones(t *testing.T) {
	p := newProxied(t, nil)
	conn := p.rdb.WithTimeout(time.Second).Conn()
	defer conn.Close()
	require.NoError(t, conn.Ping(t.Context()).Err())
	p.toEast.DropReplies(faultproxy.First(1, faultproxy.Named("INCR")))
	first := conn.Incr(t.Context(), "n").Err()
	require.False(t, SafeToRetry(first), "%v", first)
	second := conn.Incr(t.Context(), "n").Err()
	require.True(t, SafeToRetry(second), "%v", second)
	require.True(t, SafeToRetry(fmt.Errorf("mine: %w", second)))
	require.False(t, SafeToRetry(errors.Join(second, first)))
	require.False(t, SafeToRetry(errors.Join(first, second)))
	require.EqualValues(t, 1, p.sum(t, "n"))
}

// TestDeadSessionIsNotSent: the commands after the one that lost the connection of a Conn or a Tx have not been sent,
// whatever became of that one.
func TestDeadSessionIsNotSent(t *testing.T) {
	silence := func(p *faultproxy.Proxy) {
		p.Answer(func(args []string) (string, bool) { return "", faultproxy.Named("INCR")(args) })
	}
	for name, lose := range map[string]func(t *testing.T, p *proxied, conn *redis.Conn) context.Context{
		"connection dropped": func(t *testing.T, p *proxied, conn *redis.Conn) context.Context {
			p.toEast.DropReplies(faultproxy.Named("INCR"))
			require.Error(t, conn.Incr(t.Context(), "n").Err())
			return t.Context()
		},
		"caller's deadline": func(t *testing.T, p *proxied, conn *redis.Conn) context.Context {
			silence(p.toEast)
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond) // it must not end before the request is sent
			t.Cleanup(cancel)
			require.Error(t, conn.Incr(ctx, "n").Err())
			return ctx
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProxied(t, func(_ *Options, r *redis.Options) { r.ContextTimeoutEnabled = true })
			conn := p.rdb.Conn()
			defer conn.Close()
			require.NoError(t, conn.Ping(t.Context()).Err())
			ctx := lose(t, p, conn)
			for range 2 {
				err := conn.Incr(ctx, "n").Err()
				var failed *CommandError
				require.ErrorAs(t, err, &failed)
				require.False(t, failed.Sent, "%v", err)
				require.Equal(t, "east", failed.Database)
			}
		})
	}
}
