package goredis

import (
	"reflect"
	"runtime"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Who asks. A connection, or an error on its way, is asked the same thing by several parts of go-redis, and no argument says
// by which. The call stack does. It is walked after a failure, and once for each new connection that begins with SELECT;
// never on the way of a command that succeeds.
//
// Each function here names functions of go-redis. If one has another name one day, the answer is false, which costs a
// repetition or an error and never data; and the tests of this file fail.

// root is the import path of go-redis.
var root = reflect.TypeFor[redis.Options]().PkgPath()

const (
	initConn      = ".(*baseClient).initConn"
	pipelined     = ".(*Conn).Pipelined"
	fdEngine      = ".(*fdEngine)."
	hostHook      = ".(*fdEngine).hostHook"
	pushDrain     = ".(*fdEngine).fdPushDrainSafe"
	replyIsFatal  = ".fdReplyIsFatal"
	missCoalescer = ".(*cscMissCoalescer)."
	pipelineLoop  = ".(*baseClient).generalProcessPipelineFrom"
	processCached = ".(*baseClient).processCached"
	pubSub        = ".(*PubSub)."
	filter        = "/internal/pool.(*ConnPool).Filter"
)

// stack visits the functions on the call stack, the innermost first, until visit returns false. Functions of go-redis itself
// are named without its path, as ".(*Conn).Process"; all others with theirs.
func stack(visit func(function string) bool) {
	var pcs [192]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		frame, more := frames.Next()
		name := frame.Function
		if rest, ours := strings.CutPrefix(name, root); ours && rest != "" && rest[0] == '.' {
			name = rest
		}
		if !visit(name) || !more {
			return
		}
	}
}

// has reports whether a function on the stack has a name that begins so.
func has(prefixes ...string) (found bool) {
	stack(func(function string) bool {
		for _, prefix := range prefixes {
			found = found || strings.HasPrefix(function, prefix)
		}
		return !found
	})
	return found
}

// InFullDuplex reports that a goroutine of the full-duplex autopipeliner asks. After a failure it runs again what has not
// been answered, and nothing else.
func InFullDuplex() bool { return has(fdEngine) }

// LooksForPushes reports that full duplex looks for pushes before it reads a reply. It takes an error for "there is none".
func LooksForPushes() bool { return has(pushDrain) }

// FetchesMisses reports that the goroutine asks that reads the replies to coalesced cache misses. After a failure go-redis runs
// each of them again on a connection of the pool, in the goroutine of its caller and whatever the error is.
func FetchesMisses() bool { return has(missCoalescer) }

// ReadsCached reports that a command asks which client-side caching keeps: a first attempt at it may have been coalesced.
func ReadsCached() bool { return has(processCached) }

// OnlyLooksOn reports that a process hook is called by the full-duplex autopipeliner: there it may look at a command, and
// calling next again runs nothing.
func OnlyLooksOn() bool { return has(hostHook) }

// FollowsSentinel reports that a client made for Sentinel closes the connections that do not lead to the new master of its own
// group.
func FollowsSentinel() (found bool) { return has(root + filter) }

// InHandshake reports that go-redis is making a connection usable: by its handshake or by the user's OnConnect.
func InHandshake() bool { return has(initConn) }

// InOptionPipeline reports that go-redis sends the options of the client, its SELECT among them, in the handshake, and not a
// user a SELECT, in OnConnect or in a call. A hook of a user's that runs the next one in a goroutine of its own leaves a stack
// that shows neither: then these are the options, for they come first on a connection.
func InOptionPipeline() bool {
	callee, options, called := "", false, false
	stack(func(function string) bool {
		if function == initConn {
			options = callee == pipelined
			called = !options
			return false
		}
		callee = function
		for _, prefix := range calls {
			called = called || strings.HasPrefix(function, prefix)
		}
		return true
	})
	return options || !called
}

// calls are the ways into go-redis, of users and of autopipeliners.
var calls = []string{".(*Client).", ".(*Conn).", ".(*Tx).", ".(*AutoPipeliner).", ".(*apShard).", fdEngine}

// InPubSub reports that a PubSub asks: for a connection that is no pool's.
func InPubSub() bool { return has(pubSub) }

// OnSession reports that a Conn or a Tx asks. After a failure nothing can be run there any more.
func OnSession() (session bool) {
	known := false
	stack(func(function string) bool {
		switch {
		case function == initConn:
			known, session = false, false // the Conn of the handshake is not meant, but who waits for the connection
		case known:
		case strings.HasPrefix(function, ".(*Client)."):
			known = true
		case strings.HasPrefix(function, ".(*Conn)."), strings.HasPrefix(function, ".(*Tx)."):
			known, session = true, true
		}
		return true
	})
	return session
}

// BeginsClusterWatch reports that a ClusterClient asks which begins a Watch. What the caller's function sends to watch more keys is
// another thing: go-redis does not follow a redirect there.
func BeginsClusterWatch() (begins bool) {
	const tx, client, clusterClient = ".(*Tx).Watch", ".(*Client).Watch", ".(*ClusterClient).Watch"
	before := ""
	stack(func(function string) bool {
		begins = before == client && function == clusterClient
		switch {
		case before == tx && function != client, before == client:
			return false
		case function == tx, before == tx:
			before = function
		}
		return true
	})
	return begins
}

// Asks reports that go-redis itself asks: the function that has called a method of an error, errors.Is or errors.As. The
// frames of skip are passed over as well.
func Asks(skip ...string) (asks bool) {
	asks = true // nobody to be seen: the safe answer
	stack(func(function string) bool {
		if strings.HasPrefix(function, "errors.") {
			return true
		}
		for _, prefix := range skip {
			if strings.HasPrefix(function, prefix) {
				return true
			}
		}
		asks = strings.HasPrefix(function, ".") || strings.HasPrefix(function, root+"/")
		return false
	})
	return asks
}
