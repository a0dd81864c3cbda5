package traffic

import (
	"sync"
	"time"
)

// burstTime is how long after the first lost connection others may be lost to the same event.
const burstTime = time.Second

// burstCalm is how long after one event another one is taken for an event: what comes again sooner is trouble that goes on.
const burstCalm = 5 * time.Second

// burst tells the connections that one event has taken (a reset, a proxy that is restarted) from trouble that goes on. All that were
// open then may be lost once; they say no more together than the first of them. What is made after that, and lost again, does.
// When a lost connection was made is not known, and of those that were open some may stand. So no event hides trouble for longer than
// burstTime.
type burst struct {
	mu    sync.Mutex
	until time.Time
	left  int
}

// PartOfBurst reports whether a lost connection belongs to an event that was counted already. open is how many connections there were
// a moment ago.
func (b *burst) PartOfBurst(now time.Time, open int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !now.Before(b.until) {
		goesOn := now.Before(b.until.Add(burstCalm))
		b.until, b.left = now.Add(burstTime), open-1
		if goesOn {
			b.left = 0
		}
		return false
	}
	if b.left <= 0 {
		return false
	}
	b.left--
	return true
}
