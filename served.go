package multidb

import (
	"errors"
)

// Endpoint is a database as the network knows it.
type Endpoint struct {
	// Database is its name.
	Database string
	// Network is "tcp" or "unix". Addr is its address. For a group watched by Sentinel it is that of the master
	// which was dialed last, and empty before the first dial. For a cluster it is empty.
	Network, Addr string
	// DB is the index that connections of the hook use there.
	DB int
}

// ServedBy returns the database that has served a request, for tracing. before is the choice before the request,
// err what the request ended with; a hook inside of ours has both, see [AttemptOf]. ok is false if nobody knows: a
// switch was made meanwhile, or no database is usable. So it is while a planned switch drains, if some session has
// gone on on the database before. It does not allocate. Safe for concurrent use.
func (h *Hook) ServedBy(before Choice, err error) (served Endpoint, ok bool) {
	if err != nil {
		var failed *CommandError
		if errors.As(err, &failed) {
			db := failed.database()
			if db == nil {
				return Endpoint{}, false
			}
			return Endpoint(db.Endpoint()), true
		}
	}
	// A connection of another database than the active one is refused at its gate, unless a session goes on there. So
	// without a switch and without such a session in between, the request was written to the active database.
	now := h.selector.Current()
	if now.Down || now.Number != before.Number || h.lateRequests.Load() != before.late {
		return Endpoint{}, false
	}
	return Endpoint(now.DB.Endpoint()), true
}
