package multidb

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/redistest"
)

// sessionsOn begins n sessions on the active database.
func sessionsOn(t *testing.T, rdb *redis.Client, n int) []*redis.Conn {
	var conns []*redis.Conn
	for range n {
		conn := rdb.Conn()
		t.Cleanup(func() { _ = conn.Close() })
		require.NoError(t, conn.Set(t.Context(), "k", 1, 0).Err())
		conns = append(conns, conn)
	}
	return conns
}

// Events: a database is removed and its server shut down while sessions drain there. Their failures are counted against the
// active database, or against a new one that has the old name, and it is left.
func TestRegressionRemovedDatabaseBlamesAnother(t *testing.T) {
	for _, again := range []bool{false, true} {
		p := newPair(t, nil)
		ctx := t.Context()
		third := redistest.Start(t)
		require.NoError(t, p.hook.Add(ctx, Database{Name: "third", Weight: 0.1, Options: third.Options()}))
		conns := sessionsOn(t, p.rdb, 8)
		require.NoError(t, p.hook.Remove(ctx, "east"))
		active := "west"
		if again {
			active = "east"
			require.NoError(t, p.hook.Add(ctx, Database{Name: "east", Options: redistest.Start(t).Options()}))
			require.NoError(t, p.hook.SetActive(ctx, "east"))
		}
		require.NoError(t, p.rdb.Set(ctx, "k", 1, 0).Err())
		p.east.Kill()
		for _, conn := range conns {
			require.Error(t, conn.Incr(ctx, "n").Err())
		}
		require.Equal(t, active, p.hook.Active())
		for _, s := range p.hook.Stats().Databases {
			require.Zero(t, s.Failures, s.Name)
			require.Equal(t, BreakerClosed, s.Breaker, s.Name)
		}
	}
}

// manyErrors is an error of a type that cannot be compared, as validators have them.
type manyErrors []error

func (manyErrors) Error() string { return "invalid" }

type invalid struct{}

func (invalid) MarshalBinary() ([]byte, error) { return nil, manyErrors{nil} }

// Events: an argument fails to encode with an error whose type cannot be compared; the hook compares it and panics.
func TestRegressionUncomparableErrorPanics(t *testing.T) {
	p := newPair(t, nil)
	ctx := t.Context()
	require.NotPanics(t, func() {
		_, err := p.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error { return pipe.Set(ctx, "k", invalid{}, 0).Err() })
		var many manyErrors
		require.ErrorAs(t, err, &many)
		require.ErrorAs(t, p.rdb.Set(ctx, "k", invalid{}, 0).Err(), &many)
	})
}

// Events: the password of the active database is changed, and the client has one of its own. Its callers get a bare WRONGPASS,
// which counts as an answer, while nobody can log in: no failover.
func TestRegressionRefusedLoginIsTakenForAnAnswer(t *testing.T) {
	p := newPair(t, func(_ *Options, r *redis.Options) { r.Password = "of-the-client" })
	ctx := t.Context()
	require.NoError(t, p.east.Client().Do(ctx, "acl", "setuser", p.east.Options().Username, "resetpass", ">rotated").Err())
	var failed *CommandError
	eventually(t, 20*time.Second, "the failover", func() bool {
		conn := p.rdb.Conn()
		defer conn.Close()
		if err := conn.Set(ctx, "k", 1, 0).Err(); err != nil {
			require.ErrorAs(t, err, &failed)
			require.True(t, SafeToRetry(err), "%v", err)
			require.True(t, redis.IsAuthError(err), "%v", err)
		}
		return p.hook.Active() == "west"
	})
	require.NoError(t, p.rdb.Set(ctx, "k", 1, 0).Err())
}

// Events: a subscriber's connection is in its handshake with a distant database when a planned switch comes. It is not known
// as a subscription's yet, so it is not closed, and its SUBSCRIBE goes to the old database for as long as that drains. If it
// is refused instead, go-redis connects again without the channel, and the subscriber is deaf for good.
func TestRegressionSubscribeDuringPlannedSwitch(t *testing.T) {
	p := &pair{east: redistest.Start(t), west: redistest.Start(t)}
	proxy := faultproxy.Start(t, p.east.Addr())
	p.attach(t, &redis.Options{Addr: proxy.Addr()}, p.west.Options(), nil)
	ctx := t.Context()
	require.NoError(t, p.rdb.Ping(ctx).Err())
	proxy.Delay(100 * time.Millisecond)
	before, _ := p.hook.selector.find("east").conns.Count()
	switched := make(chan error, 1)
	go func() {
		for open := before; open == before; time.Sleep(time.Millisecond) {
			open, _ = p.hook.selector.find("east").conns.Count()
		}
		switched <- p.hook.SetActive(ctx, "west")
	}()
	sub := p.rdb.Subscribe(ctx, "news")
	defer sub.Close()
	messages := sub.Channel()
	require.NoError(t, <-switched)
	eventually(t, 5*time.Second, "the subscription on the new database", func() bool {
		return p.west.Client().PubSubNumSub(ctx, "news").Val()["news"] == 1
	})
	require.NoError(t, p.rdb.Publish(ctx, "news", "hello").Err())
	require.Equal(t, "hello", (<-messages).Payload)
}

// Events: a PubSub begins with a PING, before it has a channel. It is not known as a subscription's for the life of its
// connection: a receive timeout ends it, and is no net.Error.
func TestRegressionPubSubThatBeginsWithPing(t *testing.T) {
	p := newPair(t, nil)
	ctx := t.Context()
	sub := p.rdb.Subscribe(ctx)
	defer sub.Close()
	require.NoError(t, sub.Ping(ctx))
	_, err := sub.Receive(ctx)
	require.NoError(t, err)
	require.NoError(t, sub.Subscribe(ctx, "c"))
	_, err = sub.Receive(ctx)
	require.NoError(t, err)
	_, err = sub.ReceiveTimeout(ctx, 20*time.Millisecond)
	ne, ok := err.(net.Error) //nolint:errorlint // as callers do
	require.True(t, ok && ne.Timeout(), "%T: %v", err, err)
	require.NoError(t, p.rdb.Publish(ctx, "c", "still there").Err())
	message, err := sub.ReceiveMessage(ctx)
	require.NoError(t, err)
	require.Equal(t, "still there", message.Payload)
}

// cutBeforeWrite is cut just before the write deadline is armed, as by a sweep between the pool's check and the write.
type cutBeforeWrite struct {
	net.Conn
	armed *atomic.Bool
}

func (c *cutBeforeWrite) SetWriteDeadline(t time.Time) error {
	if c.armed.CompareAndSwap(true, false) {
		_ = c.Conn.Close()
	}
	return c.Conn.SetWriteDeadline(t)
}

// Events: attempt 1 of go-redis fails before the write with an error that it can see, and leaves that on MULTI; attempt 2
// executes the transaction, whose first reply is nil. The stale error says "not sent" of what was executed.
func TestRegressionExecutedTransactionIsReportedNotSent(t *testing.T) {
	east := redistest.Start(t)
	var armed atomic.Bool
	opt := east.Options()
	opt.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &cutBeforeWrite{nc, &armed}, nil
	}
	h := regressionHook(t, Options{Databases: []Database{{Name: "east", Options: opt}}})
	rdb := redis.NewClient(&redis.Options{Addr: "elsewhere:6379", PipelinePoolSize: -1})
	defer rdb.Close()
	rdb.AddHook(h)
	ctx := t.Context()
	require.NoError(t, rdb.Ping(ctx).Err())
	armed.Store(true)
	_, err := rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Get(ctx, "missing")
		p.Incr(ctx, "n")
		return nil
	})
	require.ErrorIs(t, err, redis.Nil)
	require.False(t, SafeToRetry(err))
	require.EqualValues(t, 1, counter(t, east, "n"))
}

// slowSelect holds a SELECT up.
type slowSelect struct{ in, out chan struct{} }

func (slowSelect) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s slowSelect) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "select" {
			close(s.in)
			<-s.out
		}
		return next(ctx, cmd)
	}
}

func (slowSelect) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// Events: the client uses index 5, the database index 3. While somebody's SELECT is under way on a Conn, a clone dials a
// connection into the shared pool. Its handshake's SELECT 5 is taken for a user's, and the connection stays in index 5.
func TestRegressionCloneConnectionInTheWrongIndex(t *testing.T) {
	east := redistest.Start(t)
	opt := *east.Options()
	opt.DB = 3
	h := regressionHook(t, Options{Databases: []Database{{Name: "east", Options: &opt}}})
	rdb := redis.NewClient(&redis.Options{Addr: east.Addr(), DB: 5, MaintNotificationsConfig: maintenanceOff()})
	defer rdb.Close()
	slow := slowSelect{make(chan struct{}), make(chan struct{})}
	rdb.AddHook(h)
	rdb.AddHook(slow)
	ctx := t.Context()
	conn := rdb.Conn()
	defer conn.Close()
	require.NoError(t, conn.Ping(ctx).Err())
	clone := rdb.WithTimeout(5 * time.Second)
	selected := make(chan error, 1)
	go func() { selected <- conn.Select(ctx, 1).Err() }()
	<-slow.in
	require.NoError(t, clone.Set(ctx, "k", "v", 0).Err())
	close(slow.out)
	require.NoError(t, <-selected)
	require.NoError(t, rdb.Set(ctx, "k2", "v", 0).Err())
	direct := redis.NewClient(&opt)
	defer direct.Close()
	n, err := direct.Exists(ctx, "k", "k2").Result()
	require.NoError(t, err)
	require.EqualValues(t, 2, n, "both in index 3")
}
