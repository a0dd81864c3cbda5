package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// Events:
//  1. A hook has two databases that name no index, and two clients: one of index 0, one of index 3.
//  2. Both clients write the same keys, in each way that takes a connection of its own kind.
//  3. A planned switch moves both to the other database, and they write again.
//
// Each client reads and writes its own index on each database, as it does without the hook.
func TestClientKeepsItsIndexWhereDatabasesNameNone(t *testing.T) {
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprint("RESP", protocol), func(t *testing.T) {
			var third *redis.Client
			p := pair.New(t, func(_ *multidb.Options, r *redis.Options) {
				r.Protocol = protocol
				opt := *r
				opt.DB = 3
				third = redis.NewClient(&opt)
			})
			t.Cleanup(func() { _ = third.Close() })
			require.NoError(t, p.Hook.Attach(third))
			ctx := t.Context()
			write := func(rdb *redis.Client, value string) {
				require.NoError(t, rdb.Set(ctx, "single", value, 0).Err())
				_, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Set(ctx, "pipeline", value, 0).Err() })
				require.NoError(t, err)
				_, err = rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Set(ctx, "transaction", value, 0).Err() })
				require.NoError(t, err)
				conn := rdb.Conn()
				defer conn.Close()
				require.NoError(t, conn.Set(ctx, "conn", value, 0).Err())
			}
			for server, name := range map[*redistest.Redis]string{p.East: "east", p.West: "west"} {
				require.NoError(t, p.Hook.SetActive(ctx, name))
				write(p.RDB, name+"-0")
				write(third, name+"-3")
				for _, key := range []string{"single", "pipeline", "transaction", "conn"} {
					for rdb, want := range map[*redis.Client]string{p.RDB: name + "-0", third: name + "-3"} {
						got, err := rdb.Get(ctx, key).Result()
						require.NoError(t, err)
						require.Equal(t, want, got, key)
					}
					require.Equal(t, name+"-0", valueAt(t, server, 0, key))
					require.Equal(t, name+"-3", valueAt(t, server, 3, key))
				}
			}
		})
	}
}

// A SELECT that is the very first command of a session is the user's, whatever it is taken for.
func TestFirstSelectOfASessionIsObeyed(t *testing.T) {
	p := pair.New(t, func(_ *multidb.Options, r *redis.Options) {
		r.DisableIdentity, r.MaintNotificationsConfig = true, testkit.MaintenanceOff()
	})
	conn := p.RDB.Conn()
	defer conn.Close()
	require.NoError(t, conn.Select(t.Context(), 4).Err())
	require.NoError(t, conn.Set(t.Context(), "k", "v", 0).Err())
	require.Equal(t, "v", valueAt(t, p.East, 4, "k"))
}

// Attach names the client's index and the database's if they contradict each other.
func TestAttachRefusesAClientOfAnotherIndex(t *testing.T) {
	east := redistest.Start(t)
	five := *east.Options()
	five.DB = 5
	h, err := multidb.New(t.Context(), multidb.Options{Databases: []multidb.Database{{Name: "east", Options: &five}}, Logger: testkit.Log(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	for index, refused := range map[int]bool{0: false, 5: false, 3: true} {
		rdb := redis.NewClient(&redis.Options{Addr: east.Addr(), DB: index})
		t.Cleanup(func() { _ = rdb.Close() })
		err := h.Attach(rdb)
		if !refused {
			require.NoError(t, err, index)
			continue
		}
		require.EqualError(t, err, `multidb: Attach: the client has DB = 3 and database "east" has index 5: must be the same, or one of them 0`)
	}
}

// AddHook has no error to return, so the log says it: once for a client, not once for a connection.
func TestAddHookLogsAClientOfAnotherIndexOnce(t *testing.T) {
	var log syncBuffer
	east := redistest.Start(t)
	five := *east.Options()
	five.DB = 5
	h, err := multidb.New(t.Context(), multidb.Options{Databases: []multidb.Database{{Name: "east", Options: &five}}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, err)
	rdb := redis.NewClient(&redis.Options{Addr: east.Addr(), DB: 3})
	t.Cleanup(func() { _ = rdb.Close() })
	rdb.AddHook(h)
	require.NoError(t, rdb.Set(t.Context(), "k", "v", 0).Err())
	conn := rdb.Conn() // while it holds the only idle connection, the next command needs another one
	require.NoError(t, conn.Ping(t.Context()).Err())
	require.NoError(t, rdb.Set(t.Context(), "k", "v", 0).Err())
	require.NoError(t, conn.Close())
	require.Equal(t, "v", valueAt(t, east, 5, "k"))
	require.NoError(t, h.Close()) // delivers what is left to be logged
	require.Equal(t, 1, bytes.Count(log.bytes(), []byte("client_index=3")), "%s", log.bytes())
}

// valueAt asks a server directly.
func valueAt(t testing.TB, server *redistest.Redis, index int, key string) string {
	t.Helper()
	opt := server.Options()
	opt.DB = index
	rdb := redis.NewClient(opt)
	defer rdb.Close()
	value, err := rdb.Get(context.Background(), key).Result()
	require.NoError(t, err, "%s in index %d", key, index)
	return value
}

// syncBuffer is a buffer that a log may write to while a test reads it.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) bytes() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.b.Bytes())
}
