package txwrap

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
)

// wrapped is what an application may make of its client.
type wrapped struct{ *redis.Client }

// unhooked are clients whose connections follow a hook that HookOf does not find, and what is like them and follows none.
func unhooked(p *pair) map[string]redis.UniversalClient {
	return map[string]redis.UniversalClient{
		"clone":         p.rdb.WithTimeout(5 * time.Second),
		"embedded":      wrapped{p.rdb},
		"wrapped clone": &wrapped{p.rdb.WithTimeout(5 * time.Second)},
	}
}

// TestClientsWithoutTheirHookAreRouted: a transaction of a WithTimeout clone or of a wrapped client was not run
// again after a switch, was not told its database, and its error had no type that anybody could match.
//
// Events, in turn: the database crashes between a read and EXEC; a read loses its answer; EXEC loses its answer.
func TestClientsWithoutTheirHookAreRouted(t *testing.T) {
	for _, name := range []string{"clone", "embedded", "wrapped clone"} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			ctx := t.Context()
			rdb := unhooked(p)[name]
			p.drop.replyTo("get")
			runs := 0
			require.NoError(t, Watch(ctx, rdb, increment(ctx, "n", func(tx *Tx) error {
				runs++
				require.Equal(t, "east", tx.Database())
				return nil
			}), "n"))
			require.Equal(t, "1", get(t, p.east, "n"))

			p.drop.replyTo("exec")
			for name, use := range map[string]func() error{
				"Watch": func() error { return Watch(ctx, rdb, increment(ctx, "n", nil), "n") },
				"TxPipelined": func() error {
					_, err := TxPipelined(ctx, rdb, func(pipe *Pipe) error { return pipe.Incr(ctx, "n").Err() })
					return err
				},
			} {
				require.NoError(t, p.east.Client().Set(ctx, "n", 1, 0).Err())
				p.drop.replyTo("exec")
				err := use()
				var unanswered *UnansweredError
				require.ErrorAs(t, err, &unanswered, name)
				require.Equal(t, "east", unanswered.Database)
				var failed *multidb.CommandError
				require.ErrorAs(t, err, &failed)
				require.ErrorIs(t, err, io.EOF)
				require.Equal(t, "2", get(t, p.east, "n"), name)
			}

			runs = 0
			require.NoError(t, Watch(ctx, rdb, increment(ctx, "n", func(tx *Tx) error {
				if runs++; runs == 1 {
					p.east.Kill()
					eventually(t, waitFor, "a switch", func() bool { return p.hook.Active() == "west" })
				}
				require.Equal(t, []string{"east", "west"}[runs-1], tx.Database())
				return nil
			}), "n"))
			require.Equal(t, 2, runs)
			require.Equal(t, "1", get(t, p.west, "n"))
		})
	}
}

// TestAClientThatFollowsNoHook is only asked once whether it does, and its transactions only lose races.
func TestAClientThatFollowsNoHook(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	bare := redis.NewClient(&redis.Options{Addr: p.east.Addr(), Dialer: p.drop.dial, MaxRetries: -1})
	defer bare.Close()
	p.drop.replyTo("get")
	runs := 0
	err := Watch(ctx, bare, increment(ctx, "n", func(*Tx) error { runs++; return nil }), "n")
	require.ErrorIs(t, err, io.EOF)
	require.Zero(t, runs)
	var failed *multidb.CommandError
	require.False(t, errors.As(err, &failed))
	require.NoError(t, Watch(ctx, bare, increment(ctx, "n", func(tx *Tx) error {
		require.Empty(t, tx.Database())
		return nil
	}), "n"))
	require.Equal(t, "1", get(t, p.east, "n"))
}
