// Package reply knows the replies by which a server, or a proxy in front of it, says that it cannot serve now. It sees texts
// only: what a reply means for a command, a connection or a database is decided above it.
package reply

import "strings"

// Meaning is what an error reply says about the request that it answers.
type Meaning int

const (
	// Answer: the server has done its part, whatever it says (WRONGTYPE, NOSCRIPT, a user's own error).
	Answer Meaning = iota
	// Refused: the server cannot serve now, and the request was certainly not executed.
	Refused
	// Doubtful: the server cannot serve now, and the request may have been executed: a proxy has lost its server.
	Doubtful
)

// String returns the name of the constant.
func (m Meaning) String() string {
	switch m {
	case Refused:
		return "cannot serve, not executed"
	case Doubtful:
		return "cannot serve, maybe executed"
	}
	return "answer"
}

// Scope is how much of the database a reply speaks for.
type Scope int

const (
	// Everything: no request is served, or any may meet the same.
	Everything Scope = iota
	// Writes: requests that only read are served.
	Writes
	// Key: the keys of this request are not served; others may be.
	Key
)

// Row is one line of the table: what a reply begins with, what it means, and where that is written.
type Row struct {
	// Code names the row in statistics and in the log: the first word of a reply of Redis, or PROXY.
	Code string
	// Text is what the reply begins with, without the ERR that may stand before it.
	Text string
	// Whole says that nothing may follow Text.
	Whole bool
	// Meaning and Scope as above.
	Meaning Meaning
	Scope   Scope
	// Stay says that the database is not left for this reply unless the user asks for it.
	Stay bool
	// Source is the file, in the source of the server or the proxy, that writes the reply.
	Source string
}

// Of returns the row that a reply matches. ok is false for an answer. The text is that of an error reply, without the dash.
func Of(text string) (row *Row, ok bool) {
	text = strings.TrimPrefix(text, "ERR ")
	for i := range table {
		row := &table[i]
		if row.Whole && text == row.Text || !row.Whole && strings.HasPrefix(text, row.Text) {
			return row, true
		}
	}
	if quotesReadOnly(text) {
		return &quotedReadOnly, true
	}
	return nil, false
}

// OfCode is Of for the reply to a request that runs code of a user's: a script, a function, a command of a module. Such code
// makes up replies of its own, and one that begins with TRYAGAIN is an answer. Only a text that the server itself writes counts.
func OfCode(text string) (row *Row, ok bool) {
	row, ok = Of(text)
	if !ok || row.Whole || row == &quotedReadOnly {
		return row, ok
	}
	bare, _, _ := strings.Cut(strings.TrimPrefix(text, "ERR "), " script: ")
	for _, known := range serverTexts {
		if strings.HasPrefix(bare, known) {
			return row, true
		}
	}
	return nil, false
}

// Inside reports that a reply comes out of a script or a transaction: what was executed before it stays.
func Inside(text string) bool {
	text = strings.TrimPrefix(text, "ERR ")
	return quotesReadOnly(text) || strings.Contains(text, "script: ") || strings.HasPrefix(text, "EXECABORT")
}

// Unread reports that a server gives the reply before it looks at what the request does, and never out of a script.
func Unread(text string) bool {
	text = strings.TrimPrefix(text, "ERR ")
	if strings.Contains(text, "script: ") {
		return false
	}
	for _, known := range unreadTexts {
		if strings.HasPrefix(text, known) {
			return true
		}
	}
	return false
}

// quotesReadOnly finds the READONLY that a script met, which Redis 6 and older quote inside an error of their own.
func quotesReadOnly(text string) bool {
	return strings.Contains(text, "-READONLY You can't write against a read only replica")
}
