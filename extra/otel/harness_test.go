package multidbotel_test

import (
	"context"
	"log/slog"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/internal/testkit/testmain"
)

func TestMain(m *testing.M) {
	logging.Disable() // go-redis logs every failed dial
	testmain.Run(m)
}

// fixture is two real servers behind proxies, and a hook over them. east has index 1 and west index 2.
type fixture struct {
	toEast, toWest *faultproxy.Proxy
	hook           *multidb.Hook
}

func start(t *testing.T, change func(*multidb.Options)) *fixture {
	t.Helper()
	f := &fixture{
		toEast: faultproxy.Start(t, redistest.Start(t).Addr()),
		toWest: faultproxy.Start(t, redistest.Start(t).Addr()),
	}
	opt := multidb.Options{
		Name: "test",
		Databases: []multidb.Database{
			{Name: "east", Options: &redis.Options{Addr: f.toEast.Addr(), DB: 1}},
			{Name: "west", Weight: 0.5, Options: &redis.Options{Addr: f.toWest.Addr(), DB: 2}},
		},
		Initial: multidb.InitialAll,
		Logger:  slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&opt)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var err error
	f.hook, err = multidb.New(ctx, opt)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.hook.Close()) })
	return f
}

func (f *fixture) client(t *testing.T) *redis.Client {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: "client.example:6379", MaxRetries: -1})
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

func portOf(t *testing.T, addr string) int64 {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	n, err := strconv.ParseInt(port, 10, 64)
	require.NoError(t, err)
	return n
}
