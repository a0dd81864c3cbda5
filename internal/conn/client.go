package conn

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/redishook/multidb/internal/goredis"
)

// Client is what the connections of one client have in common.
type Client struct {
	// contradicted: the log says already that the client names another index than a database does.
	contradicted atomic.Bool

	// pooled is how many routed connections the client has, those of subscriptions left out.
	pooled atomic.Int64

	// missLost is when a coalesced cache miss was last sent and not answered, in ns since 1970; 0: never. See SentBefore.
	missLost atomic.Int64
}

// NewClient makes one.
func NewClient() *Client { return &Client{} }

// Pooled returns how many routed connections the client has, those of subscriptions left out.
func (c *Client) Pooled() int { return int(c.pooled.Load()) }

// SentBefore reports that the command which waits for a connection, and of which nothing was sent there, may have been sent by an
// attempt before. The sequence is:
//
//  1. go-redis sends the cache misses of several callers over one connection, which ends with replies owed;
//  2. it runs each of them again, in the goroutine of its caller, and nothing shows which ones they are;
//  3. that attempt is not sent, and its error is all that the caller gets.
//
// So for a while each read through the cache that is not sent may be one of those. It must be called by the goroutine that
// go-redis waits in.
func (c *Client) SentBefore() bool {
	last := c.missLost.Load()
	if last == 0 || time.Since(time.Unix(0, last)) > missMemory || !goredis.ReadsCached() {
		return false
	}
	c.loseMiss() // a call that fails once more is remembered for as long again
	return true
}

// missMemory is longer than one attempt of go-redis takes to fail, with the wait before it.
const missMemory = time.Minute

func (c *Client) loseMiss() { c.missLost.Store(time.Now().UnixNano()) }

// Unreached is what a client gets in place of a connection that could not be dialed. fail makes the error.
func (c *Client) Unreached(fail func(sent bool) error) net.Conn {
	return goredis.UnreachedConn{
		DeadConn: goredis.DeadConn{Err: fail(false)}, Late: func() error { return fail(c.SentBefore()) },
	}
}
