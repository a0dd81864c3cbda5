package multidb

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// The little of the Redis protocol (RESP) that a connection must understand: the name of a request, the requests of
// the handshake, which are small and arrive whole, and one simple reply.

// commandName returns the name of the request that p begins with, or nil: "*2\r\n$3\r\nGET\r\n..." gives GET.
func commandName(p []byte) []byte {
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

// commandNames returns the names of the requests in p, in lower case and "client" with its subcommand, and whether the
// last of them is whole. It stops at the first one that cannot be a step of a handshake.
func commandNames(p []byte) (names []string, whole bool) {
	for len(p) > 0 {
		name := commandName(p)
		if name == nil {
			return names, false
		}
		first := strings.ToLower(string(name))
		if !isHandshakeName(first) {
			return append(names, first), true
		}
		args, rest, ok := parseCommand(p)
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

// parseCommand splits the first request in p into its arguments and returns what follows it.
func parseCommand(p []byte) (args []string, rest []byte, ok bool) {
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

// respCommand encodes a request.
func respCommand(args ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return b.Bytes()
}

// rewriteHello puts the credentials of another database into HELLO <version> [AUTH user password] [SETNAME name].
func rewriteHello(p []byte, as credentials) []byte {
	args, rest, ok := parseCommand(p)
	if !ok {
		// Not what go-redis writes. Passing it on could hand over another database's credentials.
		return append(respCommand("hello"), rest...)
	}
	head, tail := args[:min(2, len(args))], args[min(2, len(args)):]
	if len(tail) >= 3 && strings.EqualFold(tail[0], "auth") {
		tail = tail[3:]
	}
	rewritten := append([]string(nil), head...)
	if as.password != "" || as.username != "" {
		rewritten = append(rewritten, "auth", as.user(), as.password)
	}
	return append(respCommand(append(rewritten, tail...)...), rest...)
}

// rewriteAuth puts the credentials of another database into AUTH, in the form that servers without ACLs know if there
// is no user name.
func rewriteAuth(p []byte, as credentials) []byte {
	_, rest, _ := parseCommand(p)
	if as.username == "" {
		return append(respCommand("auth", as.password), rest...)
	}
	return append(respCommand("auth", as.username, as.password), rest...)
}

// rewriteSelect puts the index of another database into the SELECT at the head of p.
func rewriteSelect(p []byte, index int) []byte {
	_, rest, ok := parseCommand(p)
	if !ok {
		return p
	}
	return append(respCommand("select", strconv.Itoa(index)), rest...)
}

// readLine reads one simple reply, of which no byte more can be there, and returns it without its line end.
func readLine(r io.Reader) (string, error) {
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

// replyError makes the error that go-redis would have made of a reply, so that redis.IsAuthError and its like know it.
func replyError(text string) error {
	err := reflect.New(reflect.TypeOf(redis.Nil)).Elem()
	err.SetString(strings.TrimSpace(text))
	return err.Interface().(error)
}
