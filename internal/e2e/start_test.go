package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit"
	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/internal/testkit/virtual"
)

// TestInitialPolicies: New waits for as many as it was told, and says which are missing.
func TestInitialPolicies(t *testing.T) {
	servers := []*redistest.Redis{redistest.Start(t), redistest.Start(t), redistest.Start(t)}
	names := []string{"one", "two", "three"}
	for _, c := range []struct {
		policy  multidb.Initial
		healthy int
		ok      bool
	}{
		{multidb.InitialOne, 0, false}, {multidb.InitialOne, 1, true}, {multidb.InitialMajority, 1, false}, {multidb.InitialMajority, 2, true},
		{multidb.InitialAll, 2, false}, {multidb.InitialAll, 3, true},
	} {
		t.Run(fmt.Sprintf("%v, %d of 3", c.policy, c.healthy), func(t *testing.T) {
			opt := multidb.Options{Initial: c.policy, Logger: testkit.Log(t)}
			for i, server := range servers {
				proxy := faultproxy.Start(t, server.Addr())
				if i >= c.healthy {
					proxy.Refuse()
				}
				opt.Databases = append(opt.Databases, multidb.Database{Name: names[i], Options: pair.Through(server, proxy)})
			}
			patience := 20 * time.Second
			if !c.ok {
				patience = 2 * time.Second // for the answers of all three
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			hook, err := multidb.New(ctx, opt)
			if c.ok {
				require.NoError(t, err)
				require.Equal(t, "one", hook.Active())
				require.NoError(t, hook.Close())
				return
			}
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, c.healthy == 0, strings.Contains(err.Error(), multidb.ErrNoDatabase.Error()))
			require.ErrorContains(t, err, fmt.Sprintf("%d of 3", c.healthy))
			for i, name := range names {
				if missing := fmt.Sprintf("database %q", name); i < c.healthy {
					require.NotContains(t, err.Error(), missing)
				} else {
					require.ErrorContains(t, err, missing+": ")
				}
			}
			require.ErrorContains(t, err, "refused", "what they answered")
		})
	}
}

// TestNewWaitsForADatabaseThatComesUp.
func TestNewWaitsForADatabaseThatComesUp(t *testing.T) {
	server := redistest.Start(t)
	proxy := faultproxy.Start(t, server.Addr())
	proxy.Refuse()
	up := make(chan time.Time, 1)
	time.AfterFunc(300*time.Millisecond, func() {
		proxy.Pass()
		up <- time.Now()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	hook, err := multidb.New(ctx, multidb.Options{Databases: []multidb.Database{{Name: "a", Options: pair.Through(server, proxy)}}, Logger: testkit.Log(t)})
	require.NoError(t, err)
	took := time.Since(<-up)
	require.NoError(t, hook.Close())
	require.Less(t, took, 10*time.Second)
	t.Logf("ready %v after the database", took.Round(time.Millisecond))
}

// TestAddNamesItself: what is wrong with a database that is added is said with the package, the method and the field.
func TestAddNamesItself(t *testing.T) {
	bubble(t, 1, multidb.Options{}, func(h *multidb.Hook, _ []*virtual.DB) {
		err := h.Add(t.Context(), multidb.Database{Name: " ", Options: &redis.Options{Addr: "h:1"}, HealthCheckURL: "https://me:hunter2%@api"})
		require.ErrorContains(t, err, "multidb: Add: Database.Name")
		require.ErrorContains(t, err, "Database.HealthCheckURL")
		require.NotContains(t, err.Error(), "hunter2")
		err = h.Add(t.Context(), multidb.Database{Name: "a", Options: &redis.Options{Addr: "h:1"}})
		require.ErrorContains(t, err, "multidb: Add: Database.Name = \"a\": is in use already")
	})
}
