package random_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb"
	"github.com/redishook/multidb/internal/testkit/memnet"
)

const readTimeout = time.Second

// faults says how often each fault happens: one time in so many, 0 for never.
type faults struct {
	refuse, hangUpBefore, hangUpAfter, partial, hang, hangAfter, cut, dial int
	switches, crashes                                                      bool
	// No faults, but whatever a client must cope with.
	chunks, slow, push, race int
}

// calm reports that nothing happens for which a caller may get an error. A planned switch is no such thing.
func (w *world) calm() bool {
	f := w.faults
	f.chunks, f.slow, f.push, f.race, f.switches = 0, 0, 0, 0, false
	return f == faults{}
}

// pen is one goroutine's chance.
type pen struct{ *rand.Rand }

// world is two databases, a hook over them, and one client of a random kind.
type world struct {
	seed     uint64
	faults   faults
	network  memnet.Network
	dbs      [2]*server
	hook     *multidb.Hook
	rdb      *redis.Client
	half     *redis.AutoPipeliner
	full     *redis.AutoPipeliner
	replay   multidb.Replay
	caching  bool
	coalesce bool   // what is not in the cache is asked for together
	what     string // the kind of client and of faults

	mu     sync.Mutex
	rnd    *rand.Rand       // Guarded by mu
	calls  map[string]*call // Guarded by mu
	made   int              // Guarded by mu
	wrongs []string         // Guarded by mu
}

func (w *world) intN(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rnd.IntN(n)
}

func (w *world) one(n int) bool { return n > 0 && w.intN(n) == 0 }

// wrong notes a difference.
func (w *world) wrong(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrongs = append(w.wrongs, fmt.Sprintf(format, args...))
}

// someFaults draws what goes wrong.
func someFaults(p *pen) (f faults) {
	f = faults{chunks: 3, slow: 3, race: 10}
	if p.IntN(2) == 0 {
		f.push = 1 + p.IntN(20)
	}
	kind := p.IntN(8)
	if kind == 1 || kind == 7 {
		f.switches = true
	}
	if kind == 2 || kind == 7 {
		f.refuse = 5 + p.IntN(30)
	}
	if kind == 3 || kind == 7 {
		f.cut = 1 + p.IntN(4)
		f.hangUpBefore, f.hangUpAfter, f.partial = 40, 40, 40
	}
	if kind == 4 {
		f.crashes = true
	}
	if kind == 5 {
		f.hang, f.hangAfter = 200, 200
	}
	if kind == 6 || kind == 7 {
		f.dial = 5
		f.hangUpBefore = 30
	}
	return f
}

// newWorld makes a world. Call it inside a bubble.
func newWorld(t *testing.T, seed uint64) (*world, *pen) {
	p := &pen{rand.New(rand.NewPCG(seed, 1))}
	w := &world{seed: seed, rnd: rand.New(rand.NewPCG(seed, 2)), calls: map[string]*call{}, faults: someFaults(p)}
	protocol := 2 + p.IntN(2)
	caching := protocol == 3 && p.IntN(2) == 0
	client := &redis.Options{
		Addr: "127.0.0.1:1", Protocol: protocol, MaxRetries: []int{-1, 0, 1, 5}[p.IntN(4)], PoolSize: 2 + p.IntN(6),
		ReadTimeout: readTimeout, DB: p.IntN(3), Dialer: w.dial, ContextTimeoutEnabled: p.IntN(2) == 0,
		DialTimeout: 5 * time.Second,
	}
	if w.caching = caching; caching {
		client.ClientSideCacheConfig = &redis.ClientSideCacheConfig{}
		w.coalesce = p.IntN(2) == 0
		client.ClientSideCacheCoalesceMisses = w.coalesce
	}
	if p.IntN(3) == 0 {
		client.ClientName = "worker"
	}
	opt := multidb.Options{
		Failback: multidb.Failback{GracePeriod: -1}, Logger: slog.New(slog.DiscardHandler),
		Replay: []multidb.Replay{0, multidb.ReplayNone, multidb.ReplayRead, multidb.ReplayAccumulating}[p.IntN(4)],
	}
	if p.IntN(2) == 0 {
		opt.MaxWait = 2 * time.Second
	}
	if w.replay = opt.Replay; w.replay == 0 {
		w.replay = multidb.ReplayLastWins
	}
	for i, name := range []string{"east", "west"} {
		s := &server{w: w, name: name, index: client.DB, rnd: rand.New(rand.NewPCG(seed, uint64(10+i)))}
		if p.IntN(2) == 0 {
			s.password = "secret of " + name
		}
		s.old = protocol == 2 && p.IntN(4) == 0
		own := &redis.Options{Addr: s.addr(), Protocol: protocol, Password: s.password, Dialer: w.dial, ReadTimeout: readTimeout}
		if client.DB == 0 && p.IntN(2) == 0 { // elsewhere than the client says
			own.DB = 5 + i
			s.index = own.DB
		}
		w.dbs[i] = s
		s.up()
		opt.Databases = append(opt.Databases, multidb.Database{Name: name, Weight: float64(2 - i), Options: own})
	}
	w.what = fmt.Sprintf("RESP%d MaxRetries %d caching %v coalesce %v replay %v %+v", protocol, client.MaxRetries, caching,
		client.ClientSideCacheCoalesceMisses, w.replay, w.faults)
	var err error
	for {
		if w.hook, err = multidb.New(t.Context(), opt); err == nil {
			break
		}
		time.Sleep(time.Second)
	}
	w.rdb = redis.NewClient(client)
	w.rdb.AddHook(w.hook)
	w.half, err = w.rdb.AutoPipelineWithOptions(redis.DefaultBlockingAutoPipelineOptions())
	require.NoError(t, err)
	w.full, err = w.rdb.AutoPipelineWithOptions(&redis.AutoPipelineOptions{FullDuplex: true})
	require.NoError(t, err)
	return w, p
}

func (w *world) close() {
	_ = w.half.Close()
	_ = w.full.Close()
	_ = w.rdb.Close()
	_ = w.hook.Close()
	for _, s := range w.dbs {
		s.down()
		s.pipe.Wait()
	}
}

// trouble switches as planned, and crashes and revives databases, until ctx ends.
func (w *world) trouble(ctx context.Context, p *pen) {
	for ctx.Err() == nil {
		time.Sleep(time.Duration(1+p.IntN(20)) * time.Millisecond)
		if w.faults.switches {
			_ = w.hook.SetActive(ctx, []string{"east", "west"}[p.IntN(2)])
		}
		if w.faults.crashes && p.IntN(10) == 0 {
			s := w.dbs[p.IntN(2)]
			s.down()
			time.Sleep(time.Duration(p.IntN(300)) * time.Millisecond)
			s.up()
		}
	}
}

// run lets a few callers make calls, and returns how many were made and what was wrong.
func (w *world) run(ctx context.Context, p *pen, calls int) (made int, wrongs []string) {
	troubled, calm := context.WithCancel(ctx)
	var trouble, callers sync.WaitGroup
	seed := p.Uint64()
	trouble.Go(func() { w.trouble(troubled, &pen{rand.New(rand.NewPCG(seed, 100))}) })
	var mu sync.Mutex
	n := 1 + p.IntN(8)
	for g := range n {
		callers.Go(func() {
			p := &pen{rand.New(rand.NewPCG(seed, uint64(g)))}
			for own := 0; own < calls/n; {
				did := ways[p.IntN(len(ways))].run(ctx, w, p)
				own += did
				mu.Lock()
				made += did
				mu.Unlock()
			}
		})
	}
	callers.Wait()
	calm()
	trouble.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return made, w.wrongs
}
