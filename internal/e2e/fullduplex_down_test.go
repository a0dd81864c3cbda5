package e2e_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// Full duplex while no database is usable.

// TestFullDuplexWaitsForADatabase: with MaxWait a command that begins while everything is down is executed when a database returns,
// once.
func TestFullDuplexWaitsForADatabase(t *testing.T) {
	p := pair.NewProxied(t, func(o *multidb.Options, _ *redis.Options) { o.MaxWait = time.Minute })
	ap := fullDuplex(t, &p.Pair, 50*time.Millisecond)
	require.NoError(t, ap.Incr(t.Context(), "n").Err())
	p.ToEast.Refuse()
	p.ToWest.Refuse()
	redistest.Eventually(t, 20*time.Second, "everything to be down", func() bool { return p.Hook.Stats().Down })
	const callers = 8
	errs := make(chan error, callers)
	for range callers {
		go func() { errs <- ap.Incr(context.Background(), "n").Err() }()
	}
	select {
	case err := <-errs:
		require.FailNow(t, "nobody waited", "%v", err)
	case <-time.After(700 * time.Millisecond): // without MaxWait each ends within a few ms
	}
	p.ToWest.Pass()
	for range callers {
		require.NoError(t, <-errs)
	}
	require.EqualValues(t, callers+1, p.Sum(t, "n"))
}

// TestFullDuplexWaitsNoLongerThanMaxWait: then each caller is told that there is no database and that nothing was sent. One that comes
// later waits as well. go-redis fails what it has in its queue with the one that has waited.
func TestFullDuplexWaitsNoLongerThanMaxWait(t *testing.T) {
	const wait = 300 * time.Millisecond
	p := pair.NewProxied(t, func(o *multidb.Options, _ *redis.Options) { o.MaxWait = wait })
	ap := fullDuplex(t, &p.Pair, 50*time.Millisecond)
	ctx := t.Context()
	require.NoError(t, ap.Incr(ctx, "n").Err())
	p.ToEast.Refuse()
	p.ToWest.Refuse()
	redistest.Eventually(t, 20*time.Second, "everything to be down", func() bool { return p.Hook.Stats().Down })
	waited := 0
	for until := time.Now().Add(20 * time.Second); waited < 3 && time.Now().Before(until); {
		began := time.Now()
		err := ap.Incr(ctx, "n").Err()
		require.ErrorIs(t, err, multidb.ErrNoDatabase)
		require.True(t, multidb.SafeToRetry(err), "%v", err)
		require.Less(t, time.Since(began), 20*time.Second)
		if time.Since(began) >= wait {
			waited++
		}
	}
	require.Equal(t, 3, waited)
	require.EqualValues(t, 1, p.Sum(t, "n"))
}
