package multidb

import "strings"

// causeAt is a cause with the address of the database, which most causes do not name by themselves.
type causeAt struct {
	addr string
	err  error
}

// at adds the address of the database to a cause that does not have it.
func (db *database) at(cause error) error {
	addr := db.endpoint().Addr
	if cause == nil || addr == "" || strings.Contains(cause.Error(), addr) {
		return cause
	}
	return &causeAt{addr, cause}
}

func (e *causeAt) Error() string { return e.addr + ": " + e.err.Error() }
func (e *causeAt) Unwrap() error { return e.err }
