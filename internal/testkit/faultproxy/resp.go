package faultproxy

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strconv"
)

// errSyntax says that the bytes are no RESP. The proxy then passes the rest of the stream on as it is: complaining is up to
// the other side.
var errSyntax = errors.New("faultproxy: not RESP")

const (
	maxLine = 1 << 20 // longer than any line that Redis takes (64 KiB) or sends
	maxBulk = 512 << 20
	maxLen  = 1<<31 - 1 // of an array
)

// request is a command as it came over the wire.
type request struct {
	raw  []byte
	args []string // empty: nothing that a server would answer, such as an empty line
}

// readRequest reads an array of bulk strings or an inline command. With an error, raw is what was read before it.
func readRequest(br *bufio.Reader) (request, error) {
	raw, line, err := readLine(br, nil)
	if err != nil {
		return request{raw: raw}, err
	}
	if line == "" || line[0] != '*' {
		args, err := splitInline(line)
		return request{raw, args}, err
	}
	n, ok := parseLen(line[1:], maxLen)
	if !ok {
		return request{raw: raw}, errSyntax
	}
	var ends []int // of the arguments within raw, in pairs with their starts: raw moves while it grows
	for range n {
		if raw, line, err = readLine(br, raw); err != nil {
			return request{raw: raw}, err
		}
		size, ok := 0, line != "" && line[0] == '$'
		if ok {
			size, ok = parseLen(line[1:], maxBulk)
		}
		if !ok || size < 0 {
			return request{raw: raw}, errSyntax
		}
		ends = append(ends, len(raw), len(raw)+size)
		if raw, err = readBytes(br, raw, size+2); err != nil { // Redis does not look at the final CRLF either
			return request{raw: raw}, err
		}
	}
	args := make([]string, 0, len(ends)/2)
	for pair := range slices.Chunk(ends, 2) {
		args = append(args, string(raw[pair[0]:pair[1]]))
	}
	return request{raw, args}, nil
}

// readReply reads one reply or push message of RESP2 or RESP3, with its attributes. With an error, it returns what it read
// before it.
func readReply(br *bufio.Reader) (raw []byte, err error) {
	for values := 1; values > 0; values-- {
		var line string
		if raw, line, err = readLine(br, raw); err != nil {
			return raw, err
		}
		if line == "" {
			return raw, errSyntax
		}
		var (
			n  int
			ok bool // a type that this function does not know is not
		)
		switch line[0] {
		case '+', '-', ':', '_', '#', ',', '(':
			continue
		case '$', '=', '!':
			if n, ok = parseLen(line[1:], maxBulk); ok && n >= 0 {
				raw, err = readBytes(br, raw, n+2)
			}
		case '*', '~', '>':
			n, ok = parseLen(line[1:], maxLen)
			values += max(n, 0)
		case '%':
			n, ok = parseLen(line[1:], maxLen)
			values += 2 * max(n, 0)
		case '|': // attributes come before a value and are none
			n, ok = parseLen(line[1:], maxLen)
			values += 2*max(n, 0) + 1
		}
		if err == nil && !ok {
			err = errSyntax
		}
		if err != nil {
			return raw, err
		}
	}
	return raw, nil
}

// readLine appends a line to raw and returns it without its end as well.
func readLine(br *bufio.Reader, raw []byte) ([]byte, string, error) {
	start := len(raw)
	for {
		part, err := br.ReadSlice('\n')
		raw = append(raw, part...)
		if len(raw)-start > maxLine {
			return raw, "", errSyntax
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return raw, "", err
		}
		line := raw[start : len(raw)-1]
		if n := len(line); n > 0 && line[n-1] == '\r' {
			line = line[:n-1]
		}
		return raw, string(line), nil
	}
}

// readBytes appends n bytes to raw. It makes room as they come: a length that somebody claims is not worth 512 MiB.
func readBytes(br *bufio.Reader, raw []byte, n int) ([]byte, error) {
	for n > 0 {
		step := min(n, max(len(raw), 64<<10))
		raw = slices.Grow(raw, step)
		got, err := io.ReadFull(br, raw[len(raw):len(raw)+step])
		raw = raw[:len(raw)+got]
		if err != nil {
			return raw, err
		}
		n -= step
	}
	return raw, nil
}

// parseLen reads a length up to limit. -1 is a null.
func parseLen(s string, limit int) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= -1 && n <= limit
}
