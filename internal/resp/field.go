package resp

// Field returns the value of a field in a reply that is a map, or an array of names and values: the text of a string or a
// number. It finds simple fields of the first level only, which is what the reply to HELLO has.
func Field(reply []byte, name string) (value []byte, ok bool) {
	at, pairs := header(reply)
	if at == 0 || reply[0] != '%' && reply[0] != '*' {
		return nil, false
	}
	if reply[0] == '*' {
		pairs /= 2
	}
	for range pairs {
		key, next := scalar(reply, at)
		if next == 0 {
			return nil, false
		}
		value, end := scalar(reply, next)
		if string(key) == name {
			return value, end > next && value != nil
		}
		at = end
	}
	return nil, false
}

// header reads the header line that p begins with.
func header(p []byte) (next, size int) {
	if len(p) < 4 {
		return 0, 0
	}
	return length(p, 1)
}

// scalar returns the text of the value that begins at p[at:] and where the next one begins, or 0 if there is none. An
// aggregate has no text.
func scalar(p []byte, at int) (text []byte, next int) {
	if at >= len(p) {
		return nil, 0
	}
	var framer Replies
	n, kind := framer.Next(p[at:])
	if kind == 0 {
		return nil, 0
	}
	value := p[at : at+n]
	switch kind {
	case '+', ':':
		return value[1 : n-2], at + n
	case '$':
		if from, size := header(value); from > 0 {
			return value[from : from+size], at + n
		}
	}
	return nil, at + n
}
