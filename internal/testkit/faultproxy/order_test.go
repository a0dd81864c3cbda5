package faultproxy

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var farFuture = time.Now().Add(time.Hour)

func ready(s string) slot { return slot{ready: true, reply: []byte(s)} }

func ack(kind, channel, n string) string {
	return "*3\r\n$" + string(rune('0'+len(kind))) + "\r\n" + kind + "\r\n$1\r\n" + channel + "\r\n:" + n + "\r\n"
}

// TestOrder runs steps, each either a slot to expect or a message of the server, and looks at what goes to the client.
func TestOrder(t *testing.T) {
	t.Parallel()
	forward := slot{}
	message := "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n"
	list := "*1\r\n$7\r\nmessage\r\n"
	for _, tt := range []struct {
		name  string
		steps []any
		want  string
		end   ending
	}{
		{"own replies wait for the server's", []any{forward, ready("+1\r\n"), ready("+2\r\n"), forward, ready("+4\r\n"), ":0\r\n", ":3\r\n"},
			":0\r\n+1\r\n+2\r\n:3\r\n+4\r\n", goesOn},
		{"without a request", []any{"+monitored\r\n", ready("+1\r\n")}, "+monitored\r\n+1\r\n", goesOn},
		{"push messages are no replies", []any{forward, ready("+1\r\n"), ">1\r\n$10\r\ninvalidate\r\n", ":0\r\n"},
			">1\r\n$10\r\ninvalidate\r\n:0\r\n+1\r\n", goesOn},
		{"a list that looks like a message", []any{forward, ready("+1\r\n"), list}, list + "+1\r\n", goesOn},
		{"a list that looks like an acknowledgement", []any{forward, ready("+1\r\n"), ack("subscribe", "a", "1")},
			ack("subscribe", "a", "1") + "+1\r\n", goesOn},
		{"RESP2 subscription", []any{slot{acks: 2}, ready("+1\r\n"), ack("subscribe", "a", "1"), message, ack("subscribe", "b", "2")},
			ack("subscribe", "a", "1") + message + ack("subscribe", "b", "2") + "+1\r\n", goesOn},
		{"RESP3 subscription", []any{
			slot{acks: 1}, ready("+1\r\n"), ">" + message[1:], ">" + ack("psubscribe", "a", "1")[1:], forward, ready("+2\r\n"), list,
		}, ">" + message[1:] + ">" + ack("psubscribe", "a", "1")[1:] + "+1\r\n" + list + "+2\r\n", goesOn},
		{"RESP2 messages come between", []any{slot{acks: 1}, ack("subscribe", "a", "1"), forward, ready("+1\r\n"), message, ":0\r\n"},
			ack("subscribe", "a", "1") + message + ":0\r\n+1\r\n", goesOn},
		{"the end of all subscriptions", []any{
			slot{acks: 2}, ack("subscribe", "a", "1"), ack("subscribe", "b", "2"),
			slot{acks: 1}, forward, ready("+1\r\n"), ack("unsubscribe", "a", "1"), ack("unsubscribe", "b", "0"), list,
		}, ack("subscribe", "a", "1") + ack("subscribe", "b", "2") + ack("unsubscribe", "a", "1") + ack("unsubscribe", "b", "0") +
			list + "+1\r\n", goesOn},
		{"sharded subscriptions count apart", []any{
			slot{acks: 1}, ack("ssubscribe", "a", "1"), slot{acks: 1}, ack("unsubscribe", "x", "0"), forward, ready("+1\r\n"), message, ":0\r\n",
		}, ack("ssubscribe", "a", "1") + ack("unsubscribe", "x", "0") + message + ":0\r\n+1\r\n", goesOn},
		{"RESET ends subscriptions", []any{
			slot{acks: 1}, ack("subscribe", "a", "1"), forward, "+RESET\r\n", forward, ready("+1\r\n"), list,
		}, ack("subscribe", "a", "1") + "+RESET\r\n" + list + "+1\r\n", goesOn},
		{"refused subscription", []any{slot{acks: 2}, ready("+1\r\n"), "-NOPERM\r\n"}, "-NOPERM\r\n+1\r\n", goesOn},
		{"nothing comes after a reset", []any{forward, slot{end: resets}, ":0\r\n", ":1\r\n", ":2\r\n"}, ":0\r\n", resets},
		{"cut", []any{slot{end: closes, keep: 2}, ":123\r\n"}, ":1", closes},
		{"cut behind the end", []any{slot{end: closes, keep: 20}, ":123\r\n"}, ":123\r\n", closes},
		{"subscription without a reply", []any{slot{acks: 2, end: closes}, ack("subscribe", "a", "1")}, "", closes},
		{"silence", []any{forward, slot{ready: true, end: fallsSilent}, forward, ":0\r\n", ":1\r\n", "end+PAR"}, ":0\r\n", closes},
		{"the server ends after a reset", []any{slot{end: resets}, ":0\r\n", "end+PAR"}, "", resets},
		{"the server ends in a reply", []any{forward, ":0\r\n", forward, "end+PAR"}, ":0\r\n+PAR", closes},
		{"the server ends before a dropped reply", []any{slot{end: resets}, "end+PAR"}, "", resets},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := &order{out: newOutbox((&faults{}).delayNow)}
			for _, step := range tt.steps {
				switch step := step.(type) {
				case slot:
					o.expect(step)
				case string:
					if rest, ok := strings.CutPrefix(step, "end"); ok {
						o.finish([]byte(rest), closes)
					} else {
						o.receive([]byte(step))
					}
				}
			}
			got, end := o.out.take(farFuture)
			assert.Equal(t, tt.want, string(got))
			assert.Equal(t, tt.end, end)
		})
	}
}

func TestOutboxHoldsTheServerBackButNotTheProxy(t *testing.T) {
	t.Parallel()
	b := newOutbox((&faults{}).delayNow)
	b.push(make([]byte, maxQueued+1), goesOn)
	b.push([]byte("more"), goesOn) // does not block
	free := make(chan struct{})
	go func() {
		b.room()
		close(free)
	}()
	select {
	case <-free:
		t.Fatal("room when there is none")
	case <-time.After(20 * time.Millisecond):
	}
	got, _ := b.take(farFuture)
	assert.Len(t, got, maxQueued+5)
	<-free

	b.push(make([]byte, maxQueued+1), goesOn)
	b.stop()
	b.room()
	_, ok := b.head()
	assert.False(t, ok)
}

// pieces is a writer that keeps each write for itself.
type pieces struct{ got []string }

func (w *pieces) Write(b []byte) (int, error) {
	w.got = append(w.got, string(b))
	return len(b), nil
}

func TestChunkSplitsWrites(t *testing.T) {
	t.Parallel()
	var p Proxy
	c := newConn(&p, 1, nil)
	defer c.cancel()
	for chunk, want := range map[int][]string{0: {"1234567"}, 3: {"123", "456", "7"}, 7: {"1234567"}, 100: {"1234567"}} {
		p.Chunk(chunk)
		var w pieces
		require.NoError(t, c.forward(&w, []byte("1234567"), &p.log.toClient, nil))
		assert.Equal(t, want, w.got)
	}
	assert.EqualValues(t, 28, p.Stats().ToClient)
}

func TestSplitInlineKeepsNothingOfTheLine(t *testing.T) {
	t.Parallel()
	line := bytes.Repeat([]byte("'a' "), 1000)
	args, err := splitInline(string(line))
	require.NoError(t, err)
	assert.Len(t, args, 1000)
}
