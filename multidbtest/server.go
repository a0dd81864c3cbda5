package multidbtest

import (
	"bufio"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/alicebob/miniredis/v2"
	mini "github.com/alicebob/miniredis/v2/server"

	"github.com/redishook/multidb/internal/testkit/faultproxy"
)

// server is what happens inside of a database: it looks at each command before it is executed. Faults of replies are made
// here and not in the proxy, because a refused command must spoil the transaction that it is part of.
type server struct {
	mini *mini.Server

	mu       sync.Mutex
	executed map[string]int // Guarded by mu
	refusals []refusal      // Guarded by mu; the latest one that matches decides
	paused   chan struct{}  // Guarded by mu; closed when writes go on; nil while they do
}

type refusal struct {
	reply string
	hits  func(args []string) bool
}

func newServer(m *miniredis.Miniredis) *server {
	s := &server{mini: m.Server(), executed: make(map[string]int)}
	s.mini.SetPreHook(s.before)
	return s
}

// before is called with each command; true is that it is not to be executed.
func (s *server) before(peer *mini.Peer, name string, args ...string) bool {
	if peer.ClientName == spoiler {
		return false
	}
	s.mu.Lock()
	paused := s.paused
	s.mu.Unlock()
	if paused != nil && s.waits(name) {
		<-paused
		if peer.Closed() { // it is gone, and a server forgets what a client waited for that is gone
			return true
		}
	}
	reply := s.decide(append([]string{name}, args...))
	if reply == "" {
		return false
	}
	s.spoil(peer)
	peer.WriteError(reply)
	return true
}

// decide counts a command that is executed, and returns the answer to one that is not.
func (s *server) decide(args []string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range slices.Backward(s.refusals) {
		if r.hits(args) {
			return r.reply
		}
	}
	s.executed[args[0]]++
	return ""
}

// spoil makes EXEC fail if the peer is in a transaction, as a command does that cannot be queued: it lets another peer with
// the same session send one of those.
func (s *server) spoil(peer *mini.Peer) {
	if peer.Ctx == nil {
		return
	}
	other := mini.NewPeer(bufio.NewWriter(io.Discard))
	other.Ctx, other.ClientName = peer.Ctx, spoiler
	s.mini.Dispatch(other, []string{"GET"}) // of what?
}

// spoiler is the name of the client that spoils transactions: its commands are let through.
const spoiler = "multidbtest: spoil"

func (s *server) refuse(reply string, hits func(args []string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusals = append(s.refusals, refusal{reply, hits})
}

func (s *server) pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused == nil {
		s.paused = make(chan struct{})
	}
}

func (s *server) restore() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusals = nil
	if s.paused != nil {
		close(s.paused)
		s.paused = nil
	}
}

func (s *server) count(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.executed[name]
}

// matching is the commands of these names, or all that write.
func (s *server) matching(names []string) func(args []string) bool {
	if len(names) > 0 {
		return faultproxy.Named(names...)
	}
	return func(args []string) bool { return s.writes(strings.ToUpper(args[0])) }
}

// refusedBy tells which commands a server gives a reply to.
func (s *server) refusedBy(reply string, names []string) func(args []string) bool {
	if len(names) > 0 {
		return faultproxy.Named(names...)
	}
	switch word, _, _ := strings.Cut(reply, " "); word {
	case "READONLY", "MISCONF", "NOREPLICAS", "OOM":
		return s.matching(nil)
	case "LOADING", "MASTERDOWN", "BUSY", "NOAUTH":
		return func(args []string) bool { return !setup(args) }
	}
	return func(args []string) bool { return !setup(args) && !strings.EqualFold(args[0], "PING") }
}

// setup matches what sets a connection up.
var setup = faultproxy.Named("AUTH", "CLIENT", "HELLO", "QUIT", "RESET", "SELECT")

// harmless are the commands that change no key, besides those that miniredis calls read-only.
var harmless = faultproxy.Named("CLIENT", "CLUSTER", "AUTH", "ECHO", "HELLO", "PING", "QUIT", "SELECT", "WAIT", "OBJECT",
	"SUBSCRIBE", "UNSUBSCRIBE", "PSUBSCRIBE", "PUNSUBSCRIBE", "PUBLISH", "PUBSUB", "SCRIPT", "COMMAND", "INFO", "TIME", "MEMORY",
	"XINFO", "DISCARD", "EXEC", "MULTI", "UNWATCH", "WATCH", "EVAL", "EVALSHA")

// writes reports a command that changes a key by itself. What a script does is looked at when it does it.
func (s *server) writes(name string) bool {
	return s.mini.IsRegisteredCommand(name) && !s.mini.IsReadOnlyCommand(name) && !harmless([]string{name})
}

// waits reports what waits while writes are paused: whatever may write, or reach replicas, as far as can be told before it
// runs.
func (s *server) waits(name string) bool {
	return s.writes(name) || slices.Contains([]string{"EVAL", "EVALSHA", "EXEC", "PUBLISH"}, name)
}
