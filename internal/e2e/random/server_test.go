package random_test

import (
	"bufio"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redishook/multidb/internal/testkit/memnet"
	"github.com/redishook/multidb/internal/testkit/scripted"
)

// server is a database that is a model: it notes what it executes and what it says to each call, and how often.
type server struct {
	w        *world
	name     string
	index    int    // what the client must have selected
	password string // "": none
	old      bool   // knows no HELLO

	mu   sync.Mutex
	ln   net.Listener          // Guarded by mu; nil while it is down
	open map[*memnet.Conn]bool // Guarded by mu
	rnd  *rand.Rand            // Guarded by mu
	pipe sync.WaitGroup
}

// addr is an address by number: a name would be looked up.
func (s *server) addr() string {
	return map[string]string{"east": "127.0.0.1:1", "west": "127.0.0.1:2"}[s.name]
}

// up starts the server, with nobody connected.
func (s *server) up() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ln != nil {
		return
	}
	ln, err := s.w.network.Listen(s.addr())
	if err != nil {
		panic(err)
	}
	s.ln, s.open = ln, map[*memnet.Conn]bool{}
	s.pipe.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			c := nc.(*memnet.Conn)
			s.mu.Lock()
			alive := s.ln == ln
			if alive {
				s.open[c] = true
			}
			s.mu.Unlock()
			if !alive {
				reset(c)
				continue
			}
			s.pipe.Go(func() { s.serve(c) })
		}
	})
}

// down crashes the server: every connection is reset.
func (s *server) down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ln == nil {
		return
	}
	_ = s.ln.Close()
	s.ln = nil
	for c := range s.open {
		reset(c)
	}
}

func reset(c *memnet.Conn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// one reports true once in n times; never for 0.
func (s *server) one(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return n > 0 && s.rnd.IntN(n) == 0
}

func (s *server) intN(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rnd.IntN(n)
}

// session is one connection as the server sees it.
type session struct {
	*server
	nc       *memnet.Conn
	protocol int
	index    int
	allowed  bool // logged in
	tracking bool
	queue    []*call // between MULTI and EXEC; nil elements are refused
	multi    bool
	aborted  string
	subs     map[string]bool
}

func (s *server) serve(nc *memnet.Conn) {
	c := &session{server: s, nc: nc, protocol: 2, allowed: s.password == "", subs: map[string]bool{}}
	defer func() {
		_ = nc.Close()
		s.mu.Lock()
		delete(s.open, nc)
		s.mu.Unlock()
	}()
	in := bufio.NewReader(nc)
	for {
		args, err := scripted.ReadRequest(in)
		if err != nil {
			return
		}
		f := s.w.faults
		if s.one(f.slow) {
			time.Sleep(time.Duration(s.intN(2000)) * time.Microsecond)
		}
		if s.one(f.hang) {
			time.Sleep(hangTime)
		}
		if s.one(f.hangUpBefore) {
			return
		}
		reply := c.answer(strings.ToLower(args[0]), args)
		if c.protocol == 3 && s.one(f.push) {
			reply = c.push() + reply
		}
		if s.one(f.hangAfter) {
			time.Sleep(hangTime)
		}
		switch {
		case s.one(f.hangUpAfter):
			return
		case s.one(f.partial) && len(reply) > 1:
			_, _ = nc.Write([]byte(reply[:s.intN(len(reply))]))
			reset(nc)
			return
		case s.one(f.chunks) && len(reply) > 1:
			cut := s.intN(len(reply))
			if _, err := nc.Write([]byte(reply[:cut])); err != nil {
				return
			}
			time.Sleep(time.Microsecond)
			reply = reply[cut:]
		}
		if _, err := nc.Write([]byte(reply)); err != nil {
			return
		}
	}
}

// hangTime is longer than a client waits.
const hangTime = 3 * readTimeout

// push is a message that nobody has asked for: an invalidation, or one of a kind that nobody knows.
func (c *session) push() string {
	if !c.tracking {
		return ">2\r\n" + scripted.Bulk("news") + scripted.Array(scripted.Int(1), "_\r\n")
	}
	if c.intN(4) == 0 {
		return ">2\r\n" + scripted.Bulk("invalidate") + "_\r\n" // FLUSHDB
	}
	return ">2\r\n" + scripted.Bulk("invalidate") + scripted.Array(scripted.Bulk(sharedKey(c.intN(sharedKeys))))
}

// answer executes one request.
func (c *session) answer(name string, args []string) string {
	request := scripted.Request{Protocol: c.protocol, Name: name, Args: args}
	switch name {
	case "hello":
		if c.old {
			return scripted.Error("ERR unknown command 'hello'")
		}
		if !c.login(args) {
			return scripted.Error("WRONGPASS invalid username-password pair or user is disabled.")
		}
		c.protocol, _ = strconv.Atoi(args[1])
		request.Protocol = c.protocol
		return request.Map("server", scripted.Bulk("redis"), "version", scripted.Bulk("7.0.0"), "proto", scripted.Int(c.protocol),
			"id", scripted.Int(7), "mode", scripted.Bulk("standalone"), "role", scripted.Bulk("master"), "modules", scripted.Array())
	case "auth":
		if args[len(args)-1] != c.password {
			return scripted.Error("WRONGPASS invalid username-password pair or user is disabled.")
		}
		c.allowed = true
		return scripted.OK
	}
	if !c.allowed {
		return scripted.Error("NOAUTH Authentication required.")
	}
	switch name {
	case "select":
		c.index, _ = strconv.Atoi(args[1])
		return scripted.OK
	case "client":
		c.tracking = c.tracking || strings.EqualFold(args[1], "tracking")
		return scripted.OK
	case "ping":
		switch word := append(args, "")[1]; {
		case len(c.subs) > 0 && c.protocol == 2:
			return scripted.Array(scripted.Bulk("pong"), scripted.Bulk(word))
		case word != "":
			return scripted.Bulk(word)
		}
		return "+PONG\r\n"
	case "publish":
		return scripted.Int(0) // the hook's own: a write that changes nothing
	case "subscribe", "unsubscribe":
		return c.subscribe(name, args[1:])
	}
	return c.execute(request)
}

func (c *session) login(args []string) bool {
	for i, arg := range args {
		if strings.EqualFold(arg, "auth") {
			c.allowed = args[i+2] == c.password
		}
	}
	return c.allowed
}

func (c *session) subscribe(name string, channels []string) (reply string) {
	form := "*3\r\n"
	if c.protocol == 3 {
		form = ">3\r\n"
	}
	for _, channel := range channels {
		c.subs[channel] = name == "subscribe"
		if name != "subscribe" {
			delete(c.subs, channel)
		}
		reply += form + scripted.Bulk(name) + scripted.Bulk(channel) + scripted.Int(len(c.subs))
	}
	return reply
}

// refusals are the replies by which a database says that it runs nothing now.
var refusals = []string{
	"READONLY You can't write against a read only replica.",
	"LOADING Redis is loading the dataset in memory",
	"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
	"ERR max number of clients reached",
}

// execute answers what is no part of a handshake.
func (c *session) execute(r scripted.Request) string {
	// The prober asks whether this database would do what another one has refused, in the index that the database names.
	asked := r.Name == "setrange" && c.w.callOf(r.Args) == nil
	if c.index != c.server.index && !asked {
		c.w.wrong("%s runs %q in index %d instead of %d", c.name, r.Args, c.index, c.server.index)
	}
	refused := ""
	if c.one(c.w.faults.refuse) {
		refused = refusals[c.intN(len(refusals))]
	}
	switch {
	case asked && refused != "":
		return scripted.Error(refused)
	case asked:
		return scripted.Int(0)
	}
	call := c.w.callOf(r.Args)
	switch r.Name {
	case "watch", "unwatch":
		if refused != "" {
			return scripted.Error(refused)
		}
		return scripted.OK
	case "multi":
		if c.multi {
			c.w.wrong("%s: MULTI inside MULTI", c.name)
		}
		// No server refuses this: what is behind it would be executed one by one.
		c.multi, c.queue, c.aborted = true, nil, ""
		return scripted.OK
	case "discard":
		c.multi, c.queue = false, nil
		return scripted.OK
	case "exec":
		return c.exec(r, refused)
	}
	if call == nil && len(r.Args) > 1 && strings.HasPrefix(r.Args[1], "shared:") {
		return scripted.Bulk(sharedValue(r.Args[1]))
	}
	if call == nil {
		if r.Name == "info" || r.Name == "role" || r.Name == "config" {
			return scripted.Error("NOPERM no")
		}
		c.w.wrong("%s: nobody's request %q", c.name, r.Args)
		return scripted.Error("ERR whose?")
	}
	if refused != "" {
		c.aborted = refused
		call.say(c.name, "error: "+refused, true)
		return scripted.Error(refused)
	}
	if c.multi {
		c.queue = append(c.queue, call)
		return scripted.Queued
	}
	return call.execute(c.name, r)
}

func (c *session) exec(r scripted.Request, refused string) string {
	if !c.multi {
		return scripted.Error("ERR EXEC without MULTI")
	}
	queue := c.queue
	c.multi, c.queue = false, nil
	if c.aborted != "" {
		return scripted.Error("EXECABORT Transaction discarded because of previous errors.")
	}
	if refused != "" {
		return scripted.Error("EXECABORT Transaction discarded because of: " + refused)
	}
	if c.one(c.w.faults.race) {
		return r.NilArray()
	}
	var replies []string
	for _, call := range queue {
		replies = append(replies, call.execute(c.name, r))
	}
	return scripted.Array(replies...)
}
