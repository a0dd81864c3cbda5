package conn

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/redishook/multidb/internal/goredis"
	"github.com/redishook/multidb/internal/resp"
)

// login is what a connection sends around HELLO by itself, and reads until that is answered. It is owned by the goroutine that runs
// the handshake.
type login struct {
	wire   net.Conn
	ledger *Ledger
	as     credentials
	behind []byte    // what has come behind the replies
	readBy time.Time // go-redis' own deadline
}

// afterHello makes up for what the client's own handshake leaves out, and returns the reply to HELLO, if there is one. A refusal that
// go-redis takes for one of the moment is an error: its loop would send HELLO again on the same connection, MaxRetries times with
// backoff, and with the client's credentials.
func (l *login) afterHello() (hello []byte, err error) {
	replies, err := l.await(1 + min(1, l.as.index))
	if err != nil {
		if len(replies) > 0 && replies[0][0] == '-' { // as from a server that has no room for one more client
			err = fmt.Errorf("hello: %w; then %w", goredis.Reply(string(replies[0][1:])), err)
		}
		return nil, err
	}
	hello = replies[0]
	refused := hello[0] == '-'
	if refusal := goredis.Reply(string(hello[1:])); refused && goredis.RunsAgain(refusal) {
		return hello, fmt.Errorf("hello: %w", refusal)
	}
	if proto, _ := resp.Field(hello, "proto"); refused || string(proto) != "3" {
		l.ledger.SpeaksRESP2()
	}
	if refused && !l.as.none() {
		if replies, err = l.logIn(); err != nil {
			return hello, fmt.Errorf("%w (after HELLO: %s)", err, bytes.TrimSpace(hello[1:]))
		}
	}
	if l.as.index > 0 {
		if reply := replies[1]; reply[0] == '-' {
			return hello, fmt.Errorf("select %d: %w", l.as.index, goredis.Reply(string(reply[1:])))
		}
	}
	return hello, nil
}

// logIn sends AUTH, and SELECT again, because the first one was refused for want of a login.
func (l *login) logIn() (replies [][]byte, err error) {
	if err := l.write(append(rewriteAuth(nil, l.as), l.selectOwn()...)); err != nil {
		return nil, err
	}
	if replies, err = l.await(1 + min(1, l.as.index)); err != nil {
		return nil, err
	}
	if replies[0][0] == '-' {
		return nil, fmt.Errorf("auth: %w", goredis.Reply(string(replies[0][1:])))
	}
	return replies, nil
}

// alone logs in where the client has sent no HELLO.
func (l *login) alone() error {
	l.ledger.SpeaksRESP2()
	if !l.as.none() {
		if _, err := l.logIn(); err != nil {
			return err
		}
	} else if l.as.index > 0 {
		if err := l.write(l.selectOwn()); err != nil {
			return err
		}
		replies, err := l.await(1)
		if err == nil && replies[0][0] == '-' {
			err = fmt.Errorf("select %d: %w", l.as.index, goredis.Reply(string(replies[0][1:])))
		}
		return err
	}
	return nil
}

func (l *login) write(request []byte) error {
	l.ledger.BeginHandshake(request)
	_, err := l.wire.Write(request)
	return err
}

// handshakeTimeout is how long a reply may take for a client without a ReadTimeout.
const handshakeTimeout = 5 * time.Second

// maxHandshake is the longest sequence of replies to a handshake.
const maxHandshake = 64 << 10

// await reads as many replies, and returns those that there are if it fails. A push in between is none. What comes behind them,
// perhaps a part of a push, is kept.
func (l *login) await(want int) (replies [][]byte, err error) {
	if l.readBy.IsZero() {
		_ = l.wire.SetReadDeadline(time.Now().Add(handshakeTimeout))
		defer func() { _ = l.wire.SetReadDeadline(time.Time{}) }()
	}
	var framer resp.Replies
	var got []byte
	begun := 0 // where the reply under way begins in got
	piece := l.behind
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
			l.behind = append([]byte(nil), piece...)
			return replies, nil
		case err != nil:
			return replies, err
		case framer.Lost():
			return nil, fmt.Errorf("multidb: unexpected reply %q", got[begun:min(len(got), begun+64)])
		}
		var n int
		n, err = l.wire.Read(buf)
		l.ledger.Received(buf[:n])
		piece = buf[:n]
	}
	return nil, errors.New("multidb: the replies to the handshake are too long")
}

// selectOwn is the request that selects the index of the database, or nothing.
func (l *login) selectOwn() []byte {
	if l.as.index == 0 {
		return nil
	}
	return resp.Encode("select", strconv.Itoa(l.as.index))
}
