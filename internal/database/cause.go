package database

import "strings"

// causeAt is a cause with the address of the database, which most causes do not name by themselves.
type causeAt struct {
	addr string
	err  error
}

// Locate adds the address of the database to a cause that does not have it.
func (db *Database) Locate(cause error) error {
	addr := db.Endpoint().Addr
	if cause == nil || addr == "" || strings.Contains(cause.Error(), addr) {
		return cause
	}
	return &causeAt{addr, cause}
}

func (e *causeAt) Error() string { return e.addr + ": " + e.err.Error() }
func (e *causeAt) Unwrap() error { return e.err }
