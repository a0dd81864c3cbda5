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
)

// answersOf is what callers ask of an error.
func answersOf(err error) string {
	var op *net.OpError
	var as net.Error
	plain, isNet := err.(net.Error) //nolint:errorlint // as callers write it
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
				p := startProxied(t)
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
				east := through(p.east, p.toEast)
				east.Dialer = dial
				p.attach(t, east, through(p.west, p.toWest), func(o *Options, r *redis.Options) {
					if fault == "refused" {
						r.MaxRetries = -1 // or it finds the other database
					}
					r.PipelinePoolSize = -1 // go-redis tries the other pool otherwise, which is a second dial
					o.Retry.MaxAttempts = -1
					o.Health.StallTimeout = time.Minute // a switch has nothing to do with it
				})
				bare := redis.NewClient(&redis.Options{Addr: p.toEast.Addr(), Dialer: dial, MaxRetries: -1, ReadTimeout: patience})
				defer bare.Close()
				lost := faultproxy.Named("INCR")
				if name == "transaction" {
					lost = faultproxy.Named("EXEC")
				}
				clone := p.rdb.WithTimeout(patience)
				eventually(t, 20*time.Second, "connections", func() bool {
					return clone.Ping(t.Context()).Err() == nil && bare.Ping(t.Context()).Err() == nil
				})
				switch fault {
				case "EOF":
					p.toEast.DropReplies(lost)
				case "timeout":
					p.toEast.Answer(func(args []string) (string, bool) { return "", lost(args) })
				case "reset":
					reset.Store(true)
				case "refused":
					p.toEast.Reset()
					refuse.Store(true)
				}
				want := use(t.Context(), bare)
				require.Error(t, want)
				arrived := p.toEast.Count("INCR")
				err := use(t.Context(), clone)
				require.Error(t, err)
				var failed *CommandError
				require.ErrorAs(t, err, &failed)
				require.Equal(t, "east", failed.Database)
				require.Equal(t, sent, failed.Sent, "%v", err)
				require.Equal(t, !sent, SafeToRetry(err), "%v", err)
				require.Equal(t, answersOf(want), answersOf(err), "%v (%T) and %v (%T)", want, want, err, err)
				require.LessOrEqual(t, p.toEast.Count("INCR"), arrived+1, "sent once")
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

// TestOnlyGoRedisSeesNothingBehindHidden: see askedByGoRedis.
func TestOnlyGoRedisSeesNothingBehindHidden(t *testing.T) {
	err := goredis.NoRetry(commandError(&database{name: "a"}, true, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}))
	for _, err := range []error{err, fmt.Errorf("mine: %w", err)} {
		var op *net.OpError
		var lost *goredis.NoRetryError
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.ErrorAs(t, err, &op)
		require.ErrorAs(t, err, &lost)
		require.False(t, errors.Is(err, context.Canceled))
		require.False(t, SafeToRetry(err))
	}
}
