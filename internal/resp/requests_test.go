package resp

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func request(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return b.String()
}

// requestEnds returns the places in the stream at which requests end, if it comes in pieces.
func requestEnds(stream string, cut func() int) (ends []int, lost bool) {
	var r Requests
	at := 0
	for rest := []byte(stream); len(rest) > 0; {
		piece := rest[:max(1, min(cut(), len(rest)))]
		rest = rest[len(piece):]
		for len(piece) > 0 {
			n, done := r.Next(piece)
			at += n
			if piece = piece[n:]; done {
				ends = append(ends, at)
			}
		}
	}
	return ends, r.Lost()
}

func TestRequestsAreFramedWhereverTheyAreCut(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var stream strings.Builder
		var want []int
		for range 1 + rnd.IntN(10) {
			args := make([]string, 1+rnd.IntN(5))
			for i := range args {
				args[i] = strings.Repeat("*1\r\n$3\r\n", rnd.IntN(4))
			}
			stream.WriteString(request(args...))
			want = append(want, stream.Len())
		}
		for _, most := range []int{1, 3, 1 << 20} {
			ends, lost := requestEnds(stream.String(), func() int { return 1 + rnd.IntN(most) })
			require.False(t, lost)
			require.Equal(t, want, ends)
		}
	}
}

func TestWhatIsNoRequestIsLost(t *testing.T) {
	for _, stream := range []string{"PING\r\n", "*1\r\nPING\r\n", "*x\r\n", "$3\r\nabc\r\n", "*-1\r\n"} {
		_, lost := requestEnds(stream, func() int { return 1 })
		require.True(t, lost, "%q", stream)
	}
}

func FuzzRequests(f *testing.F) {
	f.Add([]byte("*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n"), uint64(1))
	f.Fuzz(func(t *testing.T, stream []byte, cuts uint64) {
		rnd := rand.New(rand.NewPCG(cuts, 0))
		whole, lost := requestEnds(string(stream), func() int { return len(stream) })
		ends, lost2 := requestEnds(string(stream), func() int { return 1 + rnd.IntN(9) })
		require.Equal(t, whole, ends)
		require.Equal(t, lost, lost2)
	})
}

func BenchmarkRequests(b *testing.B) {
	for name, stream := range map[string]string{
		"GET": request("get", "key:1234"), "SET1MB": request("set", "key", strings.Repeat("x", 1<<20)),
		"pipeline": strings.Repeat(request("get", "key:1234"), 100),
	} {
		b.Run(name, func(b *testing.B) {
			p := []byte(stream)
			b.ReportAllocs()
			var r Requests
			for b.Loop() {
				for rest := p; len(rest) > 0; {
					n, _ := r.Next(rest)
					rest = rest[n:]
				}
			}
		})
	}
}

func TestAWholeRequestIsReadAtOnce(t *testing.T) {
	for _, args := range [][]string{
		{"PING"}, {"get", ""}, {"set", "k", strings.Repeat("v", 12345)}, {"mget", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"}, {"", "a"},
	} {
		p := request(args...)
		n, name, count := Whole([]byte(p + "*1\r\n"))
		require.Equal(t, len(p), n)
		require.Equal(t, args[0], string(name))
		require.Equal(t, len(args), count)
		for cut := range len(p) {
			n, _, _ := Whole([]byte(p[:cut]))
			require.Zero(t, n, "%q", p[:cut])
		}
	}
	for _, p := range []string{"*0\r\n", "*1\r\n:1234\r\n", "*1\r\n$x\r\na\r\n", "*:\r\n$1\r\na\r\n", "*1\r\n$-1\r\n\r\n", "+OK\r\n", "*1\n\n$1\r\na\r\n", "*1\r\n$1234567890\r\na\r\n"} {
		n, _, _ := Whole([]byte(p))
		require.Zero(t, n, "%q", p)
	}
}
