package pubsubwrap

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/internal/testkit/testmain"
)

func TestMain(m *testing.M) {
	logging.Disable() // go-redis logs every failed dial
	testmain.Run(m)
}

const waitFor = 20 * time.Second

var eventually = redistest.Eventually

// pair is two servers, east (heavier) and west, with a hooked client.
type pair struct {
	east, west *redistest.Redis
	login      string                                                            // of a user with the password pw
	dialer     func(ctx context.Context, network, addr string) (net.Conn, error) // to east; nil: as usual
	hook       *multidb.Hook
	rdb        *redis.Client
}

func newPair(t testing.TB, servers ...redistest.Option) *pair {
	t.Helper()
	p := &pair{east: redistest.Start(t, servers...), west: redistest.Start(t, servers...)}
	p.attach(t)
	return p
}

func (p *pair) attach(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	options := func(r *redistest.Redis) *redis.Options {
		opt := r.Options()
		if r == p.east {
			opt.Dialer = p.dialer
		}
		if p.login != "" {
			opt.Username, opt.Password = p.login, "pw"
		}
		return opt
	}
	var err error
	p.hook, err = multidb.New(ctx, multidb.Options{
		Databases: []multidb.Database{
			{Name: "east", Options: options(p.east)},
			{Name: "west", Weight: 0.5, Options: options(p.west)},
		},
		Initial:  multidb.InitialAll,
		Failback: multidb.Failback{GracePeriod: -1},
		Breaker:  multidb.Breaker{Delay: 20 * time.Millisecond},
		Logger:   slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.hook.Close()) })
	p.rdb = redis.NewClient(&redis.Options{Addr: p.east.Addr()})
	t.Cleanup(func() { _ = p.rdb.Close() })
	p.rdb.AddHook(p.hook)
}

// next waits for an event.
func next(t testing.TB, s *Subscriber) Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitFor)
	defer cancel()
	e, err := s.Receive(ctx)
	require.NoError(t, err)
	return e
}

// message waits for a message, past notices.
func message(t testing.TB, s *Subscriber) *redis.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitFor)
	defer cancel()
	m, err := s.ReceiveMessage(ctx)
	require.NoError(t, err)
	return m
}

func closing(t testing.TB, s *Subscriber) {
	t.Cleanup(func() { require.NoError(t, s.Close()) })
}

// server returns the server of a database.
func (p *pair) server(database string) *redistest.Redis {
	if database == "east" {
		return p.east
	}
	return p.west
}

// usable waits until both databases are.
func (p *pair) usable(t testing.TB) {
	t.Helper()
	eventually(t, waitFor, "both to be usable", func() bool {
		for _, db := range p.hook.Stats().Databases {
			if db.Breaker != multidb.BreakerClosed {
				return false
			}
		}
		return true
	})
}

// only is the link of a subscriber whose databases are no clusters.
func (s *Subscriber) only() *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.links[noSlot]
}
