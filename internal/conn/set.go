package conn

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb/internal/callback"
)

// Owner is whoever has a database, as its connections see it. The methods are called without a lock, from any goroutine, on
// the way of every request: they must be safe for concurrent use and must not block.
type Owner interface {
	// Open reports whether new requests may be written here, and whether they may be written to any database.
	Open() (here, somewhere bool)
	// Outstanding is told that something is outstanding now: a request, or a dial.
	Outstanding()
	// LateRequest is told that a session has written a request although the database has lost its place.
	LateRequest()
	// Replied is told how long the first byte of a reply took, if Config.Timed is set.
	Replied(took time.Duration)
	// Suspect is told that a connection was lost, with an error that Fail has made.
	Suspect(err error)
	// Fail makes the error of a request that failed: at which node (see [Place]; empty if there is none), whether it was sent,
	// and why.
	Fail(node string, sent bool, cause error) error
	// WatchConnect is told that a dial or a handshake begins. over reports whether it is over; stop ends the watch.
	WatchConnect(what string, over func() bool) (stop func())
	// IndexConflict is told, once for a client, that the client selects another index than the database names.
	IndexConflict(own int, client string)
}

// Config is what the connections of one database have in common. It must not be changed.
type Config struct {
	Options   *redis.Options // how the database is dialed and logged in to
	DialLimit int            // dials at the same time; 0 or less: no limit
	Timed     bool           // replies are timed, see Owner.Replied
	Classes   *Table         // what requests are; nil: nothing is known to be harmless

	// Moves reports, on the call stack of a request that may block, whether whoever sends it runs it again if it ends without
	// a result before its time. nil: nobody does.
	Moves func() bool

	// Successor returns the connections and the term of the database to which connections of PubSubs move now. It is their own if
	// they stay, and nil if there is none. nil: they are closed in a planned switch.
	Successor func() (*Set, *Term)

	NoDatabase error // why a request is refused while no database may be written to

	// Question is a request that no server knows. A connection answers it by itself, with the error Answer.
	Question []byte
	Answer   error
}

// Term is the time during which one database is the one to dial.
type Term struct {
	Number uint64
	Ctx    context.Context // ends with the term
}

// Current reports whether the term is not over.
func (t *Term) Current() bool { return t.Ctx.Err() == nil }

// Set is the connections of one database. Safe for concurrent use.
type Set struct {
	owner      Owner
	cfg        Config
	clockStart time.Time
	dialing    chan struct{} // a place for each dial under way; nil: no limit

	draining atomic.Bool            // the database has lost its place as planned, and sessions may still finish
	left     atomic.Uint64          // the last term that was given up: the drain that belongs to that one ends the draining
	role     atomic.Pointer[string] // what HELLO has said last
	master   atomic.Pointer[string] // where the last dial by way of Sentinel led
	underWay atomic.Int64           // dials that have not ended
	tracked  atomic.Bool            // a client with a cache has made a connection

	strays callback.Strays // dialers and providers that nobody waits for any more

	mu       sync.Mutex // leaf lock: nothing is called with it held
	open     map[*Conn]struct{}
	dialed   uint64
	reads    uint64 // of connections that are closed
	requests uint64 // of connections that are closed
}

// NewSet makes a set without a connection.
func NewSet(cfg Config, owner Owner) *Set {
	s := &Set{owner: owner, cfg: cfg, clockStart: time.Now(), open: make(map[*Conn]struct{})}
	if cfg.DialLimit > 0 {
		s.dialing = make(chan struct{}, cfg.DialLimit)
	}
	return s
}

// Mutex returns the lock of the set, for a test that looks whether it is held where it must not be.
func (s *Set) Mutex() *sync.Mutex { return &s.mu }

// Leave notes that the database has lost its place with the term of that number. drain says whether sessions may go on.
func (s *Set) Leave(number uint64, drain bool) {
	s.draining.Store(drain)
	s.left.Store(number)
}

// Draining reports whether the database has lost its place and sessions may go on.
func (s *Set) Draining() bool { return s.draining.Load() }

// EndDrain ends the drain that began with the end of a term, and closes what is left of it. It does nothing if the database
// has been left again since: that drain has just begun. Nor does it if the database is in use again, which may happen at any moment:
//
//  1. what is about to be closed is lent to nobody any more;
//  2. if the database is in use by then, nothing is closed: somebody may have been lent a connection before 1;
//  3. if it is not, whoever comes later is lent other connections, and these can be closed.
func (s *Set) EndDrain(number uint64) {
	if s.left.Load() != number {
		return
	}
	closing := s.matching(func(c *Conn) bool { return c.admitted <= number })
	for _, c := range closing {
		c.closing.Store(true)
	}
	if here, _ := s.owner.Open(); here || s.left.Load() != number {
		for _, c := range closing {
			c.closing.Store(false)
		}
		return
	}
	s.draining.Store(false)
	for _, c := range closing {
		c.refused.CompareAndSwap(nil, &connFailure{cause: errNotActive}) // where go-redis' pool asks nobody before it lends
	}
	cutAll(closing)
}

// Cut closes the connections dialed in that term or before. Reads that are blocked on them wake up.
func (s *Set) Cut(number uint64) {
	cutAll(s.matching(func(c *Conn) bool { return c.admitted <= number }))
}

// CutStuck is Cut for connections of pub/sub, and for those whose handshake is not over: nobody may be answering it.
func (s *Set) CutStuck(number uint64) {
	cutAll(s.matching(func(c *Conn) bool {
		return c.admitted <= number && (c.ledger.Subscribed() || c.ungreeted())
	}))
}

// CutAll closes all connections.
func (s *Set) CutAll() { cutAll(s.matching(func(*Conn) bool { return true })) }

func cutAll(conns []*Conn) {
	for _, c := range conns {
		c.cut()
	}
}

// Master returns where the last dial by way of Sentinel led; empty if there was none.
func (s *Set) Master() string {
	if master := s.master.Load(); master != nil {
		return *master
	}
	return ""
}

// Role returns what the reply to HELLO has said last: "master" or "replica"; empty if it has said nothing.
func (s *Set) Role() string {
	if role := s.role.Load(); role != nil {
		return *role
	}
	return ""
}

// admit registers a connection dialed during a term, unless the term is over: then it must not be used. The check is made
// under the lock that Cut takes after a switch: either Cut finds the connection, or the check finds the switch.
func (s *Set) admit(c *Conn, t *Term) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !t.Current() {
		return false
	}
	c.admitted = t.Number
	s.open[c] = struct{}{}
	s.dialed++
	if c.sub != nil && c.sub.early.Load() {
		c.pubsub.Store(true)
	} else {
		c.hello.client.pooled.Add(1)
	}
	return true
}

// subscribed notes that a connection is a subscription's, and so in no pool.
func (s *Set) subscribed(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.open[c]; ok && !c.pubsub.Load() {
		c.hello.client.pooled.Add(-1)
	}
	c.pubsub.Store(true)
}

func (s *Set) forget(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.open[c]; ok {
		delete(s.open, c)
		s.reads += c.ledger.Reads()
		s.requests += c.ledger.Written()
		if !c.pubsub.Load() {
			c.hello.client.pooled.Add(-1)
		}
	}
}

// matching returns the open connections for which want is true.
func (s *Set) matching(want func(*Conn) bool) []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*Conn
	for c := range s.open {
		if want(c) {
			found = append(found, c)
		}
	}
	return found
}

// Progress returns how often anything was read from the database, and whether a request is outstanding.
func (s *Set) Progress() (reads uint64, outstanding bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	reads = s.reads
	outstanding = s.underWay.Load() > 0 // a way that leads nowhere swallows the first packet of a dial as well
	for c := range s.open {
		reads += c.ledger.Reads()
		outstanding = outstanding || c.owesNow()
	}
	return reads, outstanding
}

// Tracked reports whether a connection was made for a client that caches: go-redis asks for CLIENT TRACKING there.
func (s *Set) Tracked() bool { return s.tracked.Load() }

// Requests returns how many requests were written to the database, those of handshakes included.
func (s *Set) Requests() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	requests := s.requests
	for c := range s.open {
		requests += c.ledger.Written()
	}
	return requests
}

// Count returns how many connections are open, and how many were dialed altogether.
func (s *Set) Count() (open int, dialed uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open), s.dialed
}
