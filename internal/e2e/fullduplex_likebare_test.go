package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/load"
	"github.com/redishook/multidb/internal/testkit/pair"
)

// Full duplex that loses its connection again and again, with the hook and without it.

// everyNth picks the n-th, 2n-th, … request that is none of the handshake.
func everyNth(n int64) func(args []string) bool {
	var seen atomic.Int64
	return func(args []string) bool {
		switch strings.ToLower(args[0]) {
		case "hello", "client", "select", "ping":
			return false
		}
		return seen.Add(1)%n == 0
	}
}

// harmless are commands that may run twice. They answer an error for what is missing.
var harmless = map[string]func(ctx context.Context, rdb redis.Cmdable, key string, i int) error{
	"SET": func(ctx context.Context, rdb redis.Cmdable, key string, i int) error {
		return rdb.Set(ctx, key, i, 0).Err()
	},
	"SET with a TTL": func(ctx context.Context, rdb redis.Cmdable, key string, i int) error {
		return rdb.Set(ctx, key, i, time.Hour).Err()
	},
	"SET, TTL in ms": func(ctx context.Context, rdb redis.Cmdable, key string, i int) error {
		return rdb.Set(ctx, key, i, 1e9+1e6).Err()
	},
	"HSET, a single field": func(ctx context.Context, rdb redis.Cmdable, key string, i int) error {
		return rdb.HSet(ctx, "h:"+key, "f", i).Err()
	},
	"ZADD": func(ctx context.Context, rdb redis.Cmdable, key string, i int) error {
		return rdb.ZAdd(ctx, "z:"+key, redis.Z{Score: float64(i), Member: "m"}).Err()
	},
	"SREM": func(ctx context.Context, rdb redis.Cmdable, key string, _ int) error {
		return rdb.SRem(ctx, "s:"+key, "m").Err()
	},
}

// TestFullDuplexLosesNoMoreThanWithoutTheHook: one connection is lost every 200 commands, of which all may run twice. go-redis runs
// them again without the hook, and does so with it.
func TestFullDuplexLosesNoMoreThanWithoutTheHook(t *testing.T) {
	for name, write := range harmless {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pair.NewProxied(t, pair.Calm)
			bare := redis.NewClient(&redis.Options{Addr: p.ToWest.Addr()})
			t.Cleanup(func() { _ = bare.Close() })
			p.DropReplies(everyNth(200))
			errs := map[string]map[string]int{}
			for name, rdb := range map[string]*redis.Client{"bare": bare, "hooked": p.RDB} {
				ap, err := rdb.AutoPipelineWithOptions(&redis.AutoPipelineOptions{FullDuplex: true})
				require.NoError(t, err)
				errs[name] = load.Repeat(16, 100, func(ctx context.Context, g, i int) error {
					key := fmt.Sprint("key:", g)
					if i%2 == 0 {
						return write(ctx, ap, key, i)
					}
					if err := ap.Get(ctx, key).Err(); !errors.Is(err, redis.Nil) {
						return err
					}
					return nil
				}).Errs
				require.NoError(t, ap.Close())
			}
			require.Equal(t, map[string]map[string]int{"bare": {}, "hooked": {}}, errs)
		})
	}
}

// TestFullDuplexTellsEachCommandItsOwnFate: INCRs are among what is lost with each connection. Each is executed once at most. Who is
// told that his was not sent, or that it was done, is told the truth.
func TestFullDuplexTellsEachCommandItsOwnFate(t *testing.T) {
	for _, retries := range []int{0, -1} {
		t.Run(fmt.Sprint("MaxRetries ", retries), func(t *testing.T) {
			t.Parallel()
			p := pair.NewProxied(t, func(o *multidb.Options, r *redis.Options) {
				pair.Calm(o, r)
				r.MaxRetries = retries
			})
			p.DropReplies(everyNth(97))
			ap := fullDuplex(t, &p.Pair, time.Minute)
			var done, unknown, unsent, reads, readErrs atomic.Int64
			load.Repeat(24, 200, func(ctx context.Context, g, i int) error {
				if i%8 != g%8 {
					reads.Add(1)
					err := ap.Set(ctx, fmt.Sprint("key:", g), i, time.Hour).Err()
					if err != nil {
						readErrs.Add(1)
					}
					return err
				}
				switch err := ap.Incr(ctx, "n").Err(); {
				case err == nil:
					done.Add(1)
				case multidb.SafeToRetry(err):
					unsent.Add(1)
				default:
					unknown.Add(1)
				}
				return nil
			})
			executed := p.Sum(t, "n")
			t.Logf("INCR: %d done, %d unknown, %d not sent, %d executed; %d of %d SETs failed",
				done.Load(), unknown.Load(), unsent.Load(), executed, readErrs.Load(), reads.Load())
			require.Positive(t, unknown.Load(), "none was lost")
			require.GreaterOrEqual(t, executed, done.Load(), "reported done and not executed")
			require.LessOrEqual(t, executed, done.Load()+unknown.Load(), "executed twice, or called not sent")
		})
	}
}

// Events: 1. an INCR is under way. 2. A GET, a SET and an INCR cannot be written any more. 3. The connection is lost. Nothing of step 2
// was sent, and all of it is run again.
func TestFullDuplexRunsAgainWhatItStillHolds(t *testing.T) {
	for _, retries := range []int{0, 1} {
		p := pair.StartProxied(t)
		broken := &brokenWrites{refused: make(chan struct{})}
		east, west := pair.Through(p.East, p.ToEast), pair.Through(p.West, p.ToWest)
		east.Dialer, west.Dialer = broken.dial, broken.dial
		p.Attach(t, east, west, func(o *multidb.Options, r *redis.Options) {
			pair.Calm(o, r)
			r.MaxRetries = retries
		})
		ap := fullDuplex(t, &p.Pair, time.Minute)
		ctx := t.Context()
		require.NoError(t, ap.Set(ctx, "k", "v", 0).Err())
		written := make(chan struct{})
		p.DropReplies(func(args []string) bool {
			if !strings.EqualFold(args[0], "incr") || args[1] != "lost" {
				return false
			}
			broken.on.Store(true)
			close(written)
			<-broken.refused
			broken.on.Store(false)
			return true
		})
		incr := func(key string) error { return ap.Incr(ctx, key).Err() }
		lost := make(chan error, 1)
		go func() { lost <- incr("lost") }()
		<-written
		var behind sync.WaitGroup
		for _, run := range []func() error{
			func() error { return ap.Get(ctx, "k").Err() }, func() error { return ap.Set(ctx, "k", "w", 0).Err() }, func() error { return incr("kept") },
		} {
			behind.Go(func() { assert.NoError(t, run()) })
		}
		behind.Wait()
		err := <-lost
		var failed *multidb.CommandError
		require.ErrorAs(t, err, &failed)
		require.True(t, failed.Sent)
		require.False(t, multidb.SafeToRetry(err))
		require.EqualValues(t, 1, p.Sum(t, "lost"))
		require.EqualValues(t, 1, p.Sum(t, "kept"))
	}
}

// brokenWrites are connections that take nothing while it is on.
type brokenWrites struct {
	on      atomic.Bool
	once    sync.Once
	refused chan struct{} // closed with the first write that was refused
}

func (b *brokenWrites) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	return &brokenConn{nc, b}, err
}

type brokenConn struct {
	net.Conn
	all *brokenWrites
}

func (c *brokenConn) Write(p []byte) (int, error) {
	if c.all.on.Load() {
		c.all.once.Do(func() { close(c.all.refused) })
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: syscall.EPIPE}
	}
	return c.Conn.Write(p)
}
