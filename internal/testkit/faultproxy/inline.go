package faultproxy

import "strconv"

// splitInline splits an inline command as Redis does (sdssplitargs): at blanks, with "..." that knows escapes and '...' that
// knows \' only. Quotes must be closed and followed by a blank.
func splitInline(line string) (args []string, err error) {
	for i := 0; ; {
		for i < len(line) && isBlank(line[i]) {
			i++
		}
		if i == len(line) {
			return args, nil
		}
		var arg []byte
		for i < len(line) && !endsWord(line[i]) {
			if quote := line[i]; quote != '"' && quote != '\'' {
				arg = append(arg, line[i])
				i++
				continue
			}
			n, ok := 0, false
			if arg, n, ok = unquote(arg, line[i:]); !ok {
				return nil, errSyntax
			}
			if i += n; i < len(line) && !isBlank(line[i]) {
				return nil, errSyntax
			}
		}
		args = append(args, string(arg))
	}
}

// unquote appends what the quotes at the start of s hold, and returns the length of it all in s.
func unquote(arg []byte, s string) (_ []byte, n int, ok bool) {
	quote := s[0]
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == quote:
			return arg, i + 1, true
		case s[i] != '\\' || i+1 == len(s):
			arg = append(arg, s[i])
		case quote == '\'':
			if s[i+1] == '\'' {
				i++
			}
			arg = append(arg, s[i])
		default:
			i++
			if s[i] == 'x' && i+2 < len(s) {
				if b, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
					arg = append(arg, byte(b))
					i += 2
					continue
				}
			}
			arg = append(arg, unescape(s[i]))
		}
	}
	return arg, 0, false
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'a':
		return '\a'
	}
	return c
}

func isBlank(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// endsWord differs from isBlank by the vertical tab and the form feed, as in Redis.
func endsWord(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
