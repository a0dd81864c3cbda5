package multidb

// SessionDead reports whether err is go-redis' own error of a request on a Conn or a Tx whose connection was lost with an
// earlier request: this one was not sent. Only hooks inside of ours see it, for what ours returns is a [*CommandError]. An
// earlier one that was sent is behind it, and is not about this request. Safe for concurrent use.
func SessionDead(err error) bool { return isSessionDead(err) }
