package load

import "sync"

// Tally counts what callers were told, by key. Make it with NewTally. Safe for concurrent use, but read the fields only
// when the callers have ended.
type Tally struct {
	Count map[string]int64
	Errs  map[string]int // how often each error came

	mu sync.Mutex
}

// NewTally returns an empty tally.
func NewTally() *Tally { return &Tally{Count: make(map[string]int64), Errs: make(map[string]int)} }

// Add adds n to the count of the key, or notes the error.
func (l *Tally) Add(key string, n int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.Errs[err.Error()]++
		return
	}
	l.Count[key] += n
}
