package txwrap

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

const (
	accounts = 50
	tellers  = 20
	opening  = 1000
)

// TestBank moves money during planned and unplanned switches. The databases are not replicated and begin alike: so on
// each of them no money may appear or vanish, and each transfer is where its record is, in one of them.
func TestBank(t *testing.T) {
	planned, crashes := 100, 100
	if testing.Short() {
		planned, crashes = 20, 5
	}
	p := &pair{east: redistest.Start(t, redistest.Persist()), west: redistest.Start(t, redistest.Persist())}
	p.attach(t)
	servers := map[string]*redistest.Redis{"east": p.east, "west": p.west}
	for _, s := range servers {
		for i := range accounts {
			require.NoError(t, s.Client().Set(t.Context(), account(i), opening, 0).Err())
		}
	}

	var stop atomic.Bool
	var wg sync.WaitGroup
	b := &bank{rdb: p.rdb, unknown: map[string]bool{}, done: map[string]string{}, errs: map[string]int{}}
	for g := range tellers {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				b.transfer(fmt.Sprintf("transfer:%d:%d", g, i))
			}
		})
	}
	busy := func() {
		before := b.count.Load()
		eventually(t, 20*time.Second, "transfers to go on", func() bool { return b.count.Load() > before+tellers/2 })
	}
	for i := range planned {
		busy()
		require.NoError(t, p.hook.SetActive(t.Context(), []string{"west", "east"}[i%2]))
	}
	busy()
	b.mu.Lock()
	// On a machine so busy that a server is silent for half a second there are others among them.
	require.LessOrEqual(t, len(b.unknown), int(p.unplanned.Load())*tellers, "a planned switch lets EXEC have its answer")
	b.mu.Unlock()
	p.hook.Release()
	for range crashes {
		busy()
		active := p.hook.Active()
		servers[active].Kill()
		eventually(t, 20*time.Second, "a switch", func() bool { return p.hook.Active() != active })
		servers[active].Restart()
		eventually(t, 20*time.Second, "both to be usable", func() bool {
			for _, db := range p.hook.Stats().Databases {
				if db.Breaker != multidb.BreakerClosed {
					return false
				}
			}
			return true
		})
	}
	stop.Store(true)
	wg.Wait()

	t.Logf("done %d, unknown %d, run again %d times, errors %v", len(b.done), len(b.unknown), b.again.Load(), b.errs)
	require.Empty(t, b.errs, "only EXEC without an answer may fail")
	require.LessOrEqual(t, len(b.unknown), int(p.unplanned.Load())*tellers, "a teller can lose one EXEC in a crash")
	require.Greater(t, len(b.done), (planned+crashes)*tellers/2, "transfers are done during all of it")
	found := map[string]int{}
	for name, s := range servers {
		total := 0
		for i := range accounts {
			n, err := s.Client().Get(t.Context(), account(i)).Int()
			require.NoError(t, err)
			total += n
		}
		require.Equal(t, accounts*opening, total, "money on %s", name)
		for key, times := range s.Client().HGetAll(t.Context(), "transfers").Val() {
			n, _ := strconv.Atoi(times)
			found[key] += n
			if !b.unknown[key] {
				require.Equal(t, name, b.done[key], "%s is not where its attempt was told it was", key)
			}
		}
	}
	for key := range b.done {
		require.Equal(t, 1, found[key], "%s was reported as done", key)
	}
	for key, n := range found {
		require.Equal(t, 1, n, "%s is there more than once", key)
		require.True(t, b.done[key] != "" || b.unknown[key], "%s is there and was reported as failed", key)
	}
}

func account(i int) string { return "account:" + strconv.Itoa(i) }

// bank notes what became of each transfer.
type bank struct {
	rdb   redis.UniversalClient
	count atomic.Int64
	again atomic.Int64

	mu      sync.Mutex
	done    map[string]string // by transfer: the database that its attempt was told
	unknown map[string]bool
	errs    map[string]int
}

func (b *bank) transfer(id string) {
	ctx := context.Background()
	from := rand.IntN(accounts)
	to := (from + 1 + rand.IntN(accounts-1)) % accounts
	amount := 1 + rand.IntN(10)
	var database string
	err := Watch(ctx, b.rdb, func(tx *Tx) error {
		if tx.Attempt() > 1 {
			b.again.Add(1)
		}
		database = tx.Database()
		balance, err := tx.MGet(ctx, account(from), account(to)).Result()
		if err != nil {
			return err
		}
		a, _ := strconv.Atoi(balance[0].(string))
		c, _ := strconv.Atoi(balance[1].(string))
		_, err = tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Set(ctx, account(from), a-amount, 0)
			pipe.Set(ctx, account(to), c+amount, 0)
			pipe.HIncrBy(ctx, "transfers", id, 1)
			return nil
		})
		return err
	}, account(from), account(to))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count.Add(1)
	var unanswered *UnansweredError
	switch {
	case err == nil:
		b.done[id] = database
	case errors.As(err, &unanswered):
		b.unknown[id] = true
	default:
		b.errs[err.Error()]++
	}
}
