package multidbprometheus_test

// The faults of docs/operations.md: logins and connections, what is changed by hand, and what is set up wrongly.

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// asApp lets the hook log in as a user whose rights the fault may change.
func (s *stage) asApp(o *multidb.Options) {
	for i := range o.Databases {
		o.Databases[i].Options.Username, o.Databases[i].Options.Password = "app", "pw"
	}
}

func init() {
	faults["The password has changed"] = func(t *testing.T, s *stage) {
		s.startServers(t, redistest.Users("app on >pw ~* &* +@all"))
		s.start(t, s.asApp)
		require.NoError(t, s.east.Client().Do(t.Context(), "ACL", "SETUSER", "app", "resetpass", ">other").Err())
		cut(t, s.east)
	}
	faults["The password of a passive database is wrong"] = func(t *testing.T, s *stage) {
		s.startServers(t, redistest.Users("app on >pw ~* &* +@all"))
		s.start(t, func(o *multidb.Options) {
			s.asApp(o)
			o.Initial = multidb.InitialOne
			o.Databases[1].Options.Password = "of another one"
		})
	}
	faults["The database has too many clients"] = func(t *testing.T, s *stage) {
		s.start(t, nil)
		require.NoError(t, s.east.Client().ConfigSet(t.Context(), "maxclients", "1").Err())
		cut(t, s.east)
	}
	faults["A health check is not permitted"] = func(t *testing.T, s *stage) {
		s.startServers(t, redistest.Users("app on >pw ~* &* +@all -ping"))
		s.start(t, s.asApp)
	}
	faults["This process has no descriptors or ports left"] = func(t *testing.T, s *stage) {
		var broken atomic.Pointer[func(context.Context) (net.Conn, error)]
		s.start(t, func(o *multidb.Options) {
			o.Databases[0].Options.Dialer, o.Databases[1].Options.Dialer = dialing(&broken), dialing(&broken)
		})
		full := func(context.Context) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", syscall.EMFILE)}
		}
		broken.Store(&full)
		cut(t, s.east)
	}
	faults["Only the health checks cannot connect"] = func(t *testing.T, s *stage) {
		var away atomic.Bool
		s.start(t, func(o *multidb.Options) {
			for i := range o.Databases {
				opt := o.Databases[i].Options
				user, password := opt.Username, opt.Password
				opt.Username, opt.Password = "", ""
				opt.CredentialsProviderContext = func(context.Context) (string, string, error) {
					if away.Load() {
						return "", "", errors.New("vault: 503")
					}
					return user, password, nil
				}
			}
		})
		away.Store(true)
		killThose(t, s.east, func(line string) bool { return strings.Contains(line, " cmd=ping ") })
	}
	faults["Somebody has switched by hand"] = func(t *testing.T, s *stage) {
		s.start(t, nil)
		require.NoError(t, s.hook.SetActive(t.Context(), "west"))
	}
	faults["The set of databases was changed"] = func(t *testing.T, s *stage) {
		s.start(t, nil)
		require.NoError(t, s.hook.SetActive(t.Context(), "west"))
		s.hook.Release()
		require.NoError(t, s.hook.SetWeight("west", 2))
		require.NoError(t, s.hook.Remove(t.Context(), "east"))
		require.NoError(t, s.hook.Add(t.Context(), multidb.Database{Name: "north", Weight: 0.1, Options: through(s.east, s.toEast)}))
	}
	faults["The database is back"] = func(t *testing.T, s *stage) {
		s.start(t, quickReturn)
		s.toEast.Refuse()
		redistest.Eventually(t, 10*time.Second, "the failover", func() bool { return s.hook.Active() == "west" })
		s.toEast.Pass()
	}
	faults["A database is back without its data"] = func(t *testing.T, s *stage) {
		s.start(t, quickReturn)
		s.east.Kill()
		redistest.Eventually(t, 10*time.Second, "a key on west", func() bool { return s.west.Client().Exists(t.Context(), "k").Val() == 1 })
		s.east.Restart()
	}
	faults["A database fails, returns and fails again"] = func(t *testing.T, s *stage) {
		s.start(t, quickReturn)
		for range 3 {
			s.toEast.Refuse()
			redistest.Eventually(t, 10*time.Second, "the failover", func() bool { return s.hook.Active() == "west" })
			s.toEast.Pass()
			redistest.Eventually(t, 20*time.Second, "the return", func() bool { return s.hook.Active() == "east" })
		}
	}
	faults["Client and database name two indexes"] = func(t *testing.T, s *stage) {
		opt := s.options()
		opt.Databases[0].Options.DB = 1
		s.client(t, opt, &redis.Options{Addr: s.toEast.Addr(), DB: 2})
		require.NoError(t, s.rdb.Set(t.Context(), "k", "v", 0).Err())
	}
	faults["The client does not follow"] = func(t *testing.T, s *stage) {
		s.client(t, s.options(), &redis.Options{Addr: s.toEast.Addr()})
		used := redis.NewClient(&redis.Options{Addr: s.toEast.Addr(), Password: s.east.Options().Password, Username: s.east.Options().Username})
		t.Cleanup(func() { _ = used.Close() })
		require.NoError(t, used.Set(t.Context(), "k", "v", 0).Err())
		used.AddHook(s.hook)
		for range 5 {
			_ = used.Get(t.Context(), "k").Err()
		}
	}
	faults["Two databases are the same place"] = func(t *testing.T, s *stage) {
		opt := s.options()
		opt.Databases[1].Options = through(s.east, s.toEast)
		s.client(t, opt, &redis.Options{Addr: s.toEast.Addr()})
	}
}

// quickReturn is a hook that returns after a second of good health.
func quickReturn(o *multidb.Options) {
	o.Failback = multidb.Failback{GracePeriod: time.Second, MaxGracePeriod: 2 * time.Second}
	o.Breaker = multidb.Breaker{Delay: 200 * time.Millisecond, Successes: 1}
}
