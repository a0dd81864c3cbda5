package scripted

import (
	"strconv"
	"strings"
)

// The replies that a script is made of.

// OK is the reply of a command that has nothing to say.
const OK = "+OK\r\n"

// Queued is the reply to a command between MULTI and EXEC.
const Queued = "+QUEUED\r\n"

// Error is an error reply, such as "WRONGTYPE Operation against ...".
func Error(text string) string { return "-" + text + "\r\n" }

// Int is an integer.
func Int(n int) string { return ":" + strconv.Itoa(n) + "\r\n" }

// Bulk is a string of any bytes.
func Bulk(s string) string { return "$" + strconv.Itoa(len(s)) + "\r\n" + s + "\r\n" }

// Array is an array of replies.
func Array(replies ...string) string {
	return "*" + strconv.Itoa(len(replies)) + "\r\n" + strings.Join(replies, "")
}

// Push is a push of RESP3.
func Push(replies ...string) string { return ">" + Array(replies...)[1:] }

// Nil is the null of the protocol of the request.
func (r Request) Nil() string {
	if r.Protocol == 3 {
		return "_\r\n"
	}
	return "$-1\r\n"
}

// NilArray is the null of a command that answers with an array.
func (r Request) NilArray() string {
	if r.Protocol == 3 {
		return "_\r\n"
	}
	return "*-1\r\n"
}

// Map is a map in the form of the protocol of the request; keys are strings, and each is followed by its reply.
func (r Request) Map(pairs ...string) string {
	var b strings.Builder
	if r.Protocol == 3 {
		b.WriteString("%" + strconv.Itoa(len(pairs)/2) + "\r\n")
	} else {
		b.WriteString("*" + strconv.Itoa(len(pairs)) + "\r\n")
	}
	for i := 0; i < len(pairs); i += 2 {
		b.WriteString(Bulk(pairs[i]) + pairs[i+1])
	}
	return b.String()
}
