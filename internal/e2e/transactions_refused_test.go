package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/pair"
	"github.com/redishook/multidb/txwrap"
)

// TestAProxyThatRefusesMULTI: what is between MULTI and EXEC runs at once then, and is not undone by the error of EXEC. The caller gets
// what a client without the hook gets: an error that is no licence to run it again. Nothing is run twice, and the database keeps its place.
func TestAProxyThatRefusesMULTI(t *testing.T) {
	for _, refusal := range []string{"ERR unknown command 'MULTI', with args beginning with:", "DENIED MULTI is not allowed here"} {
		for name, run := range map[string]func(ctx context.Context, rdb *redis.Client) ([]redis.Cmder, error){
			"TxPipelined": func(ctx context.Context, rdb *redis.Client) ([]redis.Cmder, error) {
				return rdb.TxPipelined(ctx, func(p redis.Pipeliner) error { return twoIncrs(ctx, p) })
			},
			"Watch": func(ctx context.Context, rdb *redis.Client) (cmds []redis.Cmder, err error) {
				err = rdb.Watch(ctx, func(tx *redis.Tx) error {
					cmds, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error { return twoIncrs(ctx, p) })
					return err
				}, "watched")
				return cmds, err
			},
			"txwrap": func(ctx context.Context, rdb *redis.Client) (cmds []redis.Cmder, err error) {
				err = txwrap.Watch(ctx, rdb, func(tx *txwrap.Tx) error {
					cmds, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error { return twoIncrs(ctx, p) })
					return err
				}, "watched")
				return cmds, err
			},
		} {
			t.Run(strings.Fields(refusal)[0]+" "+name, func(t *testing.T) {
				p := pair.NewProxied(t, pair.Calm)
				multi := faultproxy.Named("MULTI")
				for _, proxy := range []*faultproxy.Proxy{p.ToEast, p.ToWest} {
					proxy.Answer(func(args []string) (string, bool) { return "-" + refusal + "\r\n", multi(args) })
				}
				ctx := t.Context()
				bare := redis.NewClient(&redis.Options{Addr: p.ToWest.Addr()})
				t.Cleanup(func() { _ = bare.Close() })
				seenBy := func(rdb *redis.Client) string {
					cmds, err := run(ctx, rdb)
					lines := []string{fmt.Sprint(err)}
					for _, cmd := range cmds {
						lines = append(lines, fmt.Sprint(cmd.Err()))
					}
					return strings.Join(lines, "\n")
				}
				want := seenBy(bare)
				require.Equal(t, want, seenBy(p.RDB))
				require.Contains(t, want, "MULTI")
				// go-redis hangs up at the refusal, so the rest may be executed later or never.
				require.LessOrEqual(t, p.Sum(t, "n"), int64(4), "more often than once by each client")
				require.Empty(t, p.Switched())
			})
		}
	}
}

func twoIncrs(ctx context.Context, p redis.Pipeliner) error {
	p.Incr(ctx, "n")
	p.Incr(ctx, "n")
	return nil
}
