package multidb

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// The handshake that go-redis runs on each new connection (HELLO with credentials, AUTH where HELLO is refused, then a
// pipeline that may begin with SELECT) carries the credentials and the database index of the client. Each connection
// here belongs to one database, so it is the connection that puts that database's own in their place, on the wire:
// there is no moment at which another database's could get there, whatever switches meanwhile, and it works for clones
// and internal clients whose handshake passes no hook.
//
// The handshake is over with the first request that is none of it. A user's own SELECT, AUTH or HELLO comes later and
// passes unchanged.

// credentials are what one connection logs in with. They are resolved when it is dialed and dropped with the handshake.
type credentials struct {
	username, password string
	index              int
}

// user is the name that HELLO wants in front of a password.
func (c credentials) user() string {
	if c.username == "" {
		return "default"
	}
	return c.username
}

// resolveCredentials asks the sources in go-redis' own order (Options.resolveCredentials).
func resolveCredentials(ctx context.Context, opt *redis.Options) (credentials, error) {
	c := credentials{index: opt.DB}
	var err error
	switch {
	case opt.CredentialsProviderContext != nil:
		c.username, c.password, err = opt.CredentialsProviderContext(ctx)
	case opt.CredentialsProvider != nil:
		c.username, c.password = opt.CredentialsProvider()
	default:
		c.username, c.password = opt.Username, opt.Password
	}
	return c, err
}

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
	refused  bool // the server refused HELLO: go-redis falls back to AUTH
	selected bool // the index of the database is selected
	client   *clientTraits
}

// clientTraits is what the handshakes of one client have in common.
type clientTraits struct {
	// noSelect: the client uses index 0, so that its handshake has no SELECT and one that follows HELLO is a user's.
	// Learnt from the first handshake that went on without one.
	noSelect atomic.Bool

	// tracking: the client caches on its side. Learnt from the first CLIENT TRACKING.
	tracking atomic.Bool
}

// writeHandshake sends one request of the handshake, rewritten for the database of the connection, or finds that the
// handshake is over and this is a user's request.
func (c *conn) writeHandshake(p []byte) (int, error) {
	if !c.current() && !c.db.draining.Load() {
		return 0, c.refuse()
	}
	hs := &c.hello
	switch name := strings.ToLower(string(commandName(p))); {
	case name == "hello" && hs.phase == expectHello:
		hs.phase = expectReply
		return c.sendHandshake(p, rewriteHello(p, hs.as))
	case name == "auth" && (hs.phase == expectHello || hs.refused):
		hs.phase, hs.refused = expectReply, false
		return c.sendHandshake(p, rewriteAuth(p, hs.as))
	case name == "select" && hs.phase == expectOptions && !hs.client.noSelect.Load():
		hs.phase, hs.selected = expectRequest, true
		return c.sendHandshake(p, rewriteSelect(p, hs.as.index))
	case (name == "client" || name == "readonly") && hs.phase >= expectOptions:
		// Options of the connection, which are the client's own: they pass as they are.
		hs.leaveOptions()
		if c.untracked && bytes.Contains(bytes.ToLower(p), []byte("\r\ntracking\r\n")) {
			// The first connection of a client that caches: once more, as the type that this needs.
			hs.client.tracking.Store(true)
			c.local.Store(true)
			return 0, c.fail(errRetype, false)
		}
		return c.sendHandshake(p, p)
	}
	hs.leaveOptions()
	if err := c.selectIndex(); err != nil {
		return 0, c.fail(err, false)
	}
	hs.as = credentials{}
	c.ready.Store(true)
	return c.writeRequest(p)
}

// leaveOptions notes that the option pipeline did not begin with SELECT.
func (hs *handshake) leaveOptions() {
	if hs.phase == expectOptions {
		hs.client.noSelect.Store(true)
		hs.phase = expectRequest
	}
}

// sendHandshake writes a request of the handshake and reports the length the caller knows.
func (c *conn) sendHandshake(p, rewritten []byte) (int, error) {
	c.busy.Store(true)
	if n, err := c.Conn.Write(rewritten); err != nil {
		return min(n, len(p)), c.fail(err, false)
	}
	return len(p), nil
}

// selectIndex selects the index of the database where the client's handshake did not, because the client itself uses
// index 0. It costs such a connection one round trip more, and it is not put in front of the first request to save it:
// if the index does not exist, that request would run in index 0.
func (c *conn) selectIndex() error {
	hs := &c.hello
	if hs.selected || hs.as.index == 0 {
		return nil
	}
	hs.selected = true
	if err := c.Conn.SetReadDeadline(time.Now().Add(selectTimeout)); err != nil {
		return err
	}
	if _, err := c.Conn.Write(respCommand("select", strconv.Itoa(hs.as.index))); err != nil {
		return err
	}
	line, err := readLine(c.Conn)
	if err != nil {
		return err
	}
	if line[0] == '-' {
		return fmt.Errorf("select %d: %w", hs.as.index, replyError(line[1:]))
	}
	return nil
}

const selectTimeout = 5 * time.Second

// helloAnswered looks at the reply to HELLO or AUTH: go-redis sends AUTH next only if HELLO was refused.
func (c *conn) helloAnswered(reply []byte) {
	if hs := &c.hello; hs.phase == expectReply {
		hs.phase, hs.refused = expectOptions, reply[0] == '-'
	}
}
