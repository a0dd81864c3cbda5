package runner

// ordinary reports that a command is none of the handshake and never waits, by the length and the first letter of its name alone.
// It is on the way of every command. False says nothing: whoever wants to know looks closer.
func ordinary(args []any) bool {
	if len(args) == 0 {
		return false
	}
	name, ok := args[0].(string)
	if !ok || len(name) == 0 {
		return false
	}
	return len(name) >= len(notOrdinary) || notOrdinary[len(name)]>>(name[0]&31)&1 == 0
}

// notOrdinary has, by the length of a name, a bit for each first letter of the names that are looked at closer. They are those of
// goredis.IsHandshake and replay.MayWait.
var notOrdinary = func() (letters [16]uint32) {
	for _, name := range []string{
		"hello", "auth", "select", "readonly", "reset", "quit", "client",
		"blpop", "brpop", "blmove", "blmpop", "bzmpop", "bzpopmin", "bzpopmax", "brpoplpush", "xread", "xreadgroup",
	} {
		letters[len(name)] |= 1 << (name[0] & 31)
	}
	return letters
}()
