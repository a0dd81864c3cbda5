package multidb

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/faultproxy"
)

// TestWithReplayInPipelines: the override of the context that a pipeline or transaction is executed with decides about all of
// it, whatever its commands were queued with. The first answer is lost after the server has counted.
func TestWithReplayInPipelines(t *testing.T) {
	for name, c := range map[string]struct {
		tx       bool
		override Replay
		count    int64
	}{
		"pipeline":                      {false, 0, 1},
		"pipeline, read":                {false, ReplayRead, 1},
		"pipeline, accumulating":        {false, ReplayAccumulating, 2},
		"transaction":                   {true, 0, 1},
		"transaction, admin":            {true, ReplayAdmin, 1},
		"transaction, all":              {true, ReplayAll, 2},
		"transaction, what is no rung":  {true, ReplayAll + 1, 1},
		"pipeline, none":                {false, ReplayNone, 1},
		"pipeline, all (and not twice)": {false, ReplayAll, 2},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProxied(t, nil)
			lost := "INCR"
			run := p.rdb.Pipeline
			if c.tx {
				lost, run = "EXEC", p.rdb.TxPipeline
			}
			p.toEast.DropReplies(faultproxy.First(1, faultproxy.Named(lost)))
			other := ReplayAll
			if c.count > 1 {
				other = ReplayNone
			}
			pipe := run()
			n := pipe.Incr(WithReplay(t.Context(), other), "n")
			_, err := pipe.Exec(overridden(t.Context(), c.override))
			require.Equal(t, c.count, p.sum(t, "n"))
			if c.count > 1 {
				require.NoError(t, err)
				require.EqualValues(t, 2, n.Val())
				return
			}
			var failed *CommandError
			require.ErrorAs(t, err, &failed)
			require.True(t, failed.Sent)
		})
	}
}

func overridden(ctx context.Context, r Replay) context.Context {
	if r == 0 {
		return ctx
	}
	return WithReplay(ctx, r)
}
