package conn

import (
	"bytes"
	"time"

	"github.com/redishook/multidb/internal/resp"
)

// blockingTime returns how long a request may block by its own argument, and whether it may at all: XREAD only with BLOCK.
// 0 is for ever, and also what an argument means that is not understood or not there yet.
func blockingTime(p []byte) (time.Duration, bool) {
	name, args := resp.Arg(p, 0)
	var lower [maxPacked]byte
	for i, b := range name[:min(len(name), maxPacked)] {
		lower[i] = b | 0x20 // these names are letters
	}
	switch string(lower[:min(len(name), maxPacked)]) {
	case "xread", "xreadgroup":
		for i := 1; i < args; i++ {
			switch arg, _ := resp.Arg(p, i); {
			case arg == nil:
				return 0, true
			case bytes.EqualFold(arg, []byte("block")):
				ms, _ := resp.Arg(p, i+1)
				return number(ms, time.Millisecond), true
			case bytes.EqualFold(arg, []byte("streams")):
				return 0, false
			}
		}
		return 0, false
	case "wait", "waitaof":
		ms, _ := resp.Arg(p, -1)
		return number(ms, time.Millisecond), true
	case "blmpop", "bzmpop":
		seconds, _ := resp.Arg(p, 1)
		return number(seconds, time.Second), true
	}
	seconds, _ := resp.Arg(p, -1)
	return number(seconds, time.Second), true
}

// number reads a positive decimal number of units: digits with a fraction, or 0 for anything else.
func number(p []byte, unit time.Duration) time.Duration {
	n, scale, point := 0.0, 1.0, false
	for _, b := range p {
		switch {
		case b-'0' <= 9:
			if n = n*10 + float64(b-'0'); point {
				scale *= 10
			}
		case b == '.' && !point:
			point = true
		default:
			return 0
		}
	}
	if n /= scale; !(n <= 1e9) {
		return 0
	}
	return time.Duration(n * float64(unit))
}

// isWait reports whether a request is WAIT or WAITAOF.
func isWait(p []byte) bool {
	name, _ := resp.Arg(p, 0)
	return len(name) >= 4 && bytes.EqualFold(name[:4], []byte("wait"))
}
