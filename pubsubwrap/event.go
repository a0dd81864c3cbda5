package pubsubwrap

import (
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redishook/multidb"
)

// Event is one element of the stream: exactly one of its fields is set. A value; what it points to must not be changed.
type Event struct {
	// Message is a message of a channel, of a pattern (its Pattern is set then) or of a shard channel.
	Message *redis.Message
	// Switched says that from here on messages come from another connection.
	Switched *Switched
	// Err says that something is wrong: a *SubscribeError or a *PanicError. As the last event of all it says that
	// the connection was lost and the hook is closed (multidb.ErrClosed).
	Err error
}

// Switched is the notice that the subscription has moved, or was lost and is there again. Messages published in the gap,
// which ends with the notice, may be missing; no others are.
type Switched struct {
	// From and To are names of databases. They are the same if only the connection was lost, be it one to the
	// database that was left a moment ago. They are also the same if the database in between was left again before
	// it was subscribed.
	From, To string
	// Reason says why: that of the switch, or ReasonConnectionLost.
	Reason multidb.Reason
	// Planned is true if the old database was healthy.
	Planned bool
	// ShardChannels are the shard channels that the notice is about, if the database is a cluster. Each slot has a
	// connection of its own, so there is one notice for each. Nil: it is about all channels and patterns, and if
	// the database is no cluster about everything.
	ShardChannels []string
	// Gap is how long nothing could be received, or maybe nothing: where that is not known exactly, it is longer rather than
	// shorter. 0: nothing is missing. A proxy that ends connections later than its database has died hides that time.
	Gap time.Duration
}

// ReasonConnectionLost is the reason of a notice without a switch.
const ReasonConnectionLost multidb.Reason = "connection_lost"

// Kind is one of the three kinds of subscription.
type Kind string

// The kinds of subscription.
const (
	Channel      Kind = "channel"
	Pattern      Kind = "pattern"
	ShardChannel Kind = "shard channel"
)

// SubscribeError says that a database has refused a subscription, or to end one, as its access rules may say. It is tried
// again after the next switch, when the connection is replaced, and if the application asks for it again. It unwraps to the
// reply.
type SubscribeError struct {
	// Database is the name of the database.
	Database string
	// Kind and Name say what was to be subscribed.
	Kind Kind
	Name string
	// Err is the reply. Never nil.
	Err error

	unsubscribe bool
}

// Error names the database and the subscription.
func (e *SubscribeError) Error() string {
	if e.unsubscribe {
		return fmt.Sprintf("pubsubwrap: database %q refused to end %s %q: %v", e.Database, e.Kind, e.Name, e.Err)
	}
	return fmt.Sprintf("pubsubwrap: database %q refused %s %q: %v", e.Database, e.Kind, e.Name, e.Err)
}

// Unwrap returns the reply.
func (e *SubscribeError) Unwrap() error { return e.Err }

// ErrClosed is what the methods of a [Subscriber] return after Close. Test with [errors.Is].
var ErrClosed = errors.New("pubsubwrap: subscriber is closed")

// PanicError says that a function of the application's has panicked. A handler: it is in the stream, and in the error of
// Run at its end. Options.MessageID: the first one is in the stream.
type PanicError struct {
	// Function is what has panicked: "handler" or "MessageID".
	Function string
	// Channel is the channel of the message.
	Channel string
	// Value is what the function panicked with, Stack where.
	Value any
	Stack []byte
}

// Error says what the function panicked with.
func (e *PanicError) Error() string {
	return fmt.Sprintf("pubsubwrap: the %s of a message on %q panicked: %v", e.Function, e.Channel, e.Value)
}
