package cluster_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	multidb "github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/cluster"
	"github.com/redishook/multidb/internal/testkit/clustertest"
	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/window"
)

// TestRefusalInsideMultiOfAClusterIsTold: a node refuses each command that is to be queued, because nobody serves the slot, and EXEC
// after that. Callers get what they get without the hook, nothing is executed, and the same works once the slot is served again.
func TestRefusalInsideMultiOfAClusterIsTold(t *testing.T) {
	t.Parallel()
	p := newPair(t, setup{
		a: []clustertest.Option{clustertest.Masters(3, 0), clustertest.Nodes(redistest.Lines("cluster-require-full-coverage no"))},
		hook: func(o *multidb.Options) {
			o.Health.Takeover, o.Detectors = time.Minute, []window.Factory{} // it stays, although nobody serves the slot
			o.Retry = multidb.Retry{MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond}
		},
	})
	ctx := t.Context()
	quick := p.a.Options()
	quick.MinRetryBackoff = -1
	bare := newClient(t, quick)
	owner := p.a.Nodes[0]
	tag := "{" + p.keysAt(owner, "n:", 1)[0] + "}"
	slot := cluster.KeySlot(tag)
	queue := func(pipe redis.Pipeliner) (cmds []redis.Cmder) {
		return []redis.Cmder{pipe.Do(ctx, "incr", tag+"1"), pipe.Do(ctx, "set", tag+"2", "v")}
	}
	ways := map[string]func(rdb *redis.ClusterClient) ([]redis.Cmder, error){
		"TxPipeline": func(rdb *redis.ClusterClient) (cmds []redis.Cmder, err error) {
			pipe := rdb.TxPipeline()
			cmds = queue(pipe)
			_, err = pipe.Exec(ctx)
			return cmds, err
		},
		"Watch": func(rdb *redis.ClusterClient) (cmds []redis.Cmder, err error) {
			other := p.keysAt(owner, "watched", 1)[0] // its slot is served, so the refusal comes inside MULTI
			node, err := rdb.MasterForKey(ctx, other)
			require.NoError(t, err)
			err = node.Watch(ctx, func(tx *redis.Tx) error {
				_, err := tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
					cmds = queue(pipe)
					return nil
				})
				return err
			}, other)
			return cmds, err
		},
	}
	for _, rdb := range []*redis.ClusterClient{bare, p.rdb} { // they have their topology and connections
		for _, ask := range ways {
			_, err := ask(rdb)
			require.NoError(t, err)
		}
	}
	for _, n := range p.a.Nodes {
		require.NoError(t, n.Client().Do(ctx, "cluster", "delslots", slot).Err())
	}
	before := owner.Calls("incr")
	for name, ask := range ways {
		want, wantErr := ask(bare)
		got, err := ask(p.rdb)
		require.Error(t, wantErr)
		require.Error(t, err)
		require.Equal(t, describe(want), describe(got), name)
		require.Equal(t, wantErr.Error(), err.Error(), name)
		t.Logf("%s: %v; %s", name, err, describe(got))
	}
	require.Equal(t, before, owner.Calls("incr"), "nothing was executed")
	require.NoError(t, owner.Client().Do(ctx, "cluster", "addslots", slot).Err())
	for _, n := range p.a.Nodes { // the others learn it from their gossip, and until then say that nobody serves it
		redistest.Eventually(t, 20*time.Second, "the slot is served", func() bool {
			err := n.Client().Get(context.Background(), tag+"1").Err()
			return err == nil || strings.HasPrefix(err.Error(), "MOVED")
		})
	}
	for name, ask := range ways {
		_, err := ask(p.rdb)
		require.NoError(t, err, name)
	}
	require.Equal(t, before+int64(len(ways)), owner.Calls("incr"))
	require.Equal(t, fmt.Sprint(3*len(ways)), owner.Client().Get(ctx, tag+"1").Val())
	require.Empty(t, p.moves())
}
