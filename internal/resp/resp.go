// Package resp is the little of the Redis protocol (RESP) that is read and written here: the name and the arguments of a
// request, a request of our own, and one simple reply.
package resp

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// CommandName returns the name of the request that p begins with: "*2\r\n$3\r\nGET\r\n..." gives GET. It returns nil if p
// does not hold the whole name. It allocates nothing: the result is a part of p.
func CommandName(p []byte) []byte {
	if len(p) < 8 || p[0] != '*' {
		return nil
	}
	i := 1
	for i < len(p) && p[i] != '\n' {
		i++
	}
	if i++; i >= len(p) || p[i] != '$' {
		return nil
	}
	size := 0
	for i++; i < len(p) && p[i] >= '0' && p[i] <= '9' && size < 1<<10; i++ {
		size = size*10 + int(p[i]-'0')
	}
	if i += 2; i+size > len(p) {
		return nil
	}
	return p[i : i+size]
}

// CommandNames returns the names of the requests in p, in lower case, and whether the last of them is whole. The name of a
// CLIENT has its subcommand: "client|setinfo". Reading ends with the first name for which goOn is false; the requests
// before that name must be whole.
func CommandNames(p []byte, goOn func(name string) bool) (names []string, whole bool) {
	for len(p) > 0 {
		name := CommandName(p)
		if name == nil {
			return names, false
		}
		first := strings.ToLower(string(name))
		if !goOn(first) {
			return append(names, first), true
		}
		args, rest, ok := Parse(p)
		if !ok {
			return append(names, first), false
		}
		if first == "client" && len(args) > 1 {
			first += "|" + strings.ToLower(args[1])
		}
		names, p = append(names, first), rest
	}
	return names, len(names) > 0
}

// Parse splits the first request in p into its arguments and returns what follows the request.
func Parse(p []byte) (args []string, rest []byte, ok bool) {
	n, p, ok := parseHeader(p, '*')
	if !ok || n < 1 {
		return nil, nil, false
	}
	for range n {
		var size int
		if size, p, ok = parseHeader(p, '$'); !ok || size < 0 || size > len(p)-2 {
			return nil, nil, false
		}
		args = append(args, string(p[:size]))
		p = p[size+2:]
	}
	return args, p, true
}

func parseHeader(p []byte, kind byte) (n int, rest []byte, ok bool) {
	end := bytes.Index(p, []byte("\r\n"))
	if end < 2 || p[0] != kind {
		return 0, nil, false
	}
	n, err := strconv.Atoi(string(p[1:end]))
	return n, p[end+2:], err == nil && n <= 1<<20
}

// Encode writes a request.
func Encode(args ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return b.Bytes()
}

// ReadLine reads one simple reply and returns it without its line end. No byte may follow the reply: it would be lost.
func ReadLine(r io.Reader) (string, error) {
	var line []byte
	buf := make([]byte, 256)
	for len(line) < 1<<12 {
		n, err := r.Read(buf)
		line = append(line, buf[:n]...)
		if bytes.HasSuffix(line, []byte("\r\n")) && len(line) > 2 {
			return string(line[:len(line)-2]), nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("multidb: unexpected reply %q", line[:64])
}
