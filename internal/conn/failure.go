package conn

import "github.com/redishook/multidb/internal/goredis"

// What a failure on a connection is called: whether the request was sent, and whether go-redis may see the cause.

// refuse answers a new request on a connection whose database has lost its place.
func (c *Conn) refuse(more bool) error {
	cause := c.set.cfg.NoDatabase
	if _, somewhere := c.set.owner.Open(); somewhere {
		cause = errNotActive
	}
	return c.hide(c.set.owner.Fail(c.mayOwe(more), cause), more)
}

// writeError is the error of a request that could not be written. more says that others were written before it since
// the connection was handed out.
func (c *Conn) writeError(cause error, sent, more bool) error {
	sent = c.ready.Load() && (sent || c.mayOwe(more))
	return c.hide(c.set.owner.Fail(sent, cause), sent || more)
}

// mayOwe reports whether requests before this one may still be without an answer. The full-duplex autopipeliner gives
// the error of a failed write to everything that is in flight, and runs all of it again if the error lets it: so unless
// the first request has shown that this is a session, where requests and replies alternate, they must be counted as sent.
func (c *Conn) mayOwe(more bool) bool {
	return more && !c.session.Load() && !c.pubsub.Load()
}

// readError is the error of a request whose reply did not come. It was sent if any was since the connection was handed
// out: which replies are owed cannot be told from here.
func (c *Conn) readError(cause error) error {
	sent := c.ready.Load() && c.dirty.Load()
	return c.hide(c.set.owner.Fail(sent, cause), sent)
}

// lostReply is readError for a read that failed, where go-redis puts the error on the commands without an answer.
func (c *Conn) lostReply(cause error) error {
	return goredis.OfRead(c.readError(cause))
}

// hide decides whether go-redis may see the cause of a failure, and so run the request again by itself. It must not if
// the request was sent or others before it are in flight, unless this is pub/sub, where nothing is run again and timeouts
// are looked for. It must not in a transaction either, even if nothing was sent: it would leave the error of the first
// run on the MULTI of the second, and report a transaction that was executed as failed.
func (c *Conn) hide(err error, inFlight bool) error {
	switch {
	case !c.ready.Load():
		return goredis.Handshake(err)
	case inFlight && !c.pubsub.Load() || c.multi.Load():
		return goredis.NoRetry(err)
	}
	return err
}

// Refusal is why the gate of a connection did not let a request pass. It is a net.Error that is no timeout because
// that is what go-redis' own loop runs again on another connection, which is right: nothing was sent.
type Refusal string

func (e Refusal) Error() string   { return string(e) }
func (e Refusal) Timeout() bool   { return false }
func (e Refusal) Temporary() bool { return true }

const (
	errNotActive Refusal = "the database of this connection is not the active one any more"
	errRetype    Refusal = "client-side caching needs another type of connection"
)
