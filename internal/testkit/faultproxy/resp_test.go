package faultproxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func reader(s string) *bufio.Reader { return bufio.NewReaderSize(strings.NewReader(s), 16) }

// bytewise comes in as many pieces as possible, through the smallest buffer.
func bytewise(s string) *bufio.Reader {
	return bufio.NewReaderSize(iotest.OneByteReader(strings.NewReader(s)), 16)
}

func TestReadRequest(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 200_000)
	for _, tt := range []struct {
		raw  string
		args []string
	}{
		{"*1\r\n$4\r\nPING\r\n", []string{"PING"}},
		{"*3\r\n$3\r\nset\r\n$0\r\n\r\n$4\r\n\r\n*1\r\n", []string{"set", "", "\r\n*1"}},
		{"*2\r\n$3\r\nGET\r\n$200000\r\n" + long + "\r\n", []string{"GET", long}},
		{"*0\r\n", nil},
		{"*-1\r\n", nil},
		{"\r\n", nil},
		{" \t \r\n", nil},
		{"PING\r\n", []string{"PING"}},
		{" set  k\tv \n", []string{"set", "k", "v"}},
		{`auth "a b\"\x41\n\q" 'it\'s \n' x"y z"` + "\r\n", []string{"auth", "a b\"A\nq", `it's \n`, "xy z"}},
		{`echo "" '' "\xg"` + "\n", []string{"echo", "", "", "xg"}},
		{"echo a\vb\r\n", []string{"echo", "a\vb"}},
	} {
		for _, br := range []*bufio.Reader{reader(tt.raw + "NEXT\r\n"), bytewise(tt.raw + "NEXT\r\n")} {
			req, err := readRequest(br)
			require.NoError(t, err, "%.50q", tt.raw)
			assert.Equal(t, tt.raw, string(req.raw))
			assert.Equal(t, tt.args, append([]string(nil), req.args...), "%.50q", tt.raw)
			rest, err := io.ReadAll(br)
			require.NoError(t, err)
			assert.Equal(t, "NEXT\r\n", string(rest), "%.50q", tt.raw)
		}
	}
}

func TestReadRequestGivesUpWithoutLosingAnything(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]error{
		"":                               io.EOF,
		"PIN":                            io.EOF,
		"*2\r\n$3\r\nGET\r\n":            io.EOF,
		"*1\r\n$4\r\nPI":                 io.ErrUnexpectedEOF,
		"*1\r\n$536870912\r\nx":          io.ErrUnexpectedEOF, // and no 512 MiB for it
		"*1\r\n$536870913\r\nxx":         errSyntax,
		"*x\r\n":                         errSyntax,
		"*99999999999\r\n":               errSyntax,
		"*1\r\n:1\r\n":                   errSyntax,
		"*1\r\n$-1\r\n":                  errSyntax,
		"*1\r\n\r\n":                     errSyntax,
		`echo "x` + "\r\n":               errSyntax,
		`echo "x"y` + "\r\n":             errSyntax,
		`echo 'x\'` + "\r\n":             errSyntax,
		strings.Repeat("x", maxLine+100): errSyntax,
	} {
		br := reader(raw)
		req, err := readRequest(br)
		assert.ErrorIs(t, err, want, "%.50q", raw)
		rest, err := io.ReadAll(br)
		require.NoError(t, err)
		assert.Equal(t, raw, string(req.raw)+string(rest), "%.50q", raw)
	}
}

func TestClaimedLengthsTakeNoMemory(t *testing.T) { // not parallel: it counts what all allocate
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 10 {
		_, err := readRequest(reader("*2147483647\r\n$536870912\r\nx"))
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		_, err = readReply(reader("*2147483647\r\n$536870912\r\nx"))
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	}
	runtime.ReadMemStats(&after)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(100<<20))
}

func TestReadReply(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		"+OK\r\n", "-ERR no\r\n", ":-1\r\n", "_\r\n", "#t\r\n", ",1.5\r\n", "(123\r\n",
		"$-1\r\n", "$0\r\n\r\n", "$4\r\n\r\n+1\r\n", "=5\r\ntxt:a\r\n", "!3\r\nERR\r\n",
		"*-1\r\n", "*0\r\n", "*2\r\n*1\r\n:1\r\n$1\r\na\r\n", "~2\r\n:1\r\n:2\r\n", ">2\r\n+message\r\n$1\r\nx\r\n",
		"%0\r\n", "%2\r\n+a\r\n*1\r\n:1\r\n+b\r\n%1\r\n+c\r\n:1\r\n",
		"|1\r\n+ttl\r\n:3\r\n$1\r\na\r\n", "*1\r\n|1\r\n+ttl\r\n:3\r\n:1\r\n",
		"$100000\r\n" + strings.Repeat("x", 100_000) + "\r\n",
	} {
		for _, br := range []*bufio.Reader{reader(raw + "+NEXT\r\n"), bytewise(raw + "+NEXT\r\n")} {
			got, err := readReply(br)
			require.NoError(t, err, "%.50q", raw)
			assert.Equal(t, raw, string(got))
		}
	}
	for raw, want := range map[string]error{
		"": io.EOF, "$5\r\nab": io.ErrUnexpectedEOF, "*2\r\n:1\r\n": io.EOF, "|1\r\n+a\r\n+b\r\n": io.EOF,
		"?\r\n": errSyntax, "\r\n": errSyntax, "$?\r\n": errSyntax, "$-2\r\n": errSyntax, "%x\r\n": errSyntax,
	} {
		got, err := readReply(reader(raw))
		assert.ErrorIs(t, err, want, "%q", raw)
		assert.Equal(t, raw, string(got))
	}
}

// FuzzReadRequest holds that no byte is lost or changed, that pieces do not matter, and that what was understood means the
// same when it is written again.
func FuzzReadRequest(f *testing.F) {
	for _, s := range []string{
		"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n", "*0\r\n\r\nset 'a b' \"\\x00\"\r\n", "*1\r\n$-1\r\n", "*3\r\n$1\r\na\r\n$0\r\n\r\n$2\r\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		whole, pieces := reader(s), bytewise(s)
		var raw []byte
		for {
			req, err := readRequest(whole)
			again, pieceErr := readRequest(pieces)
			require.Equal(t, req, again)
			require.Equal(t, err, pieceErr)
			raw = append(raw, req.raw...)
			if err != nil {
				break
			}
			require.NotEmpty(t, req.raw)
			written := fmt.Sprintf("*%d\r\n", len(req.args))
			for _, arg := range req.args {
				written += fmt.Sprintf("$%d\r\n%s\r\n", len(arg), arg)
			}
			same, err := readRequest(reader(written))
			require.NoError(t, err)
			require.Equal(t, append([]string{}, req.args...), append([]string{}, same.args...))
		}
		rest, err := io.ReadAll(whole)
		require.NoError(t, err)
		require.Equal(t, s, string(raw)+string(rest))
	})
}

// FuzzReadReply holds the same for replies, and that every well-formed value is read as one.
func FuzzReadReply(f *testing.F) {
	for _, s := range []string{
		"+OK\r\n$1\r\na\r\n", "*2\r\n%1\r\n+a\r\n:1\r\n_\r\n", "|1\r\n+a\r\n:1\r\n>1\r\n+x\r\n", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		whole, pieces := reader(s), bytewise(s)
		o := &order{out: newOutbox((&faults{}).delayNow)}
		var raw []byte
		for i := 0; ; i++ {
			msg, err := readReply(whole)
			again, pieceErr := readReply(pieces)
			require.Equal(t, msg, again)
			require.Equal(t, err, pieceErr)
			raw = append(raw, msg...)
			if err != nil {
				o.finish(msg, closes)
				break
			}
			if i%2 == 0 {
				o.expect(slot{acks: i % 3})
			}
			o.receive(msg)
		}
		passed, _ := o.out.take(farFuture)
		require.Equal(t, string(raw), string(passed), "order must lose nothing")
		rest, err := io.ReadAll(whole)
		require.NoError(t, err)
		require.Equal(t, s, string(raw)+string(rest))

		value := wellFormed(bytes.NewReader([]byte(s)), 0)
		msg, err := readReply(reader(value + "+NEXT\r\n"))
		require.NoError(t, err, "%q", value)
		require.Equal(t, value, string(msg))
	})
}

// wellFormed makes a RESP3 value out of arbitrary bytes.
func wellFormed(src io.ByteReader, depth int) string {
	next := func(n int) int {
		b, err := src.ReadByte()
		if err != nil {
			return 0
		}
		return int(b) % n
	}
	values := func(n int) (s string) {
		for range n {
			s += wellFormed(src, depth+1)
		}
		return s
	}
	kind := "+-:_#,($=!*~>%|"[next(15)]
	n := next(4)
	if depth > 5 {
		n = 0
	}
	switch kind {
	case '$', '=', '!':
		return fmt.Sprintf("%c%d\r\n%s\r\n", kind, n, "\r\n*9"[:n])
	case '*', '~', '>':
		return fmt.Sprintf("%c%d\r\n%s", kind, n, values(n))
	case '%':
		return fmt.Sprintf("%%%d\r\n%s", n, values(2*n))
	case '|':
		return fmt.Sprintf("|%d\r\n%s+value\r\n", n, values(2*n))
	}
	return fmt.Sprintf("%c%d\r\n", kind, n)
}
