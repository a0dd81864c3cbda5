package multidb

import "github.com/redishook/multidb/internal/database"

// Which database an error is about. A CommandError holds the number of its database and not the database: errors are values
// that everybody may print, walk or compare, and behind a database are its options, with the password, and state that changes.

// database returns the one on which the command failed, whatever has its name now. It is nil if there was none, or if it has
// been removed and nothing leads to it any more.
func (e *CommandError) database() *database.Database { return database.Find(e.id) }
