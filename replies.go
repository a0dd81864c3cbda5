package multidb

// The user's word about what an error reply says of the database.

// ReplyMeaning is what an error reply says about the command and about the database that has sent it.
type ReplyMeaning int

const (
	// ReplyAnswer: the database has done its part, whatever it says. The caller gets the reply.
	ReplyAnswer ReplyMeaning = iota
	// ReplyRefused: the database cannot serve now, and the command was certainly not executed. It is run again, and a
	// database that goes on refusing is left.
	ReplyRefused
	// ReplyRefusedHere: the command was certainly not executed, and the caller gets the reply at once. It is counted, and the
	// database keeps its place. OOM means this by default: a full database refuses writes and serves reads.
	ReplyRefusedHere
	// ReplyDoubtful: the database cannot serve now, and the command may have been executed: a proxy has lost its server. It
	// is run again if its rung allows that, see Options.Replay. A database that goes on answering so is left.
	ReplyDoubtful
)

// String returns the name of the constant.
func (m ReplyMeaning) String() string {
	switch m {
	case ReplyAnswer:
		return "ReplyAnswer"
	case ReplyRefused:
		return "ReplyRefused"
	case ReplyRefusedHere:
		return "ReplyRefusedHere"
	case ReplyDoubtful:
		return "ReplyDoubtful"
	}
	return "ReplyMeaning(?)"
}
