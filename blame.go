package multidb

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"weak"

	"github.com/redishook/multidb/internal/health"
	"github.com/redishook/multidb/internal/traffic"
)

// Which database an error is about. A CommandError holds the number of its database and not the database: errors are values
// that everybody may print, walk or compare, and behind a database are its options, with the password, and state that changes.

// databases are the databases of this process by number. They keep none alive.
var databases struct {
	byID sync.Map // of weak.Pointer[database]
	last atomic.Uint64
}

// number gives a database its number.
func (db *database) number() {
	db.id = databases.last.Add(1)
	databases.byID.Store(db.id, weak.Make(db))
	runtime.AddCleanup(db, func(id uint64) { databases.byID.Delete(id) }, db.id)
}

// database returns the one on which the command failed, whatever has its name now. It is nil if there was none, or if it has
// been removed and nothing leads to it any more.
func (e *CommandError) database() *database {
	if db, ok := databases.byID.Load(e.id); ok {
		return db.(weak.Pointer[database]).Value()
	}
	return nil
}

// forgotten stands for a database that nothing leads to any more: what is counted there, nobody reads.
func forgotten() *database {
	db := &database{traffic: traffic.New(nil)}
	db.health = health.New(context.Background(), health.Config{}, nil, db.traffic, nil, nil)
	db.health.Remove()
	return db
}
