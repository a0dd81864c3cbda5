package probes_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/probes"
)

// cluster has masters as a *redis.ClusterClient has, and answers nothing by itself.
type cluster struct {
	redis.UniversalClient
	masters []*redis.Client
}

func (c cluster) ForEachMaster(ctx context.Context, fn func(context.Context, *redis.Client) error) error {
	var errs []error
	for _, m := range c.masters {
		errs = append(errs, fn(ctx, m))
	}
	return errors.Join(errs...)
}

func TestEveryMasterMustAnswer(t *testing.T) {
	var servers []*miniredis.Miniredis
	var c cluster
	for range 3 {
		s := miniredis.RunT(t)
		servers = append(servers, s)
		c.masters = append(c.masters, target(t, &redis.Options{Addr: s.Addr()}).Client.(*redis.Client))
	}
	for _, p := range []probes.Probe{probes.Ping(), probes.Echo()} {
		db := probes.Target{Name: "east", Client: c}
		if err := once(p).Run(t.Context(), db); err != nil {
			t.Error(err)
		}
		servers[1].SetError("LOADING dataset")
		err := once(p).Run(t.Context(), db)
		if probes.OutcomeOf(err) != probes.Failed || !strings.Contains(err.Error(), servers[1].Addr()) {
			t.Errorf("%s with one master loading: %v", probes.Name(p), err)
		}
		servers[1].SetError("NOPERM no")
		if err := once(p).Run(t.Context(), db); probes.OutcomeOf(err) != probes.NotPermitted {
			t.Errorf("%s without permission: %v", probes.Name(p), err)
		}
		servers[1].SetError("")
		if err := once(p).Run(t.Context(), probes.Target{Client: cluster{}}); probes.OutcomeOf(err) != probes.Failed {
			t.Errorf("%s of no masters at all: %v", probes.Name(p), err)
		}
	}
}

func TestRingShardsMustAnswer(t *testing.T) {
	a, b := miniredis.RunT(t), miniredis.RunT(t)
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": a.Addr(), "b": b.Addr()}, MaxRetries: -1})
	defer func() { _ = ring.Close() }()
	db := probes.Target{Name: "east", Client: ring}
	for _, p := range builtIn() {
		if err := once(p).Run(t.Context(), db); err != nil {
			t.Error(err)
		}
	}
	b.SetError("LOADING dataset")
	if err := once(probes.Ping()).Run(t.Context(), db); probes.OutcomeOf(err) != probes.Failed {
		t.Errorf("with one shard loading: %v", err)
	}
}

func TestRealClusterPassesOnlyWithItsSlots(t *testing.T) {
	s := redistest.Start(t, redistest.Lines("cluster-enabled yes", "cluster-require-full-coverage yes"))
	opt := s.Options()
	c := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: []string{s.Addr()}, Username: opt.Username, Password: opt.Password,
		ReadOnly: true, MaxRedirects: -1, MaxRetries: -1, ContextTimeoutEnabled: true,
	})
	defer func() { _ = c.Close() }()
	db := probes.Target{Name: "east", Client: c}
	for _, p := range builtIn() {
		if err := once(p).Run(t.Context(), db); probes.OutcomeOf(err) != probes.Failed {
			t.Errorf("%s of a cluster without slots: %v", probes.Name(p), err)
		}
	}
	if err := s.Client().Do(t.Context(), "cluster", "addslotsrange", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	for _, p := range builtIn() {
		check := probes.Check{Probe: p, Probes: 50, Policy: probes.Any, Timeout: 10 * time.Second}
		if err := check.Run(t.Context(), db); err != nil {
			t.Error(err)
		}
	}
}
