package database

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"weak"

	"github.com/redishook/multidb/internal/health"
	"github.com/redishook/multidb/internal/traffic"
)

// An error holds the number of its database and not the database: errors are values that everybody may print, walk or compare,
// and behind a database are its options, with the password, and state that changes.

// databases are the databases of this process by number. They keep none alive.
var databases struct {
	byID sync.Map // of weak.Pointer[Database]
	last atomic.Uint64
}

// number gives a database its number.
func (db *Database) number() {
	db.ID = databases.last.Add(1)
	databases.byID.Store(db.ID, weak.Make(db))
	runtime.AddCleanup(db, func(id uint64) { databases.byID.Delete(id) }, db.ID)
}

// Find returns the database of that number, whatever has its name now. It is nil if there was none, or if it has been removed and
// nothing leads to it any more.
func Find(id uint64) *Database {
	if db, ok := databases.byID.Load(id); ok {
		return db.(weak.Pointer[Database]).Value()
	}
	return nil
}

// Forgotten stands for a database that nothing leads to any more: what is counted there, nobody reads.
func Forgotten() *Database {
	db := &Database{Traffic: traffic.New(nil)}
	db.Health = health.New(context.Background(), health.Config{}, nil, db.Traffic, nil, nil)
	db.Health.Remove()
	return db
}
