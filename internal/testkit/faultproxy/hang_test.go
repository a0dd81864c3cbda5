package faultproxy_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHangStopsAWriteThatIsUnderWay(t *testing.T) {
	t.Parallel()
	p, r := start(t)
	value := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // more than sockets buffer
	require.NoError(t, r.Client().Set(t.Context(), "k", value, 0).Err())
	conn := dial(t, p)
	conn.send("GET k\r\n")
	settle := func() (n uint64) {
		same := 0 // looks: in one of them, a busy machine may just not have come to it
		require.Eventually(t, func() bool {
			before := n
			if n = p.Stats().ToClient; n == 0 || n != before {
				same = 0
			}
			same++
			return same > 10
		}, patience, 50*time.Millisecond, "the client does not read")
		return n
	}
	require.Less(t, settle(), uint64(len(value)), "the sockets must be full")

	hung := make(chan struct{})
	go func() {
		p.Hang()
		close(hung)
	}()
	select {
	case <-hung:
	case <-time.After(patience):
		t.Fatal("Hang waits for a client that does not read")
	}
	// Hanging or not, the kernel's buffers go on their way, and nothing more.
	sent := p.Stats().ToClient
	got := make([]byte, sent)
	_, err := io.ReadFull(conn.br, got)
	require.NoError(t, err)
	conn.expectSilence()
	require.Equal(t, sent, p.Stats().ToClient)

	p.Pass()
	rest := make([]byte, len("$16777216\r\n")+len(value)+2-len(got))
	_, err = io.ReadFull(conn.br, rest)
	require.NoError(t, err)
	got = append(got, rest...)
	require.True(t, bytes.Equal(got, []byte("$16777216\r\n"+string(value)+"\r\n")), "bytes were lost or sent twice")
}

func TestHangExecutesLaterWhatAClientGaveUpOn(t *testing.T) {
	t.Parallel()
	p, r := start(t)
	conn := dial(t, p)
	conn.send("PING\r\n")
	conn.expect("+PONG\r\n")
	p.Hang()
	conn.send("INCR n\r\nINCR n\r\n")
	require.NoError(t, conn.Close())
	require.Eventually(t, func() bool { return p.Stats().Open == 0 }, patience, time.Millisecond)
	assert.EqualValues(t, 0, r.Client().Exists(t.Context(), "n").Val())
	p.Pass()
	require.Eventually(t, func() bool { return r.Client().Get(t.Context(), "n").Val() == "2" }, patience, time.Millisecond)
}

func TestHangHoldsRepliesResetsAndAnswersBack(t *testing.T) {
	t.Parallel()
	p, r := start(t)
	slow, dropped, own := dial(t, p), dial(t, p), dial(t, p)
	p.DropReplies(func(args []string) bool { return args[0] == "blpop" })
	p.Answer(func(args []string) (string, bool) { return "+own\r\n", args[0] == "ECHO" })
	p.Record(true)
	slow.send("BLPOP slow 0\r\n")
	dropped.send("blpop dropped 0\r\n")
	require.Eventually(t, func() bool { return len(p.Commands()) == 2 }, patience, time.Millisecond)
	require.Eventually(t, func() bool {
		return strings.Contains(r.Client().Info(t.Context(), "clients").Val(), "blocked_clients:2\r")
	}, patience, time.Millisecond)

	p.Hang()
	own.send("ECHO x\r\n")
	require.NoError(t, r.Client().RPush(t.Context(), "slow", "v").Err())
	require.NoError(t, r.Client().RPush(t.Context(), "dropped", "v").Err())
	slow.expectSilence()
	dropped.expectSilence()
	own.expectSilence()
	assert.Len(t, p.Commands(), 2)

	p.Pass()
	slow.expect("*2\r\n$4\r\nslow\r\n$1\r\nv\r\n")
	dropped.expectEnd(io.EOF)
	own.expect("+own\r\n")
}

func TestHungConnectionsCanBeResetAndRefused(t *testing.T) {
	t.Parallel()
	p, _ := start(t)
	p.Hang()
	one := dial(t, p)
	require.Eventually(t, func() bool { return p.Stats().Open == 1 }, patience, time.Millisecond)
	p.Reset()
	one.expectEnd(errReset)
	two := dial(t, p)
	two.send("PING\r\n")
	require.Eventually(t, func() bool { return p.Stats().Open == 1 }, patience, time.Millisecond)
	p.Refuse()
	_, err := two.br.ReadByte()
	require.Error(t, err)
	p.Hang()
	three := dial(t, p)
	three.send("PING\r\n")
	three.expectSilence()
	p.Pass()
	three.expect("+PONG\r\n")
}

func TestRequestsAreDecidedAboutWhenTheyGoOn(t *testing.T) {
	t.Parallel()
	p, r := start(t)
	conn := dial(t, p)
	conn.send("PING\r\n")
	conn.expect("+PONG\r\n")
	p.Hang()
	conn.send("INCR n\r\n")
	conn.expectSilence()
	p.Answer(func(args []string) (string, bool) { return "-LOADING\r\n", args[0] == "INCR" })
	p.Pass()
	conn.expect("-LOADING\r\n")
	assert.EqualValues(t, 0, r.Client().Exists(t.Context(), "n").Val())
}
