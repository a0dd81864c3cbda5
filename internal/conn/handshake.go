package conn

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/resp"
)

// The handshake that go-redis runs on each new connection (HELLO with credentials, AUTH where HELLO is refused, then a
// pipeline that may begin with SELECT) carries the credentials and the database index of the client. Each connection
// here belongs to one database, so it is the connection that puts that database's own in their place, on the wire:
// there is no moment at which another database's could get there, whatever switches meanwhile, and it works for clones
// and internal clients whose handshake passes no hook.
//
// What the handshake of the client leaves out, the connection does by itself, before go-redis has the reply to HELLO.
// Nobody else has the connection then, no push can come, because nothing is tracked and nothing is subscribed, and the
// goroutine that waits for HELLO is the one that reads:
//
//  1. HELLO is written with the credentials of the database, and behind it SELECT with its index, if it has one;
//  2. if HELLO is refused, by a server that does not know it, AUTH and SELECT are written;
//  3. go-redis gets the reply to HELLO, and an AUTH that follows is answered with OK.
//
// The handshake is over with the first request that is none of it. A user's own SELECT, AUTH or HELLO comes later and
// passes unchanged.

type handshakePhase int

const (
	expectHello   handshakePhase = iota // nothing has been written
	expectReply                         // HELLO has been written
	expectOptions                       // answered; SELECT may come next, as the head of the client's option pipeline
	expectRequest                       // that has been seen: a SELECT from here on is a user's
)

// handshake is the state of the handshake of one connection. It is owned by the goroutine that runs the handshake.
type handshake struct {
	phase    handshakePhase
	login    login
	term     *Term     // in which it was dialed
	resolved time.Time // when the credentials were asked for
	held     []byte    // the beginning of a request that has not arrived whole
	canned   []byte    // what go-redis is to read next
	client   *Client
	answers  uint64 // how many replies the handshake has had
}

// writeHandshake sends one request of the handshake, rewritten for the database of the connection, or finds that the
// handshake is over and this is a user's request. A request may come in pieces, if the client's buffer is small or its
// credentials are long: it is held until it is whole, for a piece that passed unread might hold a password.
func (c *Conn) writeHandshake(p []byte) (int, error) {
	hs := &c.hello
	request := p
	if hs.held != nil {
		request = append(hs.held, p...)
		hs.held = nil
	}
	names, whole := resp.CommandNames(request, isHandshakeName)
	if !whole && (len(names) == 0 || isHandshakeName(names[0])) {
		hs.held = append([]byte(nil), request...)
		return len(p), nil
	}
	if step := c.handshakeStep(names); step != nil {
		if err := c.mayShakeHands(); err != nil {
			return 0, err
		}
		return len(p), step(request)
	}
	if hs.phase == expectReply {
		return 0, c.handshakeFailed(errUnfinished) // or the failure before
	}
	if hs.phase == expectHello {
		// No client of go-redis begins like this. Nobody reads yet.
		err := c.mayShakeHands()
		if err == nil {
			err = hs.login.alone()
		}
		if err != nil {
			return 0, c.handshakeFailed(err)
		}
	}
	hs.phase, hs.login.as = expectRequest, credentials{}
	hs.answers = c.ledger.Answered()
	c.greeting.Store(false)
	c.ready.Store(true)
	if _, err := c.writeRequest(request); err != nil {
		return 0, err
	}
	return len(p), nil
}

// errUnfinished is why a request is refused that comes before HELLO is answered. No client of go-redis sends one.
var errUnfinished = errors.New("multidb: HELLO is not answered")

// mayShakeHands returns an error if the connection is of no use.
func (c *Conn) mayShakeHands() error {
	if f := c.failed.Load(); f != nil {
		return c.handshakeFailed(f.cause)
	}
	if !c.current() && !c.set.draining.Load() && !c.sub.excused() {
		f := &connFailure{cause: c.refusal()}
		c.failed.CompareAndSwap(nil, f)
		return c.lostReply(f)
	}
	return nil
}

// handshakeStep returns what writes a step of go-redis' handshake as this database wants it, or nil if the requests are a
// user's.
func (c *Conn) handshakeStep(names []string) func(request []byte) error {
	hs := &c.hello
	if slices.Contains(names, "client|tracking") {
		c.set.tracked.Store(true)
	}
	switch first := names[0]; {
	case first == "hello" && len(names) == 1 && hs.phase == expectHello:
		return c.sendHello
	case first == "auth" && len(names) == 1 && hs.phase == expectOptions:
		return c.answerAuth
	case first == "select" && hs.phase == expectOptions && allOptions(names[1:]) && goredis.InOptionPipeline():
		return func(request []byte) error { return c.sendOptions(c.chooseIndex(request)) }
	case first != "select" && hs.phase >= expectOptions && allOptions(names):
		return c.sendOptions
	}
	return nil
}

// allOptions reports whether requests set nothing but what go-redis' handshake sets.
func allOptions(names []string) bool {
	for _, name := range names {
		switch name {
		case "readonly", "client|setname", "client|setinfo", "client|tracking", "client|maint_notifications":
		default:
			return false
		}
	}
	return true
}

// isHandshakeName reports whether a request may be a step of the handshake by its name.
func isHandshakeName(name string) bool {
	name, _, _ = strings.Cut(name, "|")
	switch name {
	case "hello", "auth", "select", "client", "readonly":
		return true
	}
	return false
}

// sendHello writes HELLO, and behind it SELECT.
func (c *Conn) sendHello(request []byte) error {
	if err := c.renewLogin(); err != nil {
		return c.handshakeFailed(err)
	}
	c.hello.phase = expectReply
	if c.sub != nil {
		c.sub.hello = rewriteHello(request, credentials{})
	}
	return c.send(append(rewriteHello(request, c.hello.login.as), c.hello.login.selectOwn()...))
}

// loginAge is how old credentials may be. go-redis dials the idle connections of a pool ahead (MinIdleConns), and logs in when
// one is taken, which may be hours later: a token has expired by then.
const loginAge = time.Second

// renewLogin asks for the credentials again if they are old.
func (c *Conn) renewLogin() error {
	hs, opt := &c.hello, c.set.cfg.Options
	if opt.CredentialsProvider == nil && opt.CredentialsProviderContext == nil || time.Since(hs.resolved) < loginAge {
		return nil
	}
	limit := opt.DialTimeout
	if limit <= 0 {
		limit = handshakeTimeout
	}
	ctx, cancel := context.WithTimeout(hs.term.Ctx, limit)
	defer cancel()
	as, err := c.set.resolve(ctx)
	if err != nil {
		return goredis.WithoutReply(err)
	}
	hs.login.as, hs.resolved = as, time.Now()
	return nil
}

// answerAuth answers the AUTH that go-redis falls back to where HELLO is refused: this connection has logged in.
func (c *Conn) answerAuth([]byte) error {
	c.hello.canned = append(c.hello.canned, "+OK\r\n"...)
	c.greeting.Store(true)
	return nil
}

// sendOptions writes the client's options.
func (c *Conn) sendOptions(request []byte) error {
	c.hello.phase = expectRequest
	if c.sub != nil {
		c.sub.setName = setNameOf(request)
	}
	return c.send(request)
}

// setNameOf returns CLIENT SETNAME out of the client's options, or nil.
func setNameOf(requests []byte) []byte {
	for len(requests) > 0 {
		args, rest, ok := resp.Parse(requests)
		if !ok {
			return nil
		}
		if len(args) == 3 && strings.EqualFold(args[0], "client") && strings.EqualFold(args[1], "setname") {
			return resp.Encode(args...)
		}
		requests = rest
	}
	return nil
}

// send writes requests of the handshake.
func (c *Conn) send(request []byte) error {
	c.ledger.BeginHandshake(request)
	c.set.owner.Outstanding()
	if _, err := c.Conn.Write(request); err != nil {
		return c.handshakeFailed(err)
	}
	return nil
}

// handshakeFailed ends the connection before any user's request was written.
func (c *Conn) handshakeFailed(cause error) error {
	return c.lostReply(c.end(&c.failed, &connFailure{cause: cause}))
}

// chooseIndex puts the index of the database into the client's own SELECT. A database that names no index leaves the
// client's: two clients of different indexes stay apart on every database.
func (c *Conn) chooseIndex(request []byte) []byte {
	own := c.hello.login.as.index
	if own == 0 {
		return request
	}
	args, _, ok := resp.Parse(request)
	if ok && len(args) == 2 && args[1] != "0" && args[1] != strconv.Itoa(own) && !c.hello.client.contradicted.Swap(true) {
		c.set.owner.IndexConflict(own, args[1])
	}
	return rewriteSelect(request, own)
}

// readHello reads replies until HELLO and what goes with it are answered, and hands out what go-redis is to see.
func (c *Conn) readHello(p []byte) (int, error) {
	hs := &c.hello
	if f := c.over(); f != nil {
		return 0, c.handshakeFailed(f.cause)
	}
	if hs.phase == expectReply {
		hello, err := hs.login.afterHello()
		if len(hello) > 0 && hello[0] != '-' {
			c.learn(hello)
		}
		if err != nil {
			return 0, c.handshakeFailed(err)
		}
		hs.canned, hs.phase = append(hello, hs.login.behind...), expectOptions
		hs.login.behind = nil
	}
	if hs.canned != nil {
		n := copy(p, hs.canned)
		if hs.canned = hs.canned[n:]; len(hs.canned) == 0 {
			hs.canned = nil
			c.greeting.Store(false)
		}
		return n, nil
	}
	return c.readReplies(p)
}

// learn takes from the reply to HELLO what it says of the connection.
func (c *Conn) learn(hello []byte) {
	if id, ok := resp.Field(hello, "id"); ok {
		if n, err := strconv.ParseInt(string(id), 10, 64); err == nil {
			c.id.Store(n)
		}
	}
	if role, ok := resp.Field(hello, "role"); ok {
		c.set.role.Store(new(string(role)))
	}
}
