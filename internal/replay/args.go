package replay

import (
	"strconv"

	"github.com/redishook/multidb/internal/resp"
)

// argv are the arguments of a command as go-redis holds them, the name first.
type argv []any

// text returns argument i as go-redis writes it to the server. It is not ok for an argument that is missing, or whose text
// is not known, see [resp.Text].
func (a argv) text(i int) (string, bool) {
	if i < 0 || i >= len(a) {
		return "", false
	}
	return resp.Text(a[i])
}

// number returns argument i as an integer.
func (a argv) number(i int) (int64, bool) {
	s, ok := a.text(i)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// same says whether arguments i and j are, or may be, the same text.
func (a argv) same(i, j int) bool {
	s, ok := a.text(i)
	t, ok2 := a.text(j)
	return !ok || !ok2 || s == t
}

// options are the options a command knows, in lower case, with the number of operands that follow each.
type options map[string]int

// given holds the options found: where each stands.
type given map[string]int

func (g given) any(names ...string) bool {
	for _, name := range names {
		if _, ok := g[name]; ok {
			return true
		}
	}
	return false
}

// parse reads the options from position i to the end, as the server does: by position, so that an operand that looks
// like an option is none. It is not ok when anything is not understood, a missing operand included.
func (o options) parse(a argv, i int) (given, bool) {
	if i > len(a) {
		return nil, false
	}
	var found given
	for i < len(a) {
		s, ok := a.text(i)
		if !ok {
			return nil, false
		}
		s = resp.Lower(s)
		operands, ok := o[s]
		if !ok {
			return nil, false
		}
		next := i + 1 + operands
		if operands == countedFields || operands == countedPairs {
			n, ok := a.number(i + 1)
			if !ok || n < 1 || n > int64(len(a)) {
				return nil, false
			}
			next = i + 2 + int(n)*-operands
		}
		if next > len(a) {
			return nil, false
		}
		if found == nil {
			found = make(given, 2)
		}
		found[s] = i
		i = next
	}
	return found, true
}

// Operand counts of FIELDS, which says itself how many follow: n fields, or n pairs of field and value.
const (
	countedFields = -1
	countedPairs  = -2
)
