package multidb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/database"
	"github.com/redishook/multidb/internal/failure"
	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

func TestSafeToRetry(t *testing.T) {
	reply := func(text string) error { return goredis.Reply(text) }
	sent, unsent := commandError(&database.Database{Name: "a"}, true, io.EOF), commandError(&database.Database{Name: "a"}, false, io.EOF)
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"nil":                        {nil, false},
		"sent":                       {sent, false},
		"not sent":                   {unsent, true},
		"not sent, wrapped":          {fmt.Errorf("mine: %w", unsent), true},
		"sent, wrapped":              {fmt.Errorf("mine: %w", sent), false},
		"sent, with a net error":     {commandError(&database.Database{Name: "a"}, true, syscall.ECONNRESET), false},
		"sent once, then not":        {errors.Join(unsent, sent), false},
		"no database":                {ErrNoDatabase, true},
		"no database after not sent": {failure.NoDatabase(unsent), true},
		"no database after sent":     {failure.NoDatabase(sent), false},
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
		"hidden, with a net error":   {goredis.NoRetry(commandError(&database.Database{Name: "a"}, true, syscall.ECONNRESET)), false},
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

// TestOnlyGoRedisSeesNothingBehindHidden: see askedByGoRedis.
func TestOnlyGoRedisSeesNothingBehindHidden(t *testing.T) {
	err := goredis.NoRetry(commandError(&database.Database{Name: "a"}, true, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}))
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
