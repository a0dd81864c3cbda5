package pubsubwrap

import (
	"time"

	"github.com/redis/go-redis/v9"
)

// Policy says what happens to a message when the buffer is full because the application reads too slowly. Notices and
// errors are never dropped, and keep their place among the messages; they may exceed the size of the buffer.
type Policy int

const (
	// Block leaves it to Redis to keep the messages: nothing more is read until there is room. Redis disconnects
	// subscribers that fall too far behind (client-output-buffer-limit pubsub), which is then a [Switched] with a gap.
	// While a call waits for an answer of Redis, what was sent before the answer is read and kept beyond the size
	// of the buffer. So a handler may subscribe and unsubscribe. There is no limit to that. A handler that does so
	// for each message, and is slower than they come, has them all in memory in the end. Redis would have
	// disconnected it. The default.
	Block Policy = iota
	// DropOldest makes room: the oldest message goes, or the oldest behind a notice that waits to be read.
	DropOldest
	// DropNewest drops the message that has just arrived.
	DropNewest
)

// Options configures a [Subscriber]. Of every field, 0 is the default and, where that makes sense, a negative value
// switches the thing off.
type Options struct {
	// Buffer is how many events wait for the application. Default: 100.
	Buffer int

	// Policy says what happens when the buffer is full. Default: Block.
	Policy Policy

	// Linger is how long the old database stays subscribed after a planned switch, for publishers in other processes that
	// move later. Meanwhile a message of the new database is delivered when everything that the old one sent
	// before is. That costs the message a round trip to the old database. If the databases replicate PUBLISH to
	// one another, every message comes twice meanwhile: name a MessageID, or let it be negative. Default: 1s.
	// Negative: no longer than what is on its way needs.
	Linger time.Duration

	// HealthInterval is how often the connection is tried with a PING if nothing else comes. One that does not answer
	// for as long again is replaced. Default: 3s. Negative: never.
	HealthInterval time.Duration

	// FanIn subscribes on every database that can be reached, all the time. So nothing is lost while publishers
	// and this subscriber disagree about which one is active. The order of messages from different databases is
	// not kept, and there are no Switched notices for switches. There are notices for lost connections, and for a
	// database that was subscribed later than it came into use. Databases that are added are subscribed within 250
	// ms, or before a planned switch to them.
	//
	// It duplicates each message if the databases replicate PUBLISH (Active-Active, or one is a replica of the
	// other): then name a MessageID.
	FanIn bool

	// MessageID returns what identifies a message, for instance an id in its payload. Messages of one channel or
	// pattern with an id that has been seen lately are dropped, without being counted as dropped. An empty id is
	// never a duplicate. Nor is a message for which the function panics; the first panic is in the stream as a
	// *[PanicError]. Called for each message, from several goroutines at once; it must not wait, nor call the
	// subscriber. Default: nothing is compared.
	MessageID func(*redis.Message) string

	// MessageIDs is how many ids are remembered. Default: 4096.
	MessageIDs int
}

const (
	defaultBuffer         = 100
	defaultLinger         = time.Second
	defaultHealthInterval = 3 * time.Second
	defaultMessageIDs     = 4096
)

func (o Options) withDefaults() Options {
	if o.Buffer <= 0 {
		o.Buffer = defaultBuffer
	}
	if o.Linger == 0 {
		o.Linger = defaultLinger
	}
	if o.HealthInterval == 0 {
		o.HealthInterval = defaultHealthInterval
	}
	if o.MessageIDs <= 0 {
		o.MessageIDs = defaultMessageIDs
	}
	return o
}
