package e2e_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// awaitWaiting waits until as many clients are blocked on a server.
func awaitWaiting(t *testing.T, server *redistest.Redis, n int) {
	t.Helper()
	redistest.Eventually(t, 5*time.Second, fmt.Sprint(n, " clients to wait"), func() bool {
		return strings.Contains(server.Client().Info(t.Context(), "clients").Val(), fmt.Sprintf("blocked_clients:%d\r\n", n))
	})
}

// answer is how a command ended, and when.
type answer struct {
	err  error
	took time.Duration
}

func start(op func() error) <-chan answer {
	done, began := make(chan answer, 1), time.Now()
	go func() {
		err := op()
		done <- answer{err, time.Since(began)}
	}()
	return done
}

func patient(o *multidb.Options, r *redis.Options) {
	pair.Calm(o, r)
	r.ReadTimeout = time.Minute
}

// A command that waits is moved by each planned switch, and all its waits together are as long as it has said.
func TestAWaitIsAsLongAsItHasSaidOverSwitches(t *testing.T) {
	for name, wait := range map[string]func(context.Context, *redis.Client) error{
		"BLPOP": func(ctx context.Context, rdb *redis.Client) error { return rdb.BLPop(ctx, 2*time.Second, "q").Err() },
		"XREAD": func(ctx context.Context, rdb *redis.Client) error {
			return rdb.XRead(ctx, &redis.XReadArgs{Streams: []string{"s", "$"}, Block: 2 * time.Second}).Err()
		},
		"BLMPOP": func(ctx context.Context, rdb *redis.Client) error {
			return rdb.BLMPop(ctx, 2*time.Second, "left", 1, "q").Err()
		},
		"Do": func(ctx context.Context, rdb *redis.Client) error { return rdb.Do(ctx, "brpop", "q", "2").Err() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pair.New(t, patient)
			done := start(func() error { return wait(context.Background(), p.RDB) })
			awaitWaiting(t, p.East, 1)
			time.Sleep(500 * time.Millisecond)
			require.NoError(t, p.Hook.SetActive(t.Context(), "west"))
			awaitWaiting(t, p.West, 1)
			awaitWaiting(t, p.East, 0)
			time.Sleep(500 * time.Millisecond)
			require.NoError(t, p.Hook.SetActive(t.Context(), "east"))
			awaitWaiting(t, p.East, 1)
			ended := <-done
			require.ErrorIs(t, ended.err, redis.Nil)
			require.InDelta(t, 2.0, ended.took.Seconds(), 0.25)
		})
	}
}

// The arguments of a command are its caller's: a hook outside of ours sees what it was made with.
func TestTheArgumentsOfACommandThatWaitedAreAsBefore(t *testing.T) {
	p := pair.New(t, patient)
	cmd := redis.NewStringSliceCmd(context.Background(), "blpop", "q", int64(20))
	done := start(func() error { return p.RDB.Process(context.Background(), cmd) })
	awaitWaiting(t, p.East, 1)
	require.NoError(t, p.Hook.SetActive(t.Context(), "west"))
	awaitWaiting(t, p.West, 1)
	require.NoError(t, p.West.Client().RPush(t.Context(), "q", "job").Err())
	require.NoError(t, (<-done).err)
	require.Equal(t, []string{"q", "job"}, cmd.Val())
	require.Equal(t, []any{"blpop", "q", int64(20)}, cmd.Args())
}

// What a session waits for comes to its own database: a Conn, a Tx, and the caller of a clone that has no hook are left alone.
// WAIT is about the writes of its own connection.
func TestWhoCannotMoveGoesOnWaiting(t *testing.T) {
	for name, wait := range map[string]func(context.Context, *redis.Client) error{
		"Conn": func(ctx context.Context, rdb *redis.Client) error {
			session := rdb.Conn()
			defer session.Close()
			return session.BLPop(ctx, time.Minute, "q").Err()
		},
		"pipeline of a Conn": func(ctx context.Context, rdb *redis.Client) error {
			session := rdb.Conn()
			defer session.Close()
			pipe := session.Pipeline()
			pipe.BLPop(ctx, time.Minute, "q")
			_, err := pipe.Exec(ctx)
			return err
		},
		"Tx": func(ctx context.Context, rdb *redis.Client) error {
			return rdb.Watch(ctx, func(tx *redis.Tx) error { return tx.BLPop(ctx, time.Minute, "q").Err() }, "watched")
		},
		"clone": func(ctx context.Context, rdb *redis.Client) error {
			return rdb.WithTimeout(time.Minute).BLPop(ctx, time.Minute, "q").Err()
		},
		"others follow": func(ctx context.Context, rdb *redis.Client) error {
			pipe := rdb.Pipeline()
			pipe.BLPop(ctx, time.Minute, "q")
			pipe.Incr(ctx, "n")
			_, err := pipe.Exec(ctx)
			return err
		},
		"WAIT": func(ctx context.Context, rdb *redis.Client) error {
			n, err := rdb.Wait(ctx, 1, 800*time.Millisecond).Result()
			if err == nil && n != 0 {
				return fmt.Errorf("%d replicas", n)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := pair.New(t, patient)
			done := start(func() error { return wait(context.Background(), p.RDB) })
			awaitWaiting(t, p.East, 1)
			require.NoError(t, p.Hook.SetActive(t.Context(), "west"))
			time.Sleep(300 * time.Millisecond)
			awaitWaiting(t, p.East, 1)
			require.Empty(t, done)
			if name == "WAIT" {
				require.NoError(t, (<-done).err)
				return
			}
			require.NoError(t, p.East.Client().RPush(t.Context(), "q", "job").Err())
			require.NoError(t, (<-done).err)
		})
	}
}

// Where CLIENT UNBLOCK is not permitted, what waits stays for as long as the drain lasts, and the log says so.
func TestWaitsStayWhereUnblockingIsNotPermitted(t *testing.T) {
	var log shared
	p := &pair.Pair{East: redistest.Start(t), West: redistest.Start(t)}
	for _, server := range []*redistest.Redis{p.East, p.West} {
		require.NoError(t, server.Client().Do(t.Context(), "acl", "setuser", "app", "on", ">secret", "~*", "&*", "+@all", "-client|unblock").Err())
	}
	p.Attach(t, asUser(p.East), asUser(p.West), func(o *multidb.Options, r *redis.Options) {
		patient(o, r)
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	done := start(func() error { return p.RDB.BLPop(context.Background(), time.Minute, "q").Err() })
	awaitWaiting(t, p.East, 1)
	require.NoError(t, p.Hook.SetActive(t.Context(), "west"))
	redistest.Eventually(t, 5*time.Second, "the log", func() bool { return strings.Contains(log.String(), "CLIENT UNBLOCK") })
	require.NoError(t, p.East.Client().RPush(t.Context(), "q", "job").Err())
	require.NoError(t, (<-done).err)
}

func asUser(server *redistest.Redis) *redis.Options {
	opt := server.Options()
	opt.Username, opt.Password = "app", "secret"
	return opt
}

// A read that waits is run again as often as there are switches, planned or not: no number of attempts ends it.
func TestAReadThatWaitsOutlivesAllSwitches(t *testing.T) {
	p := pair.New(t, func(o *multidb.Options, r *redis.Options) {
		r.ReadTimeout = time.Minute
		o.Retry.MaxAttempts = 2
	})
	done := start(func() error {
		return p.RDB.XRead(context.Background(), &redis.XReadArgs{Streams: []string{"s", "$"}, Block: 0}).Err()
	})
	awaitWaiting(t, p.East, 1)
	for range 3 {
		active, passive := p.Servers()
		from := p.Hook.Active()
		active.Stop()
		redistest.Eventually(t, 10*time.Second, "a failover", func() bool { return p.Hook.Active() != from })
		active.Cont()
		awaitWaiting(t, passive, 1)
		redistest.Eventually(t, 10*time.Second, "the other to be usable again", p.Usable)
	}
	require.NoError(t, p.Hook.SetActive(t.Context(), "east"))
	awaitWaiting(t, p.East, 1)
	require.NoError(t, p.RDB.XAdd(t.Context(), &redis.XAddArgs{Stream: "s", Values: []string{"k", "v"}}).Err())
	require.NoError(t, (<-done).err)
}
