package e2e_test

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

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// answersOf is what callers ask of an error.
func answersOf(err error) string {
	var op *net.OpError
	var as net.Error
	plain, isNet := err.(net.Error) // as callers write it
	return fmt.Sprintf("EOF %v, reset %v, refused %v, deadline %v, cancelled %v, closed %v, OpError %v, as net.Error %v, is one %v, timeout %v",
		errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.ECONNREFUSED),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, net.ErrClosed),
		errors.As(err, &op), errors.As(err, &as), isNet, isNet && plain.Timeout())
}

// TestClonesGiveTheSameAnswers: the errors of a WithTimeout clone, which has no process hook of ours, match as those of a
// client without the hook do; nothing that was sent is sent again, as the count at the server shows; and the error says where
// it happened and whether the request was sent.
func TestClonesGiveTheSameAnswers(t *testing.T) {
	incr := map[string]func(context.Context, redis.UniversalClient) error{
		"command": func(ctx context.Context, rdb redis.UniversalClient) error { return rdb.Incr(ctx, "n").Err() },
		"pipeline": func(ctx context.Context, rdb redis.UniversalClient) error {
			_, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Incr(ctx, "n").Err() })
			return err
		},
		"transaction": func(ctx context.Context, rdb redis.UniversalClient) error {
			_, err := rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Incr(ctx, "n").Err() })
			return err
		},
	}
	for fault, sent := range map[string]bool{"EOF": true, "reset": true, "timeout": true, "refused": false} {
		for name, use := range incr {
			t.Run(fault+"/"+name, func(t *testing.T) {
				p := pair.StartProxied(t)
				patience := 100 * time.Millisecond // go-redis swallows a reset that it meets before the reply, and meets the next then
				if fault == "EOF" || fault == "refused" {
					patience = 20 * time.Second // or either looks like a timeout on a busy machine
				}
				var refuse, reset atomic.Bool
				dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
					if refuse.Load() {
						return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
					}
					nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
					return &resetting{nc, &reset}, err
				}
				east := pair.Through(p.East, p.ToEast)
				east.Dialer = dial
				p.Attach(t, east, pair.Through(p.West, p.ToWest), func(o *multidb.Options, r *redis.Options) {
					if fault == "refused" {
						r.MaxRetries = -1 // or it finds the other database
					}
					r.PipelinePoolSize = -1 // go-redis tries the other pool otherwise, which is a second dial
					o.Retry.MaxAttempts = -1
					o.Health.StallTimeout = time.Minute   // a switch has nothing to do with it
					o.Health.ActiveInterval = time.Minute // nor has a check that meets the fault first
				})
				bare := redis.NewClient(&redis.Options{Addr: p.ToEast.Addr(), Dialer: dial, MaxRetries: -1, ReadTimeout: patience})
				defer bare.Close()
				lost := faultproxy.Named("INCR")
				if name == "transaction" {
					lost = faultproxy.Named("EXEC")
				}
				clone := p.RDB.WithTimeout(patience)
				redistest.Eventually(t, 20*time.Second, "connections", func() bool {
					return clone.Ping(t.Context()).Err() == nil && bare.Ping(t.Context()).Err() == nil
				})
				switch fault {
				case "EOF":
					p.ToEast.DropReplies(lost)
				case "timeout":
					p.ToEast.Answer(func(args []string) (string, bool) { return "", lost(args) })
				case "reset":
					reset.Store(true)
				case "refused":
					p.ToEast.Reset()
					refuse.Store(true)
				}
				want := use(t.Context(), bare)
				require.Error(t, want)
				arrived := p.ToEast.Count("INCR")
				err := use(t.Context(), clone)
				require.Error(t, err)
				var failed *multidb.CommandError
				require.ErrorAs(t, err, &failed)
				require.Equal(t, "east", failed.Database)
				require.Equal(t, sent, failed.Sent, "%v", err)
				require.Equal(t, !sent, multidb.SafeToRetry(err), "%v", err)
				require.Equal(t, answersOf(want), answersOf(err), "%v (%T) and %v (%T)", want, want, err, err)
				require.LessOrEqual(t, p.ToEast.Count("INCR"), arrived+1, "sent once")
			})
		}
	}
}

// resetting fails reads with ECONNRESET after a request of INCR or EXEC.
type resetting struct {
	net.Conn
	on *atomic.Bool
}

func (c *resetting) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.on.Load() {
		return 0, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	}
	return n, err
}

// TestSafeToRetryOfClones: a WithTimeout clone has no hook that says of a request on a dead session that it was not sent.
func TestSafeToRetryOfClones(t *testing.T) {
	p := pair.NewProxied(t, nil)
	conn := p.RDB.WithTimeout(time.Second).Conn()
	defer conn.Close()
	require.NoError(t, conn.Ping(t.Context()).Err())
	p.ToEast.DropReplies(faultproxy.First(1, faultproxy.Named("INCR")))
	first := conn.Incr(t.Context(), "n").Err()
	require.False(t, multidb.SafeToRetry(first), "%v", first)
	second := conn.Incr(t.Context(), "n").Err()
	require.True(t, multidb.SafeToRetry(second), "%v", second)
	require.True(t, multidb.SafeToRetry(fmt.Errorf("mine: %w", second)))
	require.False(t, multidb.SafeToRetry(errors.Join(second, first)))
	require.False(t, multidb.SafeToRetry(errors.Join(first, second)))
	require.EqualValues(t, 1, p.Sum(t, "n"))
}

// What an error of the hook says beyond its cause: which database, and whether the request had been sent.

func TestCommandErrorSaysWhereAndWhetherSent(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	for name, c := range map[string]struct {
		fault func(p *pair.Proxied, dials *atomic.Bool)
		use   func(ctx context.Context, rdb *redis.Client) error
		sent  bool
		cause error
	}{
		"reply lost": {
			func(p *pair.Proxied, _ *atomic.Bool) { p.ToEast.DropReplies(faultproxy.Named("INCR")) },
			func(ctx context.Context, rdb *redis.Client) error { return rdb.Incr(ctx, "n").Err() }, true, io.EOF,
		},
		"reply of a transaction lost": {
			func(p *pair.Proxied, _ *atomic.Bool) { p.ToEast.DropReplies(faultproxy.Named("EXEC")) },
			func(ctx context.Context, rdb *redis.Client) error {
				_, err := rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Incr(ctx, "n").Err() })
				return err
			}, true, io.EOF,
		},
		"dial refused": {
			func(_ *pair.Proxied, dials *atomic.Bool) { dials.Store(true) },
			func(ctx context.Context, rdb *redis.Client) error { return rdb.Incr(ctx, "n").Err() }, false, syscall.ECONNREFUSED,
		},
		"lost in the handshake": {
			func(p *pair.Proxied, _ *atomic.Bool) { p.ToEast.DropReplies(faultproxy.Named("HELLO")) },
			func(ctx context.Context, rdb *redis.Client) error { return rdb.Incr(ctx, "n").Err() }, false, io.EOF,
		},
		"lost in the handshake, in a pipeline": {
			func(p *pair.Proxied, _ *atomic.Bool) { p.ToEast.DropReplies(faultproxy.Named("CLIENT")) },
			func(ctx context.Context, rdb *redis.Client) error {
				_, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Incr(ctx, "n").Err() })
				return err
			}, false, io.EOF,
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := pair.StartProxied(t)
			var dials atomic.Bool
			east := pair.Through(p.East, p.ToEast)
			east.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if dials.Load() {
					return nil, refused
				}
				return (&net.Dialer{}).DialContext(ctx, network, addr)
			}
			west := pair.Through(p.West, p.ToWest)
			west.Dialer = east.Dialer // if only east refuses, it is left and nobody gets an error
			p.Attach(t, east, west, func(o *multidb.Options, r *redis.Options) {
				o.Retry.MaxAttempts = -1
				r.MaxRetries = -1
			})
			c.fault(p, &dials)
			err := c.use(t.Context(), p.RDB)
			var failed *multidb.CommandError
			require.ErrorAs(t, err, &failed, "%v (%T)", err, err)
			require.Equal(t, "east", failed.Database)
			require.Equal(t, c.sent, failed.Sent, "%v", err)
			require.ErrorIs(t, err, c.cause)
			require.Equal(t, !c.sent, multidb.SafeToRetry(err), "%v", err)
			require.ErrorContains(t, err, `database "east"`)
		})
	}
}

// manyErrors is an error of a type that cannot be compared, as validators have them.
type manyErrors []error

func (manyErrors) Error() string { return "invalid" }

type invalid struct{}

func (invalid) MarshalBinary() ([]byte, error) { return nil, manyErrors{nil} }

// Events: an argument fails to encode with an error whose type cannot be compared; the hook compares it and panics.
func TestUncomparableError(t *testing.T) {
	p := pair.New(t, nil)
	ctx := t.Context()
	require.NotPanics(t, func() {
		_, err := p.RDB.Pipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Set(ctx, "k", invalid{}, 0).Err() })
		var many manyErrors
		require.ErrorAs(t, err, &many)
		require.ErrorAs(t, p.RDB.Set(ctx, "k", invalid{}, 0).Err(), &many)
	})
}

// Events: a hook is added to a Ring, which it cannot route; its own databases die. From then on it refuses the commands of
// the Ring, which is well, and counts its failures as those of its databases.
func TestCommandsThatAreNotRoutedPass(t *testing.T) {
	dead, ring := redistest.Start(t), redistest.Start(t)
	h := pair.Hook(t, multidb.Options{Databases: []multidb.Database{{Name: "only", URL: "redis://" + dead.Addr()}}})
	other := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": ring.Addr()}})
	defer other.Close()
	other.AddHook(h)
	ctx := t.Context()
	dead.Kill()
	redistest.Eventually(t, 10*time.Second, "the outage", func() bool { return h.Stats().Down })
	require.NoError(t, other.Set(ctx, "k", "v", 0).Err())
	_, err := other.Pipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Incr(ctx, "n").Err() })
	require.NoError(t, err)
	dead.Restart()
	redistest.Eventually(t, 10*time.Second, "its end", func() bool { return !h.Stats().Down })
	ring.Kill()
	require.Error(t, other.Set(ctx, "k", "v", 0).Err())
	require.Zero(t, h.Stats().Databases[0].Failures)
}
