package goredis

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// TestClusterFacts: what the hook on a ClusterClient leans on holds for the version of go-redis that this is tested with.
func TestClusterFacts(t *testing.T) {
	left := errors.New("an error that go-redis leaves alone")
	require.NoError(t, TryCluster(func() error { return left }).Err())
}

// TestClusterLoopThatSendsAgainIsFoundOut: for an error that go-redis retries, it has to say so.
func TestClusterLoopThatSendsAgainIsFoundOut(t *testing.T) {
	facts := TryCluster(func() error { return io.EOF })
	require.ErrorContains(t, facts.LeavesAlone, "sent a sent request 4 times")
	require.ErrorContains(t, facts.Err(), "sent a sent request")
	require.NoError(t, facts.PartsOnce)
}

// TestPartIsSentAgainForItsFirstReply: what FirstOnce is for. Without it, an executed command runs as often as go-redis
// follows redirects.
func TestPartIsSentAgainForItsFirstReply(t *testing.T) {
	n := &nodes{first: "-TRYAGAIN for the first command of each batch\r\n"}
	cc := n.client("a:1")
	defer cc.Close()
	plain := redis.NewClusterClient(cc.Options())
	defer plain.Close()
	plain.OnNewNode(func(node *redis.Client) { node.AddHook(unguarded{nodeHook{n, node.Options().Addr}}) })
	_, err := plain.Pipelined(context.Background(), func(p redis.Pipeliner) error {
		p.Get(context.Background(), "n")
		p.Incr(context.Background(), "n")
		return nil
	})
	require.ErrorContains(t, err, "TRYAGAIN")
	require.Equal(t, 4, n.count("incr"))
}

// unguarded is a hook that leaves batches as they are.
type unguarded struct{ nodeHook }

func (unguarded) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func TestMoved(t *testing.T) {
	require.EqualError(t, Moved{Slot: 12182, Addr: "h:1"}, "MOVED 12182 h:1")
	require.Empty(t, FirstOnce(nil))
	cmds := []redis.Cmder{redis.NewCmd(t.Context(), "get", "k"), redis.NewCmd(t.Context(), "get", "l")}
	guarded := FirstOnce(cmds)
	require.False(t, cmds[0].NoRetry(), "the caller's own are left as they are")
	require.True(t, guarded[0].NoRetry())
	require.Same(t, cmds[1], guarded[1])
}

func BenchmarkTryCluster(b *testing.B) {
	for b.Loop() {
		_ = TryCluster(func() error { return errors.New("left alone") })
	}
}
