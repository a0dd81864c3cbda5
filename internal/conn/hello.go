package conn

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/resp"
)

// The exchanges of a connection's own: what it sends around HELLO, and what it learns from the reply.

// readHello reads replies until HELLO and what goes with it are answered, and hands out what go-redis is to see.
func (c *Conn) readHello(p []byte) (int, error) {
	hs := &c.hello
	if f := c.over(); f != nil {
		return 0, c.handshakeFailed(f.cause)
	}
	if hs.phase == expectReply {
		if err := c.finishHello(); err != nil {
			return 0, c.handshakeFailed(err)
		}
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

// finishHello makes up for what the client's own handshake leaves out. A refusal that go-redis takes for one of the moment ends the
// connection: its loop would send HELLO again on the same one, MaxRetries times with backoff, and with the client's credentials.
func (c *Conn) finishHello() error {
	hs := &c.hello
	replies, err := c.await(1 + min(1, hs.as.index))
	if err != nil {
		if len(replies) > 0 && replies[0][0] == '-' { // as from a server that has no room for one more client
			err = fmt.Errorf("hello: %w; then %w", goredis.Reply(string(replies[0][1:])), err)
		}
		return err
	}
	hello := replies[0]
	if refusal := goredis.Reply(string(hello[1:])); hello[0] == '-' && goredis.RunsAgain(refusal) {
		return fmt.Errorf("hello: %w", refusal)
	}
	if hello[0] != '-' {
		c.learn(hello)
	} else if !hs.as.none() {
		c.ledger.SpeaksRESP2()
		if replies, err = c.logIn(); err != nil {
			return fmt.Errorf("%w (after HELLO: %s)", err, bytes.TrimSpace(hello[1:]))
		}
	} else {
		c.ledger.SpeaksRESP2()
	}
	if hs.as.index > 0 {
		if reply := replies[1]; reply[0] == '-' {
			return fmt.Errorf("select %d: %w", hs.as.index, goredis.Reply(string(reply[1:])))
		}
	}
	hs.canned, hs.phase = append(hello, hs.behind...), expectOptions
	hs.behind = nil
	return nil
}

// logIn sends AUTH, and SELECT again, because the first one was refused for want of a login.
func (c *Conn) logIn() (replies [][]byte, err error) {
	if err := c.write(append(rewriteAuth(nil, c.hello.as), c.selectOwn()...)); err != nil {
		return nil, err
	}
	if replies, err = c.await(1 + min(1, c.hello.as.index)); err != nil {
		return nil, err
	}
	if replies[0][0] == '-' {
		return nil, fmt.Errorf("auth: %w", goredis.Reply(string(replies[0][1:])))
	}
	return replies, nil
}

// logInAlone logs in where the client has sent no HELLO.
func (c *Conn) logInAlone() error {
	c.ledger.SpeaksRESP2()
	if !c.hello.as.none() {
		if _, err := c.logIn(); err != nil {
			return err
		}
	} else if c.hello.as.index > 0 {
		if err := c.write(c.selectOwn()); err != nil {
			return err
		}
		replies, err := c.await(1)
		if err == nil && replies[0][0] == '-' {
			err = fmt.Errorf("select %d: %w", c.hello.as.index, goredis.Reply(string(replies[0][1:])))
		}
		return err
	}
	return nil
}

func (c *Conn) write(request []byte) error {
	c.ledger.BeginHandshake(request)
	_, err := c.Conn.Write(request)
	return err
}

// handshakeTimeout is how long a reply may take for a client without a ReadTimeout.
const handshakeTimeout = 5 * time.Second

// maxHandshake is the longest sequence of replies to a handshake.
const maxHandshake = 64 << 10

// await reads as many replies, and returns those that there are if it fails. A push in between is none. What comes behind them,
// perhaps a part of a push, is kept.
func (c *Conn) await(want int) (replies [][]byte, err error) {
	if c.hello.readBy.IsZero() {
		_ = c.Conn.SetReadDeadline(time.Now().Add(handshakeTimeout))
		defer func() { _ = c.Conn.SetReadDeadline(time.Time{}) }()
	}
	var framer resp.Replies
	var got []byte
	begun := 0 // where the reply under way begins in got
	piece := c.hello.behind
	buf := make([]byte, 2048)
	for len(got) < maxHandshake {
		for len(piece) > 0 && len(replies) < want {
			size, kind := framer.Next(piece)
			got, piece = append(got, piece[:size]...), piece[size:]
			if kind == 0 {
				continue
			}
			if kind != resp.Push {
				replies = append(replies, got[begun:len(got):len(got)])
			}
			begun = len(got)
		}
		switch {
		case len(replies) >= want:
			c.hello.behind = append([]byte(nil), piece...)
			return replies, nil
		case err != nil:
			return replies, err
		case framer.Lost():
			return nil, fmt.Errorf("multidb: unexpected reply %q", got[begun:min(len(got), begun+64)])
		}
		var n int
		n, err = c.Conn.Read(buf)
		c.ledger.Received(buf[:n])
		piece = buf[:n]
	}
	return nil, errors.New("multidb: the replies to the handshake are too long")
}

// learn takes from the reply to HELLO what it says of the connection.
func (c *Conn) learn(hello []byte) {
	if proto, _ := resp.Field(hello, "proto"); string(proto) != "3" {
		c.ledger.SpeaksRESP2()
	}
	if id, ok := resp.Field(hello, "id"); ok {
		if n, err := strconv.ParseInt(string(id), 10, 64); err == nil {
			c.id.Store(n)
		}
	}
	if role, ok := resp.Field(hello, "role"); ok {
		c.set.role.Store(new(string(role)))
	}
}
