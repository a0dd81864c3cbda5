package pubsubwrap

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/redistest"
)

// slowPair is a pair whose east can be made slow to accept connections.
func slowPair(t *testing.T) (p *pair, delay *atomic.Int64) {
	t.Helper()
	delay = new(atomic.Int64)
	p = &pair{east: redistest.Start(t), west: redistest.Start(t)}
	p.dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		time.Sleep(time.Duration(delay.Load())) // what is being tested: no condition to wait for
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	p.attach(t)
	return p, delay
}

// moved is a subscriber of "a" that has just been moved to west as planned, and still lingers on east if it is to.
func moved(t *testing.T, p *pair, opt Options) *Subscriber {
	t.Helper()
	ctx := t.Context()
	sub, err := New(p.rdb, opt)
	require.NoError(t, err)
	closing(t, sub)
	require.NoError(t, sub.Subscribe(ctx, "a"))
	require.NoError(t, p.hook.SetActive(ctx, "west"))
	require.Equal(t, "west", notice(t, sub).To)
	return sub
}

// onWest is a subscriber of "a" that was never on east.
func onWest(t *testing.T, p *pair) *Subscriber {
	t.Helper()
	ctx := t.Context()
	require.NoError(t, p.hook.SetActive(ctx, "west"))
	sub, err := Subscribe(ctx, p.rdb, "a")
	require.NoError(t, err)
	closing(t, sub)
	return sub
}

// notice waits for a notice, past messages.
func notice(t testing.TB, sub *Subscriber) Switched {
	t.Helper()
	for {
		if e := next(t, sub); e.Switched != nil {
			return *e.Switched
		}
	}
}

// TestLostLingeringConnection. Events: a planned switch; before the old database is left, the connection to it is
// lost, and a publisher that has not moved yet publishes there.
func TestLostLingeringConnection(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	sub := moved(t, p, Options{Linger: time.Minute})
	for range 3 {
		require.NoError(t, p.east.Client().ClientKillByFilter(ctx, "TYPE", "pubsub").Err())
		n := notice(t, sub)
		require.Equal(t, Switched{From: "east", To: "east", Reason: ReasonConnectionLost, Gap: n.Gap}, n)
		require.Positive(t, n.Gap)
		require.NoError(t, p.east.Client().Publish(ctx, "a", "late").Err())
		require.Equal(t, "late", message(t, sub).Payload)
		require.NoError(t, p.rdb.Publish(ctx, "a", "moved").Err())
		require.Equal(t, "moved", message(t, sub).Payload)
	}
}

// TestLostLingeringDatabase. Events: as above, but the old database is switched off for good.
func TestLostLingeringDatabase(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	sub := moved(t, p, Options{Linger: time.Second}) // it does linger: killed before it has moved, east is only left
	p.east.Kill()
	n := notice(t, sub)
	require.Equal(t, Switched{From: "east", To: "east", Reason: ReasonConnectionLost, Gap: n.Gap}, n)
	require.Greater(t, n.Gap, 100*time.Millisecond, "it ends when east would have been left")
	require.NoError(t, p.rdb.Publish(ctx, "a", "moved").Err())
	require.Equal(t, "moved", message(t, sub).Payload)
}

// TestComebackIsNotGatedForEver. Events: after a planned switch one back is announced, so the lingering link,
// which is far, asks for the answer behind which it steps behind the others; the switch is called off; the answer comes.
func TestComebackIsNotGatedForEver(t *testing.T) {
	p := &pair{east: redistest.Start(t), west: redistest.Start(t)}
	p.dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return farAway{nc}, nil
	}
	p.attach(t)
	ctx := t.Context()
	sub := moved(t, p, Options{Linger: time.Minute})
	for range 5 {
		superseded := make(chan struct{})
		sub.wg.Go(func() { defer close(superseded); sub.only().follow.prepare(sub.ctx, "east") })
		eventually(t, waitFor, "the preparation", func() bool {
			prepared := make(chan bool, 1)
			sub.only().tell(func() { p := sub.only().follow.prepared; prepared <- p != nil && p.database == "east" })
			return <-prepared
		})
		sub.only().follow.prepare(ctx, "west") // there it is
		select {
		case <-superseded: // TestSupersededPreparation: nobody waits for it any more
		case <-time.After(time.Second):
			require.Fail(t, "the superseded preparation is still waited for")
		}
		for i := range 3 {
			require.NoError(t, p.east.Client().Publish(ctx, "a", i).Err())
			require.NotEmpty(t, message(t, sub).Payload)
		}
	}
}

// TestSkippedDatabase. Events: a switch to a database that takes its time to accept a connection; before it has,
// there is a switch back. What was published there in between has reached nobody.
func TestSkippedDatabase(t *testing.T) {
	p, delay := slowPair(t)
	ctx := t.Context()
	sub := onWest(t, p)
	delay.Store(int64(500 * time.Millisecond))
	require.NoError(t, p.hook.ForceActive("east", time.Minute)) // without a probe, which would take its time too
	require.NoError(t, p.east.Client().Publish(ctx, "a", "lost").Err())
	lost := time.Now()
	require.NoError(t, p.hook.SetActive(ctx, "west"))
	n := notice(t, sub)
	require.Equal(t, "west", n.From)
	require.Equal(t, "west", n.To)
	require.Greater(t, n.Gap, time.Since(lost)-20*time.Millisecond)
}

// TestGivenUpConnectionDelaysNothing. Events: a switch is announced to a database that takes its time to accept a
// connection, and called off; the connection in use is lost, and its successor has to wait for none that was begun before.
func TestGivenUpConnectionDelaysNothing(t *testing.T) {
	p, delay := slowPair(t)
	ctx := t.Context()
	sub := onWest(t, p)
	delay.Store(int64(1500 * time.Millisecond))
	began := time.Now()
	sub.wg.Go(func() { sub.only().follow.prepare(sub.ctx, "east") })
	eventually(t, waitFor, "the link", func() bool {
		sub.only().mu.Lock()
		defer sub.only().mu.Unlock()
		return len(sub.only().conns) == 2
	})
	sub.only().follow.prepare(ctx, "west")
	require.NoError(t, p.west.Client().ClientKillByFilter(ctx, "TYPE", "pubsub").Err())
	require.Equal(t, "west", notice(t, sub).To)
	require.NoError(t, p.rdb.Publish(ctx, "a", "heard").Err())
	require.Equal(t, "heard", message(t, sub).Payload)
	require.Less(t, time.Since(began), time.Second)
}

// TestPreparationIsAcknowledged: a planned switch waits for a subscriber for no longer than subscribing takes; also one
// whose application reads nothing, on the way back to a database that it has not left yet, and while it leaves that.
func TestPreparationIsAcknowledged(t *testing.T) {
	for name, opt := range map[string]Options{
		"has room":          {Buffer: 10000},
		"is full":           {Buffer: 1, Linger: time.Minute},
		"is about to leave": {Buffer: 1, Linger: -1},
		"drops what is old": {Buffer: 1, Policy: DropOldest},
		"drops what is new": {Buffer: 1, Policy: DropNewest, Linger: -1},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			ctx := t.Context()
			sub, err := New(p.rdb, opt)
			require.NoError(t, err)
			closing(t, sub)
			require.NoError(t, sub.Subscribe(ctx, "a"))
			for i := range 10 {
				for range 20 {
					require.NoError(t, p.rdb.Publish(ctx, "a", i).Err())
				}
				to := []string{"west", "east"}[i%2]
				began := time.Now()
				sub.only().follow.prepare(ctx, to)
				require.Less(t, time.Since(began), patience*4/5, "switch %d: not by its time being over", i)
				require.NoError(t, p.hook.SetActive(ctx, to))
			}
		})
	}
}

// vanishing is a connection whose other side may have vanished: nothing comes any more, and what is sent is answered with a
// reset, because nobody there knows of the connection.
type vanishing struct {
	net.Conn
	gone *atomic.Bool
}

func (c vanishing) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		switch {
		case !c.gone.Load():
			return n, err
		case err != nil:
			return 0, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
		}
	}
}

func (c vanishing) Write(b []byte) (int, error) {
	if c.gone.Load() {
		_ = c.Conn.Close()
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// TestGapOfAVanishedDatabase. Events: the machine of the database loses its power and is back at once, or its
// address moves to another; the subscriber learns of that when its next PING is answered with a reset.
func TestGapOfAVanishedDatabase(t *testing.T) {
	p := &pair{east: redistest.Start(t), west: redistest.Start(t)}
	line := new(atomic.Pointer[atomic.Bool]) // of the connections that are being dialed
	line.Store(new(atomic.Bool))
	p.dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return vanishing{nc, line.Load()}, nil
	}
	p.attach(t)
	line.Store(new(atomic.Bool))
	ctx := t.Context()
	sub, err := New(p.rdb, Options{HealthInterval: 500 * time.Millisecond})
	require.NoError(t, err)
	closing(t, sub)
	require.NoError(t, sub.Subscribe(ctx, "a"))
	sub.only().mu.Lock()
	home := sub.only().home
	sub.only().mu.Unlock()
	eventually(t, waitFor, "all answers", func() bool { // or the next PING is not the one that the health interval asks for
		home.outbox.mu.Lock()
		defer home.outbox.mu.Unlock()
		return len(home.asked) == 0
	})
	eventually(t, waitFor, "the reader", home.idle.Load)
	line.Swap(new(atomic.Bool)).Store(true)
	require.NoError(t, p.rdb.Publish(ctx, "a", "lost").Err())
	lost := time.Now()
	n := notice(t, sub)
	require.Equal(t, Switched{From: "east", To: "east", Reason: ReasonConnectionLost, Gap: n.Gap}, n)
	require.Greater(t, n.Gap, time.Since(lost)-100*time.Millisecond)
	require.NoError(t, p.rdb.Publish(ctx, "a", "heard").Err())
	require.Equal(t, "heard", message(t, sub).Payload)
}

// TestGapOfAnUnplannedSwitchBack. Events: a planned switch; before the old database is left, the new one fails,
// but goes on passing messages on until the very moment of the switch back. What it has not brought by then, it may never
// bring, although the connection that is switched to has been there all the time.
func TestGapOfAnUnplannedSwitchBack(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	sub, err := New(p.rdb, Options{Buffer: 100000, Linger: time.Minute})
	require.NoError(t, err)
	closing(t, sub)
	require.NoError(t, sub.Subscribe(ctx, "a"))
	require.NoError(t, p.hook.SetActive(ctx, "west"))
	p.hook.Release()
	require.True(t, notice(t, sub).Planned)
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !stop.Load() {
			_ = p.west.Client().Publish(ctx, "a", "west").Err()
		}
	})
	require.NoError(t, p.west.Client().ReplicaOf(ctx, "127.0.0.1", "1").Err())
	wg.Go(func() { _ = p.rdb.Incr(ctx, "n").Err() })
	n := notice(t, sub)
	stop.Store(true)
	wg.Wait()
	require.Equal(t, Switched{From: "west", To: "east", Reason: n.Reason, Gap: n.Gap}, n)
	require.Greater(t, n.Gap, endMargin/2)
	require.Less(t, n.Gap, 500*time.Millisecond, "east was subscribed all the time")
}

// TestGapBeginsWithTheChoice. Events: the machine is busy, so that the subscriber notices a switch 300 ms after it
// was made. Publishers have noticed at once.
func TestGapBeginsWithTheChoice(t *testing.T) {
	p, _ := slowPair(t)
	ctx := t.Context()
	sub := onWest(t, p)
	busy, free := make(chan struct{}), make(chan struct{})
	sub.only().tell(func() { close(busy); <-free })
	<-busy
	require.NoError(t, p.hook.ForceActive("east", time.Minute)) // without a preparation
	require.NoError(t, p.east.Client().Publish(ctx, "a", "lost").Err())
	lost := time.Now()
	time.Sleep(300 * time.Millisecond) // how busy the machine is: no condition to wait for
	close(free)
	n := notice(t, sub)
	require.Equal(t, "east", n.To)
	require.Greater(t, n.Gap, time.Since(lost)-100*time.Millisecond)
}

// TestNoReconnectStorm. Events: a connection is lost whenever it has been subscribed.
func TestNoReconnectStorm(t *testing.T) {
	for name, opt := range map[string]Options{
		"active": {}, "fan-in": {FanIn: true}, "lingering": {Linger: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			ctx := t.Context()
			sub, err := New(p.rdb, opt)
			require.NoError(t, err)
			closing(t, sub)
			require.NoError(t, sub.Subscribe(ctx, "a"))
			if name == "lingering" {
				require.NoError(t, p.hook.SetActive(ctx, "west"))
				require.Equal(t, "west", notice(t, sub).To)
			}
			losses := 0
			for began := time.Now(); time.Since(began) < time.Second; losses++ {
				require.NoError(t, p.east.Client().ClientKillByFilter(ctx, "TYPE", "pubsub").Err())
				require.Positive(t, notice(t, sub).Gap)
			}
			require.Less(t, losses, 25)
			require.Greater(t, losses, 3, "the first are made up for at once")
		})
	}
}
