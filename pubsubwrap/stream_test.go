package pubsubwrap

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
)

// press is a number of publishers that number their messages, each for itself, and a reader that checks the numbers.
type press struct {
	stop   atomic.Bool
	wg     sync.WaitGroup
	count  atomic.Int64
	failed [publishers][]bool // by publisher and number: PUBLISH returned an error
	began  [publishers][]time.Time
	done   [publishers][]time.Time

	mu      sync.Mutex
	last    [publishers]int // the number read last
	notices []noted
	seen    [publishers]map[int]bool
	wrong   []string // numbers that came twice or out of order, and errors
}

// noted is a notice, and when it was read.
type noted struct {
	Switched
	at time.Time
}

const (
	publishers = 4
	rate       = 2000 // messages a second, together
)

func startPress(rdb *redis.Client) *press {
	w := &press{}
	for g := range publishers {
		w.last[g] = -1
		w.seen[g] = make(map[int]bool)
		w.wg.Go(func() {
			began := time.Now()
			for i := 0; !w.stop.Load(); i++ {
				start := time.Now()
				err := rdb.Publish(context.Background(), fmt.Sprint("news:", g%2), fmt.Sprintf("%d %d", g, i)).Err()
				w.mu.Lock()
				w.began[g] = append(w.began[g], start)
				w.failed[g] = append(w.failed[g], err != nil)
				w.done[g] = append(w.done[g], time.Now())
				w.mu.Unlock()
				w.count.Add(1)
				if ahead := time.Duration(i)*publishers*time.Second/rate - time.Since(began); ahead > 0 {
					time.Sleep(ahead)
				}
			}
		})
	}
	return w
}

// read notes one event. ordered says whether numbers must come in order.
func (w *press) read(e Event, ordered bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Err != nil {
		w.wrong = append(w.wrong, e.Err.Error())
	}
	if e.Switched != nil {
		w.notices = append(w.notices, noted{*e.Switched, time.Now()})
	}
	if e.Message == nil {
		return
	}
	var g, i int
	if n, _ := fmt.Sscanf(e.Message.Payload, "%d %d", &g, &i); n != 2 {
		return
	}
	if w.seen[g][i] {
		w.wrong = append(w.wrong, fmt.Sprintf("%d %d is there twice", g, i))
	}
	w.seen[g][i] = true
	if !ordered {
		return
	}
	if i < w.last[g] {
		w.wrong = append(w.wrong, fmt.Sprintf("%d %d comes after %d", g, i, w.last[g]))
	}
	w.last[g] = max(w.last[g], i)
}

// lateness is by how much the clock of this test may be wrong about a gap: a busy machine reads the notice later than it
// was made, and learns of the answer to PUBLISH later than it was given.
const lateness = 20 * time.Millisecond

// missing returns how many numbers have been published and not read, and those of them that no notice accounts for: none
// with a gap while it was published.
func (w *press) missing() (lost int, unsaid []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for g := range publishers {
		for i, failed := range w.failed[g] {
			if failed || w.seen[g][i] {
				continue
			}
			lost++
			said, why := false, ""
			for _, n := range w.notices {
				from := n.at.Add(-n.Gap - lateness)
				why += fmt.Sprintf("; %v of %v before the notice", n.at.Sub(w.done[g][i]), n.Gap)
				said = said || n.Gap > 0 && w.done[g][i].After(from) && w.began[g][i].Before(n.at)
			}
			if !said {
				unsaid = append(unsaid, fmt.Sprint(g, " ", i, " was published", why))
			}
		}
	}
	return lost, unsaid
}

// more waits for n more messages to be published.
func (w *press) more(t *testing.T, n int64) {
	t.Helper()
	before := w.count.Load()
	eventually(t, waitFor, "messages to be published", func() bool { return w.count.Load() >= before+n })
}

// end stops the publishers.
func (w *press) end() { w.stop.Store(true); w.wg.Wait() }

// readAll reads in the background until it is stopped.
func (w *press) readAll(sub *Subscriber, ordered bool) (stop func()) {
	var wg sync.WaitGroup
	wg.Go(func() {
		for e := range sub.Channel() {
			w.read(e, ordered)
		}
	})
	return func() { _ = sub.Close(); wg.Wait() }
}

// arrived waits until everything that was published has been read, except for what failed.
func (w *press) arrived(t *testing.T) {
	t.Helper()
	eventually(t, waitFor, "the last messages", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for g := range publishers {
			last := len(w.failed[g]) - 1
			for last >= 0 && w.failed[g][last] {
				last--
			}
			if !w.seen[g][last] {
				return false
			}
		}
		return true
	})
}

// TestPlannedSwitchesLoseNothing: none lost, none doubled, in order.
func TestPlannedSwitchesLoseNothing(t *testing.T) {
	n := 200
	if testing.Short() {
		n = 40
	}
	p := newPair(t)
	sub, err := PSubscribe(t.Context(), p.rdb, "news:*")
	require.NoError(t, err)
	w := startPress(p.rdb)
	stop := w.readAll(sub, true)
	defer stop()
	for i := range n {
		w.more(t, 50)
		require.NoError(t, p.hook.SetActive(t.Context(), []string{"west", "east"}[i%2]))
	}
	w.end()
	w.arrived(t)
	eventually(t, waitFor, "the last notice", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.notices) >= n
	})
	lost, _ := w.missing()
	w.mu.Lock()
	defer w.mu.Unlock()
	t.Logf("%d messages, %d switches", w.count.Load(), len(w.notices))
	require.Empty(t, w.wrong)
	require.Zero(t, lost)
	require.Len(t, w.notices, n)
	for _, notice := range w.notices {
		require.Equal(t, Switched{From: notice.From, To: notice.To, Reason: multidb.ReasonManual, Planned: true}, notice.Switched)
	}
}

// crash kills the active server, waits for the switch and brings the server back. It returns when that was dead.
func (p *pair) crash(t *testing.T) (dead time.Time) {
	t.Helper()
	active := p.hook.Active()
	p.server(active).Kill()
	dead = time.Now()
	eventually(t, waitFor, "a switch", func() bool { return p.hook.Active() != active })
	p.server(active).Restart()
	p.usable(t)
	return dead
}

func crashes() int {
	if testing.Short() {
		return 5
	}
	return 50
}

// TestCrashesSayWhatIsMissing: numbers are missing only where a notice speaks of a gap.
func TestCrashesSayWhatIsMissing(t *testing.T) {
	p := newPair(t)
	sub, err := PSubscribe(t.Context(), p.rdb, "news:*")
	require.NoError(t, err)
	w := startPress(p.rdb)
	stop := w.readAll(sub, true)
	defer stop()
	for range crashes() {
		w.more(t, 200)
		p.crash(t)
	}
	w.end()
	w.arrived(t)
	lost, unsaid := w.missing()
	w.mu.Lock()
	defer w.mu.Unlock()
	var longest time.Duration
	for _, notice := range w.notices {
		longest = max(longest, notice.Gap)
		require.False(t, notice.Planned)
	}
	t.Logf("%d messages, %d notices, %d lost in gaps, the longest %v", w.count.Load(), len(w.notices), lost, longest)
	require.Empty(t, w.wrong)
	require.Empty(t, unsaid)
	require.GreaterOrEqual(t, len(w.notices), crashes())
}

// TestFanInLosesNothing: publishers with a hook of their own notice crashes and switches at other times.
func TestFanInLosesNothing(t *testing.T) {
	p := newPair(t)
	theirs := &pair{east: p.east, west: p.west}
	theirs.attach(t)
	sub, err := New(p.rdb, Options{FanIn: true})
	require.NoError(t, err)
	require.NoError(t, sub.PSubscribe(t.Context(), "news:*"))
	both := func() bool {
		sub.only().mu.Lock()
		defer sub.only().mu.Unlock()
		n := 0
		for l := range sub.only().conns {
			if l.opened.Load() && l.alive() {
				n++
			}
		}
		return n == 2
	}
	eventually(t, waitFor, "both links", both)
	w := startPress(theirs.rdb)
	stop := w.readAll(sub, false)
	defer stop()
	var deaths []time.Time
	for range crashes() {
		w.more(t, 200)
		require.NoError(t, theirs.hook.SetActive(t.Context(), p.hook.Active()))
		theirs.hook.Release()
		w.more(t, 50)
		deaths = append(deaths, theirs.crash(t))
		p.usable(t)
		eventually(t, waitFor, "both links", both)
	}
	w.end()
	w.arrived(t)
	lost, unspoken := 0, 0
	for g := range publishers {
		for i, failed := range w.failed[g] {
			if failed || w.seen[g][i] {
				continue
			}
			dying := false
			for _, dead := range deaths {
				before := dead.Sub(w.done[g][i])
				dying = dying || before > -time.Millisecond && before < endMargin
			}
			if dying {
				unspoken++
			} else {
				lost++
			}
		}
	}
	t.Logf("%d messages, %d notices, %d lost, %d not passed on by a dying server", w.count.Load(), len(w.notices), lost, unspoken)
	require.Empty(t, w.wrong)
	require.Zero(t, lost)
	require.LessOrEqual(t, unspoken, len(deaths))
}
