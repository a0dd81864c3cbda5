package conn

import (
	"bytes"
	"fmt"
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
// The handshake is over with the first request that is none of it. A user's own SELECT, AUTH or HELLO comes later and
// passes unchanged.

type handshakePhase int

const (
	expectHello   handshakePhase = iota // nothing has been written
	expectReply                         // HELLO or AUTH has been written
	expectOptions                       // answered; SELECT may come next, as the head of the client's option pipeline
	expectRequest                       // SELECT or CLIENT has been seen: a SELECT from here on is a user's
)

// handshake is the state of the handshake of one connection. It is owned by the goroutine that runs the handshake.
type handshake struct {
	phase    handshakePhase
	as       credentials
	held     []byte // the beginning of a request that has not arrived whole
	canned   []byte // the answer to a request that was not passed on
	refused  bool   // the server refused HELLO: go-redis falls back to AUTH
	auth     bool   // what was written last is AUTH
	loggedIn bool   // the credentials have been sent
	selected bool   // the index of the database is selected
	client   *Client
}

// writeHandshake sends one request of the handshake, rewritten for the database of the connection, or finds that the
// handshake is over and this is a user's request. A request may come in pieces, if the client's buffer is small or its
// credentials are long: it is held until it is whole, for a piece that passed unread might hold a password.
func (c *Conn) writeHandshake(p []byte) (int, error) {
	hs := &c.hello
	if f := c.failed.Load(); f != nil {
		return 0, c.writeError(f.cause, false, false)
	}
	if !c.current() && !c.set.draining.Load() {
		return 0, c.refuse(false)
	}
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
	if c.handshakeStep(names) {
		return c.sendHandshake(p, request, names[0])
	}
	if err := c.finishHandshake(); err != nil {
		return 0, c.handshakeFailed(err)
	}
	n, err := c.writeRequest(request)
	return min(max(0, n-(len(request)-len(p))), len(p)), err
}

// handshakeStep reports whether a request is a step of go-redis' handshake.
func (c *Conn) handshakeStep(names []string) bool {
	hs := &c.hello
	switch names[0] {
	case "hello":
		return hs.phase == expectHello && len(names) == 1
	case "auth":
		return (hs.phase == expectHello || hs.refused) && len(names) == 1
	case "select":
		return hs.phase == expectOptions && allOptions(names[1:]) && c.set.selectIsHandshake(hs.client, names[1:])
	}
	return hs.phase >= expectOptions && allOptions(names)
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

// sendHandshake writes a step of the handshake as this database wants it, and reports the length the caller knows.
func (c *Conn) sendHandshake(p, request []byte, name string) (int, error) {
	hs := &c.hello
	switch name {
	case "hello":
		hs.phase, hs.loggedIn = expectReply, true
		request = rewriteHello(request, hs.as)
	case "auth":
		hs.phase, hs.refused, hs.auth = expectReply, false, true
		if hs.as.password == "" && hs.as.username == "" {
			// This database wants no password, and may refuse one.
			hs.canned = []byte("+OK\r\n")
			return len(p), nil
		}
		hs.loggedIn = true
		request = rewriteAuth(request, hs.as)
	case "select":
		hs.phase, hs.selected = expectRequest, true
		request = c.chooseIndex(request)
	default:
		hs.leaveOptions()
		if c.untracked && bytes.Contains(bytes.ToLower(request), []byte("\r\ntracking\r\n")) {
			// The first connection of a client that caches: once more, as the type that this needs.
			hs.client.tracking.Store(true)
			c.local.Store(true)
			return 0, c.handshakeFailed(errRetype)
		}
	}
	if name != "hello" && name != "auth" {
		if err := c.logIn(); err != nil {
			return 0, c.handshakeFailed(err)
		}
	}
	c.busy.Store(true)
	c.set.owner.Outstanding()
	if n, err := c.Conn.Write(request); err != nil {
		return min(n, len(p)), c.handshakeFailed(err)
	}
	return len(p), nil
}

// handshakeFailed ends the connection before any user's request was written.
func (c *Conn) handshakeFailed(cause error) error {
	return c.writeError(c.fail(cause), false, false)
}

// leaveOptions notes that the option pipeline did not begin with SELECT.
func (hs *handshake) leaveOptions() {
	if hs.phase == expectOptions {
		hs.client.noSelect.Store(true)
		hs.phase = expectRequest
	}
}

// finishHandshake makes up for what the client's own handshake has left out.
func (c *Conn) finishHandshake() error {
	c.hello.leaveOptions()
	if err := c.logIn(); err != nil {
		return err
	}
	if err := c.selectIndex(); err != nil {
		return err
	}
	c.hello.as = credentials{}
	c.ready.Store(true)
	return nil
}

// logIn sends the credentials where the client's handshake has not: its HELLO was refused, and it has no password of its
// own to fall back to AUTH with.
func (c *Conn) logIn() error {
	hs := &c.hello
	if hs.as.password == "" || hs.loggedIn && !hs.refused {
		return nil
	}
	hs.loggedIn, hs.refused = true, false
	return c.exchange("auth", rewriteAuth(nil, hs.as))
}

// selectIndex selects the index of the database where the client's handshake did not, because the client itself uses
// index 0. It costs such a connection one round trip more, and it is not put in front of the first request to save it:
// if the index does not exist, that request would run in index 0.
func (c *Conn) selectIndex() error {
	hs := &c.hello
	if hs.selected || hs.as.index == 0 {
		return nil
	}
	hs.selected = true
	return c.exchange(fmt.Sprintf("select %d", hs.as.index), resp.Encode("select", strconv.Itoa(hs.as.index)))
}

// chooseIndex puts the index of the database into the client's own SELECT. A database that names no index leaves the
// client's: two clients of different indexes stay apart on every database.
func (c *Conn) chooseIndex(request []byte) []byte {
	own := c.hello.as.index
	if own == 0 {
		return request
	}
	args, _, ok := resp.Parse(request)
	if ok && len(args) == 2 && args[1] != "0" && args[1] != strconv.Itoa(own) && !c.hello.client.contradicted.Swap(true) {
		c.set.owner.IndexConflict(own, args[1])
	}
	return rewriteSelect(request, own)
}

// exchange runs a request of our own.
func (c *Conn) exchange(what string, request []byte) error {
	if err := c.Conn.SetReadDeadline(time.Now().Add(exchangeTimeout)); err != nil {
		return err
	}
	defer func() { _ = c.Conn.SetReadDeadline(time.Time{}) }() // a client without a ReadTimeout sets none
	if _, err := c.Conn.Write(request); err != nil {
		return err
	}
	line, err := resp.ReadLine(c.Conn)
	if err != nil {
		return err
	}
	if line[0] == '-' {
		return fmt.Errorf("%s: %w", what, goredis.Reply(line[1:]))
	}
	return nil
}

const exchangeTimeout = 5 * time.Second

// helloAnswered looks at the reply to HELLO or AUTH: go-redis sends AUTH next only if HELLO was refused. If AUTH is refused
// as well, that is returned: go-redis would hand the bare reply to the caller of whatever command was to be sent, who could
// not tell it from an answer to that.
func (c *Conn) helloAnswered(reply []byte) error {
	hs := &c.hello
	if hs.phase != expectReply {
		return nil
	}
	hs.phase, hs.refused = expectOptions, reply[0] == '-'
	if hs.refused && hs.auth {
		line, _, _ := strings.Cut(string(reply[1:]), "\r\n")
		return fmt.Errorf("auth: %w", goredis.Reply(line))
	}
	return nil
}

// readCanned answers a request that was not passed on.
func (c *Conn) readCanned(p []byte) (int, error) {
	n := copy(p, c.hello.canned)
	if c.hello.canned = c.hello.canned[n:]; len(c.hello.canned) == 0 {
		c.hello.canned = nil
		c.hello.phase = expectOptions
	}
	return n, nil
}
