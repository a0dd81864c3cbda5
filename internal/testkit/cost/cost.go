// Package cost measures what the hook adds to a command on the healthy path: the difference between two clients, in one run.
package cost

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// Client runs commands.
type Client interface {
	Process(ctx context.Context, cmd redis.Cmder) error
}

func set() redis.Cmder { return redis.NewStatusCmd(context.Background(), "set", "k", "v") }

// Added reports the time that a command takes without the hook and with it. It is robust against a busy machine: both clients take
// turns, a few hundred commands each, and the quietest turn of each counts.
func Added(b *testing.B, bare, hooked Client) {
	ctx, cmd := context.Background(), set()
	best := [2]time.Duration{time.Hour, time.Hour}
	clients := [2]Client{bare, hooked}
	for b.Loop() {
		for i, rdb := range clients {
			const turn = 200
			began := time.Now()
			for range turn {
				if err := rdb.Process(ctx, cmd); err != nil {
					b.Fatal(err)
				}
			}
			best[i] = min(best[i], time.Since(began)/turn)
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(best[0]), "ns/bare")
	b.ReportMetric(float64(best[1]), "ns/hook")
	b.ReportMetric(float64(best[1]-best[0]), "ns/added")
}

// RequireNoAllocations fails if a command allocates more with the hook than without it. The functions make the clients.
//
// All of the process is counted, and a sync.Pool may be emptied at any time: an allocation of the hook's own is there in every
// measurement, one of somebody else's is not.
func RequireNoAllocations(t *testing.T, bare, hooked func() Client, of string) {
	t.Helper()
	without, with := 0.0, 0.0
	for range 5 {
		if without, with = allocations(t, bare()), allocations(t, hooked()); math.Abs(with-without) < 0.01 {
			break
		}
	}
	require.InDelta(t, without, with, 0.01, of)
}

func allocations(t *testing.T, rdb Client) float64 {
	ctx, cmd := context.Background(), set()
	require.NoError(t, rdb.Process(ctx, cmd))
	return testing.AllocsPerRun(1000, func() { _ = rdb.Process(ctx, cmd) })
}
