package multidb

import (
	"strconv"
	"time"
)

// argv are the arguments of a command as go-redis holds them, the name first.
type argv []any

// text returns argument i as go-redis writes it to the server. It is not ok for an argument that is missing, or of a
// type whose text only its own code knows: such an argument may say anything, and callers must assume the worst.
func (a argv) text(i int) (string, bool) {
	if i < 0 || i >= len(a) {
		return "", false
	}
	switch v := a[i].(type) {
	case nil:
		return "", true
	case string:
		return v, true
	case []byte:
		return string(v), true
	case *string:
		if v == nil {
			return "", true
		}
		return *v, true
	case int:
		return strconv.Itoa(v), true
	case int8:
		return strconv.FormatInt(int64(v), 10), true
	case int16:
		return strconv.FormatInt(int64(v), 10), true
	case int32:
		return strconv.FormatInt(int64(v), 10), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case uint:
		return strconv.FormatUint(uint64(v), 10), true
	case uint8:
		return strconv.FormatUint(uint64(v), 10), true
	case uint16:
		return strconv.FormatUint(uint64(v), 10), true
	case uint32:
		return strconv.FormatUint(uint64(v), 10), true
	case uint64:
		return strconv.FormatUint(v, 10), true
	case float32:
		return strconv.FormatFloat(float64(v), 'f', -1, 64), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case bool:
		if v {
			return "1", true
		}
		return "0", true
	case time.Duration:
		return strconv.FormatInt(v.Nanoseconds(), 10), true
	default:
		return "", false
	}
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

// lower is strings.ToLower for what the server compares: ASCII only, where strings.ToLower also folds the Kelvin sign
// to a k.
func lower(s string) string {
	for i := 0; i < len(s); i++ {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
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
		s = lower(s)
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
