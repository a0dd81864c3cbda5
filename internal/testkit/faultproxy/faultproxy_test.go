package faultproxy_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redishook/multidb/internal/testkit/faultproxy"
	"github.com/redishook/multidb/internal/testkit/redistest"
	"github.com/redishook/multidb/internal/testkit/testmain"
)

func TestMain(m *testing.M) {
	logging.Disable() // a line for each refused dial
	testmain.Run(m)
}

const patience = 30 * time.Second // for what must happen; a loaded machine may take its time

func start(t *testing.T, opts ...faultproxy.Option) (*faultproxy.Proxy, *redistest.Redis) {
	t.Helper()
	r := redistest.Start(t)
	return faultproxy.Start(t, r.Addr(), opts...), r
}

// client returns a client that reports the first failure at once.
func client(t *testing.T, p *faultproxy.Proxy, change ...func(*redis.Options)) *redis.Client {
	opt := &redis.Options{Addr: p.Addr(), MaxRetries: -1, DialerRetries: 1, ReadTimeout: patience, WriteTimeout: patience}
	for _, f := range change {
		f(opt)
	}
	c := redis.NewClient(opt)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func readTimeout(d time.Duration) func(*redis.Options) {
	return func(opt *redis.Options) { opt.ReadTimeout = d }
}

// raw is a connection without a client.
type raw struct {
	*net.TCPConn
	t  *testing.T
	br *bufio.Reader
}

func dial(t *testing.T, p *faultproxy.Proxy) *raw {
	t.Helper()
	conn, err := net.DialTimeout("tcp", p.Addr(), patience)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	return &raw{conn.(*net.TCPConn), t, bufio.NewReader(conn)}
}

func (r *raw) send(s string) {
	r.t.Helper()
	_, err := r.Write([]byte(s))
	require.NoError(r.t, err)
}

// expect reads exactly want.
func (r *raw) expect(want string) {
	r.t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(r.br, got)
	require.NoError(r.t, err, "got %q", got[:n])
	require.Equal(r.t, want, string(got))
}

func (r *raw) expectEnd(want error) {
	r.t.Helper()
	rest, err := io.ReadAll(r.br)
	if want == io.EOF {
		want = nil
	}
	require.ErrorIs(r.t, err, want)
	require.Empty(r.t, rest)
}

// expectSilence reads nothing for a while.
func (r *raw) expectSilence() {
	r.t.Helper()
	require.NoError(r.t, r.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	b, err := r.br.Peek(1)
	require.True(r.t, isTimeout(err), "got %q, %v", b, err)
	require.NoError(r.t, r.SetReadDeadline(time.Now().Add(patience)))
}

func isTimeout(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) && netErr.Timeout()
}

func TestPassForwardsAndCounts(t *testing.T) {
	t.Parallel()
	p, r := start(t)
	p.Record(true)
	for _, protocol := range []int{2, 3} {
		c := client(t, p, func(opt *redis.Options) { opt.Protocol = protocol })
		require.NoError(t, c.Set(t.Context(), "k", "v", 0).Err())
		require.Equal(t, "v", c.Get(t.Context(), "k").Val())
		big := strings.Repeat("x", 3<<20)
		require.NoError(t, c.Set(t.Context(), "big", big, 0).Err())
		require.Equal(t, big, c.Get(t.Context(), "big").Val())
		require.NoError(t, c.Close())
	}
	assert.Equal(t, "v", r.Client().Get(t.Context(), "k").Val())
	assert.EqualValues(t, 4, p.Count("get"))
	stats := p.Stats()
	assert.EqualValues(t, 4, stats.Commands["SET"])
	assert.EqualValues(t, 2, stats.Accepted)
	assert.Greater(t, stats.ToServer, uint64(6<<20))
	assert.Greater(t, stats.ToClient, uint64(6<<20))
	assert.Zero(t, stats.Garbled)
	require.Eventually(t, func() bool { return p.Stats().Open == 0 }, patience, time.Millisecond)
}

func TestRefuse(t *testing.T) {
	t.Parallel()
	p, _ := start(t)
	c := client(t, p)
	conn := dial(t, p)
	conn.send("PING\r\n")
	conn.expect("+PONG\r\n")
	require.NoError(t, c.Ping(t.Context()).Err())
	addr := p.Addr()

	p.Refuse()
	assert.Equal(t, faultproxy.Refuse, p.Mode())
	assert.Zero(t, p.Stats().Open)
	conn.expectEnd(io.EOF)
	require.ErrorIs(t, c.Ping(t.Context()).Err(), syscall.ECONNREFUSED)

	p.Pass()
	assert.Equal(t, addr, p.Addr())
	require.NoError(t, c.Ping(t.Context()).Err())
}

func TestHangKeepsEverythingForLater(t *testing.T) {
	t.Parallel()
	p, r := start(t)
	p.Record(true)
	old := dial(t, p)
	old.send("SET k before\r\n")
	old.expect("+OK\r\n")
	n := len(p.Commands())

	p.Hang()
	old.send("SET k after\r\n")
	fresh := dial(t, p)
	fresh.send("INCR n\r\n")
	impatient := client(t, p, readTimeout(50*time.Millisecond), func(opt *redis.Options) { opt.Protocol = 2 })
	require.True(t, isTimeout(impatient.Ping(t.Context()).Err()))
	require.NoError(t, impatient.Close())
	assert.Equal(t, "before", r.Client().Get(t.Context(), "k").Val())
	assert.Len(t, p.Commands(), n)
	require.Eventually(t, func() bool { return p.Stats().Open == 2 }, patience, time.Millisecond, "a client that gave up")

	p.Pass()
	old.expect("+OK\r\n")
	fresh.expect(":1\r\n")
	assert.Equal(t, "after", r.Client().Get(t.Context(), "k").Val())
}
