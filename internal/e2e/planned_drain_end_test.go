package e2e_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/pair"
)

// Events: 1. 1,500 idle connections of a database are left in a planned switch. 2. The drain ends and closes them. 3. In that instant the
// database is in use again, and callers begin sessions. Some got a connection that was about to be cut.
func TestTheEndOfADrainOfManyConnectionsCutsNoSession(t *testing.T) {
	conns, rounds := 1500, 10
	if testing.Short() {
		conns, rounds = 300, 3
	}
	const drain = 500 * time.Millisecond
	p := pair.New(t, func(o *multidb.Options, r *redis.Options) {
		pair.Calm(o, r)
		o.DrainTimeout = drain
		r.PoolSize, r.MaxRetries = conns, -1
	})
	ctx := t.Context()
	var errs sync.Map
	var done, failed atomic.Int64
	session := func() error {
		conn := p.RDB.Conn()
		defer conn.Close()
		return conn.Incr(ctx, "n").Err()
	}
	all := func() {
		var callers sync.WaitGroup
		for range conns {
			callers.Go(func() {
				if err := session(); err != nil {
					failed.Add(1)
					errs.Store(fmt.Sprint(err), true)
					return
				}
				done.Add(1)
			})
		}
		callers.Wait()
	}
	fill := func() {
		held := make([]*redis.Conn, conns)
		var dials sync.WaitGroup
		for i := range held {
			held[i] = p.RDB.Conn()
			dials.Go(func() { _ = held[i].Ping(context.Background()).Err() })
		}
		dials.Wait()
		for _, conn := range held {
			_ = conn.Close()
		}
	}
	for round := range rounds {
		fill()
		began := time.Now()
		require.NoError(t, p.Hook.SetActive(ctx, "west"))
		time.Sleep(time.Until(began.Add(drain - time.Duration(round)*time.Millisecond)))
		require.NoError(t, p.Hook.SetActive(ctx, "east"))
		all()
	}
	errs.Range(func(err, _ any) bool { t.Log(err); return true })
	t.Logf("%d sessions", done.Load())
	require.Zero(t, failed.Load(), "of %d sessions", done.Load()+failed.Load())
	require.Equal(t, done.Load(), p.Sum(t, "n"))
}
