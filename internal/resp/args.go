package resp

// Arg returns argument i of the request that p begins with, 0 being the name, and how many arguments the request has. It
// returns nil if p ends before the argument does. A negative i counts from the end: -1 is the last one. It allocates
// nothing.
func Arg(p []byte, i int) (arg []byte, args int) {
	if len(p) < 4 || p[0] != '*' {
		return nil, 0
	}
	at, args := length(p, 1)
	if at == 0 {
		return nil, 0
	}
	if i < 0 {
		i += args
	}
	for k := 0; k < args && at < len(p) && p[at] == '$'; k++ {
		next, size := length(p, at+1)
		if next == 0 || next+size > len(p) {
			break
		}
		if k == i {
			return p[next : next+size], args
		}
		at = next + size + 2
	}
	return nil, args
}
