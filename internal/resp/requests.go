package resp

import "encoding/binary"

// Requests finds where each request of a stream begins and ends, in pieces cut at any byte: arrays of bulk strings, which is
// what go-redis writes. It allocates nothing and skips arguments by their length.
//
// The zero value is at the beginning of a stream. Not safe for concurrent use: a connection has one writer.
type Requests struct {
	skip int64 // bytes of an argument, its line end included, that are still to come
	open int64 // arguments of the request under way that have not begun; 0 between two requests
	size int64 // the number in the header line under way
	head byte  // '*' or '$' while a header line is under way
	lost bool  // the stream is no sequence of requests
}

// Lost reports that the stream is none of requests in RESP. Next finds nothing any more.
func (r *Requests) Lost() bool { return r.lost }

// Idle reports that the stream is between two requests.
func (r *Requests) Idle() bool { return r.open == 0 && r.skip == 0 && r.head == 0 && !r.lost }

// Next reads p up to the end of the request under way. It returns how many bytes that takes and whether the request ends
// there; if p ends first, all of p and false.
func (r *Requests) Next(p []byte) (n int, ends bool) {
	if r.Idle() {
		if n, _, _ := Whole(p); n > 0 {
			return n, true
		}
	}
	i := 0
	if r.lost {
		return len(p), false
	}
	for {
		if r.skip > 0 {
			if rest := int64(len(p) - i); r.skip > rest {
				r.skip -= rest
				return len(p), false
			}
			i += int(r.skip)
			if r.skip = 0; r.open == 0 {
				return i, true
			}
		}
		if i == len(p) {
			return i, false
		}
		if r.head == 0 {
			want := byte('$')
			if r.open == 0 {
				want = '*'
			}
			if r.head, r.size = p[i], 0; r.head != want {
				r.lost = true
				return len(p), false
			}
			i++
		}
		for i < len(p) && p[i] != '\n' {
			switch b := p[i]; {
			case b-'0' <= 9 && r.size < maxSize:
				r.size = r.size*10 + int64(b-'0')
			case b != '\r':
				r.lost = true
				return len(p), false
			}
			i++
		}
		if i == len(p) {
			return i, false
		}
		i++
		if r.head == '*' {
			r.open = r.size
			if r.head = 0; r.open == 0 {
				return i, true // "*0\r\n" is passed over by a server, and asks for no reply
			}
			continue
		}
		r.head, r.skip = 0, r.size+2
		r.open--
	}
}

// Whole returns the length of the request that p begins with, its name, and how many arguments it has, the name included. The length
// is 0 if p does not hold all of it. It is 0 as well for what Requests must look at: a header of more than nine digits, no argument.
func Whole(p []byte) (n int, name []byte, args int) {
	if len(p) < 4 || p[0] != '*' {
		return 0, nil, 0
	}
	// Nearly all numbers have one digit, and their headers are one word.
	at, args := 4, int(p[1]-'0')
	if uint(args) > 9 || p[2] != '\r' || p[3] != '\n' {
		at, args = length(p, 1)
	}
	if at == 0 || args == 0 {
		return 0, nil, 0
	}
	for i := args; i > 0; i-- {
		if at+4 > len(p) {
			return 0, nil, 0
		}
		header := binary.LittleEndian.Uint32(p[at:])
		if byte(header) != '$' {
			return 0, nil, 0
		}
		next, size := at+4, int(byte(header>>8)-'0')
		if size > 9 || header>>16 != '\r'|'\n'<<8 {
			if next, size = length(p, at+1); next == 0 {
				return 0, nil, 0
			}
		}
		if at = next + size + 2; at > len(p) {
			return 0, nil, 0
		}
		if i == args {
			name = p[next : next+size]
		}
	}
	return at, name, args
}
