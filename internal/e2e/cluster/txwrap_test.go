package cluster_test

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

	multidb "github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/cluster"
	"github.com/redishook/multidb/internal/testkit/clustertest"
	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/txwrap"
)

// banks are groups of accounts, each group in a slot of its own, so that every node has some.
type banks struct {
	rdb   *redis.ClusterClient
	count atomic.Int64

	mu      sync.Mutex
	done    map[string]string // Guarded by mu; by transfer: the database that its last attempt was told
	unknown map[string]bool   // Guarded by mu
	errs    map[string]int    // Guarded by mu

	stop atomic.Bool
	wg   sync.WaitGroup
}

const (
	bankCount = 8
	accounts  = 10
	tellers   = 12
	opening   = 1000
)

func account(bank, i int) string  { return fmt.Sprintf("{bank%d}:account:%d", bank, i) }
func transfersOf(bank int) string { return fmt.Sprintf("{bank%d}:transfers", bank) }

// open gives every account of both clusters its money and begins with transfers.
func (p *pair) openBanks(t *testing.T) *banks {
	for _, c := range []*clustertest.Cluster{p.a, p.b} {
		rdb := newClient(t, c.Options())
		for bank := range bankCount {
			for i := range accounts {
				require.NoError(t, rdb.Set(t.Context(), account(bank, i), opening, 0).Err())
			}
		}
	}
	b := &banks{rdb: p.rdb, done: make(map[string]string), unknown: make(map[string]bool), errs: make(map[string]int)}
	for g := range tellers {
		b.wg.Go(func() {
			for i := 0; !b.stop.Load(); i++ {
				b.transfer(rand.IntN(bankCount), fmt.Sprintf("%d:%d", g, i))
			}
		})
	}
	return b
}

// transfer moves money between two accounts of a bank, and notes the transfer beside them.
func (b *banks) transfer(bank int, id string) {
	ctx := context.Background()
	from := rand.IntN(accounts)
	to := (from + 1 + rand.IntN(accounts-1)) % accounts
	amount := 1 + rand.IntN(10)
	var database string
	err := txwrap.Options{AfterRace: 1000}.Watch(ctx, b.rdb, func(tx *txwrap.Tx) error {
		database = tx.Database()
		balance, err := tx.MGet(ctx, account(bank, from), account(bank, to)).Result()
		if err != nil {
			return err
		}
		x, _ := strconv.Atoi(balance[0].(string))
		y, _ := strconv.Atoi(balance[1].(string))
		_, err = tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Set(ctx, account(bank, from), x-amount, 0)
			pipe.Set(ctx, account(bank, to), y+amount, 0)
			pipe.HIncrBy(ctx, transfersOf(bank), id, 1)
			return nil
		})
		return err
	}, account(bank, from), account(bank, to))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count.Add(1)
	var unanswered *txwrap.UnansweredError
	switch {
	case err == nil:
		b.done[id] = database
	case errors.As(err, &unanswered):
		b.unknown[id] = true
	default:
		b.errs[err.Error()]++
	}
}

// busy waits until every teller may have done something.
func (b *banks) busy(t *testing.T) {
	t.Helper()
	before := b.count.Load()
	redistest.Eventually(t, 30*time.Second, "transfers to go on", func() bool { return b.count.Load() > before+2*tellers })
}

// close ends all transfers and compares what the tellers were told with what the nodes have executed.
func (b *banks) close(t *testing.T, p *pair) {
	t.Helper()
	b.stop.Store(true)
	b.wg.Wait()
	t.Logf("done %d, unknown %d, errors %v", len(b.done), len(b.unknown), b.errs)
	require.Empty(t, b.errs, "only EXEC without an answer may fail")
	found := make(map[string]int)
	for name, c := range map[string]*clustertest.Cluster{"A": p.a, "B": p.b} {
		rdb := newClient(t, c.Options())
		for bank := range bankCount {
			total := 0
			for i := range accounts {
				n, err := rdb.Get(t.Context(), account(bank, i)).Int()
				require.NoError(t, err)
				total += n
			}
			require.Equal(t, accounts*opening, total, "money of bank %d on %s", bank, name)
			transfers, err := rdb.HGetAll(t.Context(), transfersOf(bank)).Result()
			require.NoError(t, err)
			for id, times := range transfers {
				n, _ := strconv.Atoi(times)
				found[id] += n
				require.Equal(t, 1, found[id], "%s was executed more than once", id)
				if !b.unknown[id] {
					require.Equal(t, name, b.done[id], "%s is not where its attempt was told it was", id)
				}
			}
		}
	}
	for id := range b.done {
		require.Equal(t, 1, found[id], "%s was reported as done", id)
	}
	for id := range found {
		require.True(t, b.done[id] != "" || b.unknown[id], "%s is there and was reported as failed", id)
	}
}

// TestTransactionsOnClustersAcrossSwitches: no transfer is lost or executed twice, in planned switches and when whole clusters
// crash; the nodes count.
func TestTransactionsOnClustersAcrossSwitches(t *testing.T) {
	t.Parallel()
	planned, crashes := 30, 4
	if testing.Short() {
		planned, crashes = 10, 2
	}
	p := newPair(t, setup{a: persist(), b: persist()})
	b := p.openBanks(t)
	for i := range planned {
		b.busy(t)
		require.NoError(t, p.hook.SetActive(t.Context(), []string{"B", "A"}[i%2]))
	}
	b.busy(t)
	b.mu.Lock()
	require.Empty(t, b.unknown, "a planned switch lets EXEC have its answer")
	b.mu.Unlock()
	p.hook.Release()
	for range crashes {
		b.busy(t)
		active := p.hook.Active()
		struck := map[string]*clustertest.Cluster{"A": p.a, "B": p.b}[active]
		struck.Kill()
		redistest.Eventually(t, 20*time.Second, "the other cluster is used", func() bool { return p.hook.Active() != active })
		struck.Restart()
		redistest.Eventually(t, 20*time.Second, "both are usable", func() bool {
			for _, db := range p.hook.Stats().Databases {
				if db.Breaker != multidb.BreakerClosed || !db.Degraded.IsZero() {
					return false
				}
			}
			return true
		})
	}
	b.busy(t)
	b.close(t, p)
	require.LessOrEqual(t, len(b.unknown), crashes*tellers, "a teller can lose one EXEC in a crash")
}

// TestTransactionsFollowTheirSlot: slots move to another node, and a replica is promoted. Nothing fails.
func TestTransactionsFollowTheirSlot(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{})
	b := p.openBanks(t)
	for bank := range bankCount {
		b.busy(t)
		slot := cluster.KeySlot(account(bank, 0))
		from := p.a.Owner(slot)
		to := p.a.Nodes[0]
		if from == to {
			to = p.a.Nodes[1]
		}
		p.a.MoveSlots(from, to, slot)
	}
	b.busy(t)
	p.a.Failover(p.a.ReplicaOf(1))
	b.busy(t)
	b.close(t, p)
	require.Empty(t, b.unknown)
	require.Empty(t, p.moves())
}

// TestTransactionsWaitOutATakeover: a master dies, and its replica is promoted seconds later. Nobody is told an error but whose EXEC
// was under way. The master ends by a command of its own, in between two requests: what it has answered, its replica has.
func TestTransactionsWaitOutATakeover(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{})
	b := p.openBanks(t)
	b.busy(t)
	for i := range p.a.Masters {
		if p.a.Nodes[i] == p.a.Owner(cluster.KeySlot(account(0, 0))) { // it has a bank, so there are transfers
			_ = p.a.Nodes[i].Client().Do(t.Context(), "shutdown", "nosave", "now", "force").Err() // it does not answer
			p.a.AwaitMaster(p.a.ReplicaOf(i))
			break
		}
	}
	for range 5 {
		b.busy(t)
	}
	redistest.Eventually(t, 20*time.Second, "A is whole", func() bool { return p.hook.Stats().Databases[0].Degraded.IsZero() })
	b.busy(t)
	b.close(t, p)
	require.LessOrEqual(t, len(b.unknown), tellers)
	require.Empty(t, p.moves())
}

// TestTransactionWithKeysInSeveralSlots is refused with the reason, and executes nothing.
func TestTransactionWithKeysInSeveralSlots(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{})
	ctx := t.Context()
	runs := 0
	set := func(keys ...string) func(*txwrap.Tx) error {
		return func(tx *txwrap.Tx) error {
			runs++
			_, err := tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
				for _, key := range keys {
					pipe.Incr(ctx, key)
				}
				return nil
			})
			return err
		}
	}
	err := txwrap.Watch(ctx, p.rdb, set("n:a"), "n:a", "n:b")
	require.ErrorIs(t, err, txwrap.ErrCrossSlot)
	require.ErrorContains(t, err, fmt.Sprintf(`"n:a" is in slot %d and "n:b" in slot %d`, cluster.KeySlot("n:a"), cluster.KeySlot("n:b")))
	require.ErrorIs(t, txwrap.Watch(ctx, p.rdb, set("n:a")), txwrap.ErrCrossSlot)
	require.Zero(t, runs)

	a := p.a.Owner(cluster.KeySlot("n:a"))
	elsewhere := 0
	for p.a.Owner(cluster.KeySlot("n:"+strconv.Itoa(elsewhere))) == a {
		elsewhere++
	}
	other := "n:" + strconv.Itoa(elsewhere)
	err = txwrap.Watch(ctx, p.rdb, set("n:a", other), "n:a")
	require.ErrorIs(t, err, txwrap.ErrCrossSlot)
	require.ErrorContains(t, err, fmt.Sprintf("a command has a key in slot %d, and the watched keys are in slot %d",
		cluster.KeySlot(other), cluster.KeySlot("n:a")))
	require.Equal(t, 1, runs, "another attempt would meet the same")
	require.Zero(t, p.sum("n:"), "nothing was executed")
	require.NoError(t, txwrap.Watch(ctx, p.rdb, set("n:{x}1", "n:{x}2"), "n:{x}1", "n:{x}2"))
	require.EqualValues(t, 2, p.sum("n:"))
}
