package clusterclient_test

import (
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/cluster"
)

// TestWatchIsNotForgottenWithItsLastRedirect. Events: 1. Each WATCH is answered with a redirect: by a node's hook, because there is one
// switch after the other, or by a node. 2. go-redis follows as many as it may, and for the last it returned nil, although the function
// was never called. Now there is an error, and the attempts of one Watch do not count for the next.
func TestWatchIsNotForgottenWithItsLastRedirect(t *testing.T) {
	t.Parallel()
	h, groups := pair(t)
	for name, answer := range map[string]func(attempt int) string{
		"refused": func(attempt int) string {
			h.use(attempt % 2)
			return ""
		},
		"refused by what is in use": func(int) string { return "" },
		"redirected": func(int) string {
			return fmt.Sprintf("-MOVED %d %s\r\n", cluster.KeySlot("n:w"), groups[0].Owner(cluster.KeySlot("n:w")).Addr())
		},
		"refused, then redirected": func(attempt int) string {
			if attempt < 3 {
				h.use(attempt % 2)
				return ""
			}
			return fmt.Sprintf("-MOVED %d %s\r\n", cluster.KeySlot("n:w"), groups[0].Owner(cluster.KeySlot("n:w")).Addr())
		},
		"read only": func(int) string { return "-READONLY You can't write against a read only replica.\r\n" },
	} {
		for _, redirects := range []int{-1, 1, 0} {
			opt := groups[0].Options()
			opt.MaxRedirects, opt.MinRetryBackoff = redirects, -1
			cc, c := follow(t, h, opt)
			t.Run(fmt.Sprintf("%s, MaxRedirects %d", name, redirects), func(t *testing.T) {
				c.Await(t.Context(), h.use(0))
				before := groups[0].Sum("n:w") + groups[1].Sum("n:w")
				attempts, runs := 0, 0
				watch := func() error {
					return cc.Watch(t.Context(), func(tx *redis.Tx) error {
						runs++
						_, err := tx.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
							p.Incr(t.Context(), "n:w")
							return nil
						})
						return err
					}, "n:w")
				}
				onWatch := func() string { attempts++; return answer(attempts) }
				h.onWatch.Store(&onWatch)
				err := watch()
				h.onWatch.Store(nil)
				require.Error(t, err)
				t.Log(err)
				require.Zero(t, runs)
				require.Equal(t, cc.Options().MaxRedirects+1, attempts)
				for range 3 {
					c.Await(t.Context(), h.use(0))
					require.NoError(t, watch())
				}
				require.Equal(t, 3, runs)
				require.EqualValues(t, 3, groups[0].Sum("n:w")+groups[1].Sum("n:w")-before)
			})
		}
	}
}
