package database

import (
	"slices"
	"sync"
	"time"
)

// Refusals remembers what has been logged of the replies by which a database refuses, and which keys were refused. Leaf lock,
// off the healthy path.
type Refusals struct {
	mu     sync.Mutex
	logged map[string]time.Time
	keys   []time.Time // when a piece of work had been refused for long, for its keys
}

// refusalLogInterval is the least time between two log lines about the same code of the same database.
const refusalLogInterval = time.Minute

// Due reports whether it is time for a log line about a code.
func (l *Refusals) Due(code string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if last, ok := l.logged[code]; ok && now.Sub(last) < refusalLogInterval {
		return false
	}
	if l.logged == nil {
		l.logged = make(map[string]time.Time)
	}
	l.logged[code] = now
	return true
}

// Keyed counts the pieces of work of the last second that were refused for their keys; one more says that this is another one.
func (l *Refusals) Keyed(oneMore bool, now time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keys = slices.DeleteFunc(l.keys, func(at time.Time) bool { return now.Sub(at) > time.Second })
	if oneMore {
		l.keys = append(l.keys, now)
	}
	return len(l.keys)
}
