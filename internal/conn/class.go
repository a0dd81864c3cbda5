package conn

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"github.com/redishook/multidb/internal/replay"
)

// Class says what a request is to a connection: what its name alone (and for a few its arguments) tells of it. The zero
// value is a request that ends with one reply and must not be run twice.
type Class uint16

// The bits of a class.
const (
	// Again: running it twice is harmless whatever its arguments are.
	Again Class = 1 << iota
	// Plain: running it twice is harmless if it has no options, which the number of arguments tells.
	Plain
	// Blocks: its reply may have to wait for another client or for replicas.
	Blocks
	// Subscribes: it is answered by a confirmation per channel, and by messages from then on.
	Subscribes
	// Watches begins, and Unwatches ends, a watch over keys.
	Watches
	Unwatches
	// Multi begins a transaction; Exec ends it and the watch.
	Multi
	Exec
	// Changes: the connection has another index, user, protocol or way of tracking from then on.
	Changes
	// Opaque: from then on replies cannot be counted (MONITOR, CLIENT REPLY, RESET, another protocol).
	Opaque
	// Expires: running it twice is harmless if the last but one argument is the option of a time to live.
	Expires
	// Fills and Empties: running it twice is harmless, with others of the same class, see replay.Kind. Scores is Fills if the third
	// argument is a number.
	Fills
	Scores
	Empties
)

// special are the classes that a connection has to look at. All others are only counted.
const special = Blocks | Subscribes | Watches | Unwatches | Multi | Exec | Changes | Opaque

// Table knows the class of each command by its name. It is immutable and safe for concurrent use. The nil table knows the
// commands that concern a connection, and none that is harmless.
type Table struct {
	slots [tableSize]tableSlot
}

const tableSize = 2048

type tableSlot struct {
	first, last uint64 // the name, see packName; it is never 0
	size        int
	class       Class
	args        int // of a request of class Plain without options
}

// NewTable makes a table of the commands whose second run is harmless and of those that may block.
func NewTable(harmless []replay.Form, blocking []string) *Table {
	t := &Table{}
	for name, class := range concerning {
		t.add(name, class, 0)
	}
	for _, name := range blocking {
		t.add(name, Blocks, 0)
	}
	for _, h := range harmless {
		t.add(h.Name, ofKind[h.Kind], h.Args)
	}
	return t
}

var ofKind = [...]Class{
	replay.Constant: Again, replay.Expiring: Plain | Expires, replay.Filling: Fills, replay.Scoring: Scores, replay.Emptying: Empties,
}

var bare = NewTable(nil, []string{"blmove", "blmpop", "blpop", "brpop", "brpoplpush", "bzmpop", "bzpopmax", "bzpopmin",
	"xread", "xreadgroup", "wait", "waitaof"})

// concerning are the commands that change what a connection is or how it is answered. CLIENT depends on its subcommand,
// see classify.
var concerning = map[string]Class{
	"subscribe": Subscribes, "psubscribe": Subscribes, "ssubscribe": Subscribes,
	"unsubscribe": Subscribes, "punsubscribe": Subscribes, "sunsubscribe": Subscribes,
	"watch": Watches, "unwatch": Unwatches, "multi": Multi, "exec": Exec, "discard": Exec,
	"select": Changes, "auth": Changes, "client": Changes,
	"hello": Changes | Opaque, "reset": Changes | Opaque, "monitor": Opaque, "sync": Opaque, "psync": Opaque,
}

// maxPacked is the longest name that two words tell from any other. Longer ones are not in the table.
const maxPacked = 16

// packName returns the first and the last eight bytes of a name in lower case: all of it, if it is no longer than maxPacked.
func packName(name []byte) (first, last uint64) {
	const lower = 0x2020202020202020
	switch n := len(name); {
	case n >= 8:
		return binary.LittleEndian.Uint64(name) | lower, binary.LittleEndian.Uint64(name[n-8:]) | lower
	case n >= 4:
		first = uint64(binary.LittleEndian.Uint32(name)) | uint64(binary.LittleEndian.Uint32(name[n-4:]))<<32
	case n == 3:
		first = uint64(name[0]) | uint64(name[1])<<8 | uint64(name[2])<<16
	case n == 2:
		first = uint64(name[0]) | uint64(name[1])<<8
	case n == 1:
		first = uint64(name[0])
	}
	return first | lower, 0
}

func slotOf(first, last uint64, size int) uint64 {
	return (bits.RotateLeft64(first*0x9e3779b97f4a7c15, 29) ^ last*0xc2b2ae3d27d4eb4f ^ uint64(size)*0x165667b19e3779f9) >> 53
}

func (t *Table) add(name string, class Class, args int) {
	if len(name) == 0 || len(name) > maxPacked {
		return
	}
	first, last := packName([]byte(name))
	for i := slotOf(first, last, len(name)); ; i = (i + 1) % tableSize {
		s := &t.slots[i]
		if s.first == 0 || s.first == first && s.last == last && s.size == len(name) {
			s.first, s.last, s.size = first, last, len(name)
			s.class |= class
			s.args = max(s.args, args)
			return
		}
	}
}

// Of returns the class of a request with that many arguments, its name included.
func (t *Table) Of(name []byte, args int) Class {
	if len(name) > maxPacked || len(name) == 0 {
		return 0
	}
	if t == nil {
		t = bare
	}
	first, last := packName(name)
	for i := slotOf(first, last, len(name)); ; i = (i + 1) % tableSize {
		s := &t.slots[i]
		if s.first == first && s.last == last && s.size == len(name) {
			switch class := s.class; {
			case class&Plain == 0:
				return class
			case args == s.args:
				return class&^(Plain|Expires) | Again
			case args == s.args+2:
				return class &^ Plain
			}
			return s.class &^ (Plain | Expires)
		}
		if s.first == 0 {
			return 0
		}
	}
}

// ofClient returns the class of CLIENT by its subcommand.
func ofClient(sub []byte) Class {
	switch {
	case bytes.EqualFold(sub, []byte("reply")):
		return Opaque
	case bytes.EqualFold(sub, []byte("tracking")), bytes.EqualFold(sub, []byte("no-touch")), bytes.EqualFold(sub, []byte("caching")):
		return Changes
	}
	return 0
}

// timeToLive reports whether an argument is an option that gives a time to live.
func timeToLive(option []byte) bool {
	switch len(option) {
	case 2:
		return option[1]|0x20 == 'x' && (option[0]|0x20 == 'e' || option[0]|0x20 == 'p')
	case 4:
		return bytes.EqualFold(option, []byte("exat")) || bytes.EqualFold(option, []byte("pxat"))
	}
	return false
}

// isNumber reports whether an argument begins like a number. An option does not.
func isNumber(arg []byte) bool {
	if len(arg) > 1 && (arg[0] == '-' || arg[0] == '+') {
		arg = arg[1:]
	}
	return len(arg) > 0 && arg[0]-'0' <= 9
}
