package conn

import "time"

// What is outstanding on the connections of a database, as the monitor sees it.

// owesNow reports whether the connection owes a reply and is not silent by nature, as while a request of it may block.
func (c *Conn) owesNow() bool {
	if !c.countsDebts() {
		return false
	}
	_, blocks := c.ledger.Blocking()
	return !blocks
}

// countsDebts reports whether the connection owes a reply for certain. Where replies cannot be counted (after RESET, MONITOR),
// an idle connection looks like one that owes something.
func (c *Conn) countsDebts() bool {
	return c.ledger.Owed() > 0 && c.ledger.Exact() && !c.ledger.Subscribed()
}

// Oldest is the oldest reply that a connection owes.
type Oldest struct {
	ID  int64         // of the connection, by the reply to HELLO; 0: not known
	Age time.Duration // since it was first seen, at most; a request that may block counts from the end of its own time
}

// Oldest returns the reply that has been owed for longest, those left out whose request may block for ever or for longer.
// An age begins with the first call that has seen the debt, and begins anew whenever something is read, so it is never too
// long. Not for more than one goroutine.
func (s *Set) Oldest(now time.Time) (oldest Oldest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		if age := c.owesFor(now); age > oldest.Age {
			oldest = Oldest{c.id.Load(), age}
		}
	}
	return oldest
}

// CutSilent closes the connections that owe a reply for that long, as Oldest counts it. Not for more than one goroutine, which is that
// of Oldest.
func (s *Set) CutSilent(now time.Time, age time.Duration) {
	cutAll(s.matching(func(c *Conn) bool { return c.owesFor(now) >= age }))
}

// owesFor returns the age of the oldest reply that the connection owes, see Oldest.
func (c *Conn) owesFor(now time.Time) time.Duration {
	seen := c.ledger.Answered() + c.ledger.Reads()
	if !c.countsDebts() {
		c.owedSince = time.Time{} // what is owed the next time has not been owed until now
		return 0
	}
	if c.owedSince.IsZero() || seen != c.seen {
		c.seen, c.owedSince = seen, now
	}
	own, blocks := c.ledger.Blocking()
	if blocks && own == 0 {
		return 0
	}
	return now.Sub(c.owedSince) - own
}

// Waiting returns the connections of that term or before on which a request waits for something to come that may be run again
// elsewhere: by the address of their node (empty if the database is no cluster), their number in the reply to HELLO, which CLIENT
// UNBLOCK asks for. A connection is named once after the end of a
// term: one that blocks again is in the hands of a session. Connections without a number are left out.
func (s *Set) Waiting(term uint64) map[string][]int64 {
	ids := make(map[string][]int64)
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		number, alone := c.ledger.Awaits()
		if !alone || c.movable.Load() != number || c.admitted > term || c.unblocked == term || c.id.Load() == 0 {
			continue
		}
		c.unblocked = term
		ids[c.place.Addr] = append(ids[c.place.Addr], c.id.Load())
	}
	return ids
}
