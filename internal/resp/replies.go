package resp

// Replies finds where each reply of a RESP2 or RESP3 stream ends, in pieces cut at any byte. It allocates nothing, and a
// bulk string costs the same whatever its length: the payload is skipped by number.
//
// An aggregate needs one number, however deep it is nested: how many elements have not begun yet. An element that is an
// aggregate itself takes one away and adds its own. An attribute ('|') adds its pairs and takes nothing away, because
// the value that it belongs to is still to come.
//
// The zero value is at the beginning of a stream. Not safe for concurrent use: a connection has one reader.
type Replies struct {
	skip int64 // bytes of a bulk string, its line end included, that are still to come
	open int64 // elements of the reply under way that have not begun; 0 between two replies
	size int64 // the number in the header line under way

	kind byte // the type of the reply under way; 0 while there are only attributes of it
	head byte // the type of the line under way; 0 between two lines
	cr   bool // the last byte of the line under way was '\r'
	sign byte // of the number: '+', '-' or 0
	num  byte // what the number is like so far: see the constants
	lost bool // the stream is not RESP: nothing can be said any more

	named bool // arrays are named as well as pushes
	slow  bool // the name of the reply under way is being looked for
	first bool // its first element is being read
	size0 uint8
	name  [maxName]byte
	last  int64 // the last integer of a named reply
}

// maxName is the longest name of a message that matters: "punsubscribe" and "sunsubscribe".
const maxName = 12

// The states of a number.
const (
	numNone  = iota // no digit yet
	numGood         // digits
	numWrong        // something else
)

// maxSize is the largest count or length that is taken for one. The server's own limit of a bulk string is 512 MB.
const maxSize = 1 << 40

// Push is the type byte of a message that no request has asked for.
const Push = '>'

// NameArrays makes Name and Number hold for arrays as well as for pushes: with RESP2, messages come as arrays.
func (r *Replies) NameArrays() { r.named = true }

// Lost reports that the stream is not RESP as go-redis reads it. Next finds nothing any more.
func (r *Replies) Lost() bool { return r.lost }

// Idle reports that the stream is between two replies.
func (r *Replies) Idle() bool { return r.open == 0 && r.skip == 0 && r.head == 0 && !r.lost }

// InPush reports that the stream is within a push.
func (r *Replies) InPush() bool {
	return r.kind == Push || r.kind == 0 && r.open == 1 && r.head == Push
}

// Name is the first element of the push that Next has returned last, if it is a short string, or else empty. The bytes
// are valid until Next is called again.
func (r *Replies) Name() []byte { return r.name[:r.size0] }

// Number is the last integer of the push that Next has returned last.
func (r *Replies) Number() int64 { return r.last }

// Next reads p up to the end of the next reply. It returns how many bytes that takes and the type byte of the reply; if p
// ends first, all of p and 0.
func (r *Replies) Next(p []byte) (n int, kind byte) {
	if r.open == 0 && r.skip == 0 && r.head == 0 && !r.lost {
		if n, kind = short(p); kind != 0 {
			return n, kind
		}
	}
	return r.next(p)
}

// short reads a reply that is one line or one bulk string and is in p as a whole, which needs no state. kind is 0 if that is
// not so.
func short(p []byte) (n int, kind byte) {
	if len(p) < 3 {
		return 0, 0
	}
	switch kind = p[0]; kind {
	case '+', '-', ':', '_', ',', '#', '(':
		for i := 1; i < len(p); i++ {
			if p[i] == '\n' {
				if p[i-1] == '\r' {
					return i + 1, kind
				}
				return 0, 0
			}
		}
	case '$':
		if i, size := length(p, 1); i > 0 && i+size+2 <= len(p) {
			return i + size + 2, kind
		}
	}
	return 0, 0
}

// length reads a number of up to nine digits and its line end, from p[i] on. It returns where the next line begins, or 0
// if the line is not of this form or not all in p.
func length(p []byte, i int) (next, size int) {
	last := min(len(p)-1, i+10)
	for j := i; j < last; j++ {
		d := p[j] - '0'
		if d <= 9 {
			size = size*10 + int(d)
			continue
		}
		if j > i && p[j] == '\r' && p[j+1] == '\n' {
			return j + 2, size
		}
		break
	}
	return 0, 0
}

// next is Next with the state.
func (r *Replies) next(p []byte) (n int, kind byte) {
	if r.lost {
		return len(p), 0
	}
	i := 0
	for {
		if r.skip > 0 {
			if r.first {
				r.keepName(p[i:])
			}
			if rest := int64(len(p) - i); r.skip > rest {
				r.skip -= rest
				return len(p), 0
			}
			i += int(r.skip)
			r.skip = 0
			if r.open == 0 {
				return i, r.end()
			}
		}
		if i == len(p) {
			return i, 0
		}
		if r.open == 0 && r.head == 0 {
			r.begin()
		}
		if r.head == 0 && r.kind != 0 && !r.slow {
			i = r.elements(p, i)
			if r.open == 0 && r.skip == 0 {
				return i, r.end()
			}
			if r.skip > 0 {
				continue
			}
			if i == len(p) {
				return i, 0
			}
		}
		if i += r.line(p[i:]); r.lost {
			return len(p), 0
		}
		if r.head == 0 && r.open == 0 && r.skip == 0 {
			return i, r.end()
		}
	}
}

// begin begins a reply.
func (r *Replies) begin() {
	r.open, r.kind = 1, 0
	r.size0, r.last, r.first, r.slow = 0, 0, false, false
}

// end ends the reply under way.
func (r *Replies) end() byte {
	kind := r.kind
	r.kind, r.slow, r.first = 0, false, false
	return kind
}

// elements reads elements that are in p with their whole header line, the common case, and stops at the end of the reply,
// at a bulk string that goes on after p, or at anything else, which is for line.
func (r *Replies) elements(p []byte, i int) int {
	open := r.open
	for open > 0 && i < len(p) {
		switch p[i] {
		case '$':
			next, size := length(p, i+1)
			if next == 0 {
				r.open = open
				return i
			}
			open--
			if i = next + size + 2; i > len(p) {
				r.skip = int64(i - len(p))
				i = len(p)
			}
		case ':', '+', '_', ',', '#', '(', '-':
			n, kind := short(p[i:])
			if kind == 0 {
				r.open = open
				return i
			}
			open--
			i += n
		default:
			r.open = open
			return i
		}
	}
	r.open = open
	return i
}

// line reads a header line, or as much of it as there is, and returns how many bytes that takes.
func (r *Replies) line(p []byte) int {
	i := 0
	if r.head == 0 {
		switch p[0] {
		case '+', '-', ':', '_', ',', '#', '(', '$', '=', '!', '*', '~', '%', '>', '|':
		default:
			r.lost = true
			return 1
		}
		r.head, r.cr, r.size, r.sign, r.num = p[0], false, 0, 0, numNone
		i = 1
	}
	for ; i < len(p); i++ {
		b := p[i]
		switch {
		case b == '\n':
			if !r.cr {
				r.lost = true
			} else {
				r.header()
			}
			return i + 1
		case r.cr:
			r.num = numWrong // a '\r' inside
		}
		if r.cr = b == '\r'; r.cr {
			continue
		}
		switch {
		case b-'0' <= 9 && r.num != numWrong && r.size < maxSize:
			r.size, r.num = r.size*10+int64(b-'0'), numGood
		case (b == '-' || b == '+') && r.num == numNone && r.sign == 0:
			r.sign = b
		default:
			r.num = numWrong
		}
		if r.first && r.head == '+' {
			if r.size0 == maxName {
				r.first, r.size0 = false, 0
				continue
			}
			r.name[r.size0] = b
			r.size0++
		}
	}
	return i
}

// header acts on a header line that is whole.
func (r *Replies) header() {
	head := r.head
	r.head = 0
	top := r.kind == 0 && r.open == 1 && head != '|'
	if top {
		r.kind = head
	}
	if r.first && head != '$' {
		r.first = false
	}
	size := r.size
	if r.sign == '-' {
		size = -size
	}
	switch head {
	case '+', '-', '_', ',', '#', '(', ':':
		r.open--
		if head == ':' && r.slow {
			r.last = size
		}
		return
	}
	if r.num != numGood || size < -1 || size > maxSize {
		r.lost = true
		return
	}
	none := size == -1
	switch head {
	case '$', '=', '!':
		r.open--
		if !none {
			r.skip = size + 2
			if r.first {
				r.first = size <= maxName
				r.size = size // of the name, see keepName
			}
		} else {
			r.first = false
		}
		return
	}
	if none {
		size = 0
	}
	if head == '%' || head == '|' {
		size *= 2
	}
	if head != '|' {
		size--
	}
	if r.open += size; r.open > 1<<60 {
		r.lost = true
		return
	}
	if top && (head == '>' || r.named && head == '*') {
		r.slow, r.first = true, r.open > 0
	}
}

// keepName keeps what p has of the name that is being skipped.
func (r *Replies) keepName(p []byte) {
	want := int(r.size) - int(r.size0)
	r.size0 += uint8(copy(r.name[r.size0:int(r.size)], p[:min(want, len(p))]))
	if int(r.size0) == int(r.size) {
		r.first = false
	}
}
