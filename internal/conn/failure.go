package conn

import (
	"github.com/redishook/multidb/internal/goredis"
)

// What a failure on a connection is called: whether the request was sent, and whether go-redis may see the cause.

// owes reports whether a user's request has been handed to the socket and not been answered.
func (c *Conn) owes() bool { return c.ready.Load() && c.ledger.Owed() > 0 }

// lostReply is the error of a read that failed. A request was sent if the ledger says that one is owed.
//
// go-redis may see the cause, and so run by itself again what it waits for, if nothing is owed: then nothing of that was
// sent. It may also if that is full duplex, see lostInFullDuplex. Elsewhere it would run the answered part of a pipeline again as
// well.
//
// It must not in a transaction, even if nothing was sent: it would leave the error of the first run on the MULTI of the
// second, and report a transaction that was executed as failed. Confirmations of subscriptions are no requests that are
// run again, and their errors are looked at.
func (c *Conn) lostReply(f *connFailure) error {
	sent := c.owes()
	client, before, cause := c.hello.client, sent, f.cause
	switch {
	case sent && goredis.FetchesMisses():
		client.missLost.note()
	case !sent:
		before, cause = client.before(cause, c.ledger.Answered() > c.hello.answers)
	}
	err := c.set.owner.Fail(c.place.Addr, before, cause)
	switch {
	case !c.ready.Load():
		return goredis.Handshake(err)
	case !sent && !f.multi:
		return goredis.Unsent(err)
	case sent && c.ledger.OwesConfirmations():
		return err
	case sent && c.ledger.Exact() && goredis.InFullDuplex():
		return c.lostInFullDuplex(f)
	}
	if sent {
		goredis.Lost(err)
	}
	return goredis.OfRead(goredis.NoRetry(err))
}

// lostInFullDuplex is lostReply for the full-duplex autopipeliner, which has many requests under way. When it sees the cause of a read
// that failed, it runs all that it holds again, in order. It must not see it while anything is owed that must not run twice:
//
//  1. INCR and GET are owed, SET is in its hands and was never written. The connection is lost.
//  2. The first read fails for the INCR alone: full duplex takes that for its reply, see goredis.Settled.
//  3. The next read fails with the cause. GET and SET are run again.
//
// So a harmless request that is owed before the last harmful one is not run again: it cannot be left out.
func (c *Conn) lostInFullDuplex(f *connFailure) error {
	if c.ledger.OwesHarmless() {
		c.hello.client.duplexLost.note()
		return c.set.owner.Fail(c.place.Addr, true, &goredis.SentBefore{Err: f.cause})
	}
	err := goredis.NoRetry(c.set.owner.Fail(c.place.Addr, true, f.cause))
	if goredis.LooksForPushes() {
		return err // which it does before each reply that it reads
	}
	c.ledger.Settle()
	return goredis.Settled(err)
}

// Refusal is why the gate of a connection did not let a request pass. It is a net.Error that is no timeout because
// that is what go-redis' own loop runs again on another connection, which is right: nothing was sent.
type Refusal string

func (e Refusal) Error() string { return string(e) }

// Timeout is false: see Refusal.
func (e Refusal) Timeout() bool { return false }

// Temporary is true.
func (e Refusal) Temporary() bool { return true }

const errNotActive Refusal = "the database of this connection is not the active one any more"
