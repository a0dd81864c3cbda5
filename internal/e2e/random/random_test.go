// Package random_test is the oracle by chance: callers of every kind of client make random calls while connections break at
// random bytes, databases refuse, hang, crash and switch. What each caller gets is compared with what the databases have said
// and done, in virtual time.
package random_test

import (
	"flag"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/testmain"
)

func TestMain(m *testing.M) {
	logging.Disable()
	testmain.Run(m)
}

var (
	seed = flag.Uint64("seed", 0, "run the one world of this seed")
	all  = flag.Bool("all", false, "go on after the first world with a difference")
)

// TestWhatTheDatabaseAnswersIsWhatTheCallerGets makes 20,000 calls, or 1,000,000 at full length. Each world is named by its
// seed: run it alone with -seed.
func TestWhatTheDatabaseAnswersIsWhatTheCallerGets(t *testing.T) {
	const inWorld, sideBySide = 200, 4
	worlds := 1_000_000 / inWorld
	if testing.Short() {
		worlds = 20_000 / inWorld
	}
	first := uint64(time.Now().UnixNano())
	if *seed != 0 {
		first, worlds = *seed, 1
	}
	var calls atomic.Int64
	// One bubble for all of them: go-redis keeps timers for the next one who waits.
	synctest.Test(t, func(t *testing.T) {
		var parts sync.WaitGroup
		for part := range sideBySide {
			parts.Go(func() {
				for i := part; i < worlds && (*all || !t.Failed()); i += sideBySide {
					calls.Add(int64(try(t, first+uint64(i), inWorld)))
					if i%500 == 0 {
						t.Logf("%d calls", calls.Load())
					}
				}
			})
		}
		parts.Wait()
	})
	if t.Failed() {
		return
	}
	t.Logf("%d calls in %d worlds", calls.Load(), worlds)
	if *seed == 0 {
		require.GreaterOrEqual(t, calls.Load(), int64(worlds*inWorld*9/10))
	}
}

// try runs one world.
func try(t *testing.T, seed uint64, calls int) int {
	w, p := newWorld(t, seed)
	defer w.close()
	made, wrongs := w.run(t.Context(), p, calls)
	for i, wrong := range wrongs {
		if i == 3 {
			t.Errorf("and %d more", len(wrongs)-i)
			break
		}
		t.Errorf("seed %d, %s:\n%s", seed, w.what, wrong)
	}
	return made
}
