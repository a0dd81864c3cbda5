package conn

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/redishook/multidb/internal/replay"
)

func req(args ...string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return []byte(b.String())
}

// words makes requests of lines of words.
func words(lines ...string) (p []byte) {
	for _, line := range lines {
		p = append(p, req(strings.Fields(line)...)...)
	}
	return p
}

func confirmation(verb, channel string, left int, kind byte) string {
	return fmt.Sprintf("%c3\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n:%d\r\n", kind, len(verb), verb, len(channel), channel, left)
}

func TestWhatIsOwedIsWhatWasWrittenAndNotAnswered(t *testing.T) {
	l := NewLedger(nil)
	require.True(t, l.Neutral())
	l.Begin(words("incr n", "get k", "ping"))
	require.EqualValues(t, 3, l.Owed())
	l.Received([]byte(":1\r\n$5\r\nhel"))
	require.EqualValues(t, 2, l.Owed(), "the second reply has not ended")
	l.Received([]byte("lo\r\n>2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n+PO"))
	require.EqualValues(t, 1, l.Owed(), "a push is no reply")
	l.Received([]byte("NG\r\n"))
	require.True(t, l.Neutral())
	require.EqualValues(t, 3, l.Answered())
	require.EqualValues(t, 3, l.Reads())
}

func TestRequestsAreCountedHoweverTheyAreCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOfN(rapid.SampledFrom([]string{"get k", "incr n", "watch k", "multi", "exec", "blpop q 3", "ping", "subscribe a b"}), 1, 20).
			Draw(t, "requests")
		whole, cut := NewLedger(nil), NewLedger(nil)
		p := words(lines...)
		classes := whole.Begin(p)
		var united Class
		for len(p) > 0 {
			n := rapid.IntRange(1, min(len(p), 30)).Draw(t, "cut")
			class := cut.Begin(p[:n])
			united |= class
			p = p[n:]
		}
		require.Equal(t, whole.Owed(), cut.Owed(), "%v", lines)
		require.Equal(t, whole.Session(), cut.Session(), "%v", lines)
		require.Equal(t, classes, united, "%v", lines)
	})
}

func TestARequestThatTheSocketHasNotTakenIsNotOwed(t *testing.T) {
	l := NewLedger(nil)
	one := words("incr a")
	l.Begin(one)
	require.False(t, l.OwesHarmless())
	l.Undo(one, 0)
	require.Zero(t, l.Written())
	require.True(t, l.OwesHarmless())
	p := words("incr a", "incr b", "incr c")
	l.Begin(p)
	l.Undo(p, 0)
	require.Zero(t, l.Owed())
	require.Zero(t, l.Written())
	l.Begin(p)
	l.Undo(p, len(words("incr a"))+1)
	require.EqualValues(t, 2, l.Owed(), "a byte of the second one may be on its way")
}

func TestASubscribeThatTheSocketHasNotTakenIsNone(t *testing.T) {
	l := NewLedger(nil)
	p := words("subscribe a b")
	l.Begin(p)
	l.Undo(p, 0)
	require.True(t, l.Neutral())
}

func TestAHandshakeIsOwedAndBeginsNoSession(t *testing.T) {
	l := NewLedger(nil)
	l.BeginHandshake(words("hello 3", "select 5"))
	require.EqualValues(t, 2, l.Owed())
	require.False(t, l.Session())
	l.Received([]byte("%1\r\n+proto\r\n:3\r\n+OK\r\n"))
	require.True(t, l.Neutral())
}

func TestSessionIsWhatAnotherConnectionWouldNotHold(t *testing.T) {
	for _, c := range []struct {
		requests string
		session  bool
	}{
		{"get k", false}, {"incr n", false}, {"client id", false}, {"client setname x", false}, {"unwatch", false},
		{"watch k", true}, {"watch k|unwatch", false}, {"watch k|multi|incr n|exec", false}, {"watch k|multi|discard", false},
		{"multi", true}, {"multi|incr n", true}, {"multi|exec", false}, {"watch k|exec", true},
		{"select 3", true}, {"SELECT 3|get k", true}, {"auth a b", true}, {"hello 3", true}, {"reset", true},
		{"client reply off", true}, {"CLIENT TRACKING on", true}, {"monitor", true}, {"subscribe a", true},
	} {
		l := NewLedger(nil)
		for line := range strings.SplitSeq(c.requests, "|") {
			l.Begin(words(line))
			if !l.Subscribed() {
				l.Received([]byte("+OK\r\n"))
			}
		}
		require.Equal(t, c.session, l.Session(), c.requests)
		require.Equal(t, !c.session, l.Neutral(), c.requests)
	}
}

func TestSubscriptionsOfRESP3(t *testing.T) {
	l := NewLedger(nil)
	l.Begin(words("subscribe a b", "psubscribe p*", "get k"))
	require.EqualValues(t, 4, l.Owed(), "one confirmation per channel")
	l.Received([]byte(confirmation("subscribe", "a", 1, '>') + ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n"))
	require.EqualValues(t, 3, l.Owed(), "a message is no reply")
	l.Received([]byte(confirmation("subscribe", "b", 2, '>') + confirmation("psubscribe", "p*", 3, '>') + "$1\r\nv\r\n"))
	require.Zero(t, l.Owed())
	require.True(t, l.Session())

	l.Begin(words("unsubscribe", "get k"))
	require.EqualValues(t, 2, l.Owed())
	l.Received([]byte(confirmation("unsubscribe", "a", 2, '>')))
	require.EqualValues(t, 2, l.Owed(), "it has another one to confirm")
	l.Received([]byte(confirmation("unsubscribe", "b", 1, '>') + "$1\r\nv\r\n"))
	require.Zero(t, l.Owed())
	require.True(t, l.Session(), "the pattern is left")
	l.Begin(words("punsubscribe p*"))
	l.Received([]byte(confirmation("punsubscribe", "p*", 0, '>')))
	require.True(t, l.Neutral(), "a connection that has unsubscribed is like any other")
	l.Begin(words("incr n"))
	require.EqualValues(t, 1, l.Owed())
	l.Received([]byte(":1\r\n"))
	require.True(t, l.Neutral())
}

func TestSubscriptionsOfRESP2(t *testing.T) {
	l := NewLedger(nil)
	l.SpeaksRESP2()
	l.Begin(words("lrange l 0 -1", "subscribe a"))
	l.Received([]byte("*1\r\n$7\r\nmessage\r\n"))
	require.EqualValues(t, 1, l.Owed(), "a list with the word in it")
	l.Received([]byte(confirmation("subscribe", "a", 1, '*') + "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n"))
	require.Zero(t, l.Owed())
	l.Begin(words("ping"))
	l.Received([]byte("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n"))
	require.Zero(t, l.Owed())
	l.Begin(words("unsubscribe"))
	l.Received([]byte("*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n"))
	require.True(t, l.Neutral())
	l.Begin(words("unsubscribe"))
	l.Received([]byte("*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n"))
	require.True(t, l.Neutral(), "nothing to unsubscribe from is confirmed once")
	l.Begin(words("lrange l 0 -1"))
	l.Received([]byte("*1\r\n$7\r\nmessage\r\n"))
	require.True(t, l.Neutral(), "out of subscribed mode an array is a reply")
}

func TestASubscribeThatIsRefusedIsAnsweredOnce(t *testing.T) {
	l := NewLedger(nil)
	l.Begin(words("subscribe a b c", "get k"))
	require.EqualValues(t, 4, l.Owed())
	l.Received([]byte("-NOPERM no\r\n"))
	require.EqualValues(t, 1, l.Owed())
	l.Received([]byte("$1\r\nv\r\n"))
	require.True(t, l.Neutral())
}

func TestAConnectionWhoseRepliesCannotBeCountedOwesForEver(t *testing.T) {
	for _, line := range []string{"client reply off", "CLIENT REPLY skip", "monitor", "hello 2", "reset", "psync ? -1"} {
		l := NewLedger(nil)
		l.Begin(words(line))
		l.Received([]byte("+OK\r\n+1 [0 lua] \"get\"\r\n"))
		require.False(t, l.Exact(), line)
		require.NotZero(t, l.Owed(), line)
		require.False(t, l.OwesHarmless(), line)
		require.False(t, l.Neutral(), line)
	}
	l := NewLedger(nil)
	l.Received([]byte("-ERR max number of clients reached\r\n"))
	l.Begin(words("get k"))
	l.Received([]byte("$1\r\nv\r\n"))
	require.False(t, l.Exact(), "a reply that nobody has asked for")
	l = NewLedger(nil)
	l.Begin(words("get k"))
	l.Received([]byte("?\r\n"))
	require.False(t, l.Exact(), "no RESP")
	require.EqualValues(t, 1, l.Owed())
}

func TestWhatIsOwedIsHarmlessIfAllOfItIs(t *testing.T) {
	l := NewLedger(NewTable([]replay.Form{{Name: "get"}, {Name: "set", Args: 3, Kind: replay.Expiring}}, nil))
	l.Begin(words("get a", "set a 1"))
	require.True(t, l.OwesHarmless())
	l.Begin(words("incr n"))
	require.False(t, l.OwesHarmless())
	l.Received([]byte("$-1\r\n+OK\r\n"))
	require.False(t, l.OwesHarmless())
	l.Received([]byte(":1\r\n"))
	require.True(t, l.OwesHarmless())
	p := words("set a 1 nx")
	l.Begin(p)
	require.False(t, l.OwesHarmless(), "with an option it may not be")
	l.Undo(p, 0)
	require.True(t, l.OwesHarmless())
}

func TestBlockingRequestsHaveATimeOfTheirOwn(t *testing.T) {
	for line, want := range map[string]time.Duration{
		"blpop a b 30": 30 * time.Second, "BRPOP a 0.5": time.Second / 2, "blmove a b left right 2": 2 * time.Second,
		"blmpop 3 1 a left": 3 * time.Second, "xread count 1 block 1500 streams s $": 1500 * time.Millisecond,
		"xreadgroup group g c block 0 streams s >": 0, "wait 1 250": 250 * time.Millisecond, "bzpopmin z 0": 0, "brpop a x": 0,
	} {
		l := NewLedger(nil)
		class := l.Begin(words(line))
		require.Equal(t, Blocks, class)
		got, blocks := l.Blocking()
		require.True(t, blocks, line)
		require.Equal(t, want, got, line)
		l.Received([]byte("*-1\r\n"))
		_, blocks = l.Blocking()
		require.False(t, blocks, line)
	}
	l := NewLedger(nil)
	l.Begin(words("xread streams s 0"))
	_, blocks := l.Blocking()
	require.False(t, blocks, "XREAD without BLOCK")
}

func TestNamesAreToldApart(t *testing.T) {
	var harmless []replay.Form
	for i := range 400 {
		harmless = append(harmless, replay.Form{Name: "name" + strconv.Itoa(i*7919)})
	}
	table := NewTable(harmless, []string{"blpop"})
	for _, h := range harmless {
		require.Equal(t, Again, table.Of([]byte(strings.ToUpper(h.Name)), 2))
		require.Zero(t, table.Of([]byte(h.Name+"x"), 2))
	}
	require.Equal(t, Blocks, table.Of([]byte("BLPOP"), 3))
	require.Equal(t, Multi, table.Of([]byte("multi"), 1))
	require.Zero(t, table.Of([]byte("a name longer than sixteen"), 1))
	require.Zero(t, table.Of(nil, 0))
}

func TestTheWayOfARequestAllocatesNothing(t *testing.T) {
	l := NewLedger(nil)
	p, r := words("set key value"), []byte("+OK\r\n")
	require.Zero(t, testing.AllocsPerRun(100, func() {
		l.Begin(p)
		l.Received(r)
	}))
	p, r = words("blpop q 1"), []byte("*-1\r\n")
	require.Zero(t, testing.AllocsPerRun(100, func() {
		l.Begin(p)
		l.Received(r)
	}))
}

// TestWriterAndReaderAreTwoGoroutines is for the race detector, and counts.
func TestWriterAndReaderAreTwoGoroutines(t *testing.T) {
	l := NewLedger(nil)
	wire := make(chan int, 100)
	go func() {
		defer close(wire)
		rnd := rand.New(rand.NewPCG(1, 1))
		for range 2000 {
			n := 1 + rnd.IntN(5)
			l.Begin([]byte(strings.Repeat(string(words("incr n")), n)))
			wire <- n
		}
	}()
	for n := range wire {
		l.Received([]byte(strings.Repeat(":1\r\n", n)))
		_, _, _ = l.Owed(), l.Session(), l.OwesHarmless()
	}
	require.Zero(t, l.Owed())
	require.True(t, l.Exact())
}

func BenchmarkLedger(b *testing.B) {
	l := NewLedger(nil)
	for name, c := range map[string][2]string{"GET": {string(words("get key:12345")), "$5\r\nhello\r\n"}, "SET": {string(words("set key:12345 hello")), "+OK\r\n"}} {
		b.Run(name, func(b *testing.B) {
			p, r := []byte(c[0]), []byte(c[1])
			b.ReportAllocs()
			for b.Loop() {
				l.Begin(p)
				l.Received(r)
			}
		})
	}
}

// With RESP3 messages are pushes, and an array is a reply whatever is in it.
func TestARepliedArrayIsNoMessageWithRESP3(t *testing.T) {
	for _, first := range []string{"message", "subscribe", "unsubscribe"} {
		l := NewLedger(nil)
		l.Begin(words("subscribe news"))
		l.Received([]byte(confirmation("subscribe", "news", 1, '>')))
		l.Begin(words("lrange events 0 -1"))
		l.Received([]byte(confirmation(first, "a", 7, '*')))
		require.Zero(t, l.Owed(), first)
		require.True(t, l.Subscribed(), first)
		l.Begin(words("unsubscribe news"))
		l.Received([]byte(confirmation("unsubscribe", "news", 0, '>')))
		require.True(t, l.Neutral(), first)
	}
}
